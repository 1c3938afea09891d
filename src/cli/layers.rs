//! `mica layers`.

use super::arguments::LayersArguments;
use super::mount::{require_layers, resolve};
use super::output::{Output, size};
use super::{CliError, Session};
use crate::anatomy::{Anatomy, Part};
use crate::images::ImageError;

/// Letters of a command that are printed unless all are asked for.
const WIDTH: usize = 60;

pub(super) fn run(session: &Session, arguments: &LayersArguments) -> Result<(), CliError> {
    let named = resolve(session, &arguments.image)?;
    require_layers(session, &named, false)?;
    let contents = named.contents.as_ref();
    let contents = contents.ok_or_else(|| ImageError::NotFound(arguments.image.clone()))?;
    let layers = session.store.layers();
    let anatomy = Anatomy::of_image(&session.content(), &layers, contents)?;
    if session.output.is_json() {
        return Output::json(&anatomy);
    }
    let numbered: Vec<(usize, &Part)> = (1..).zip(&anatomy.layers).collect();
    session.output.records(
        &numbered,
        [
            "LAYER", "DIFF ID", "BLOB", "SIZE", "ADDED", "CHANGED", "DELETED", "HIDDEN", "COMMAND",
        ],
        |(number, part)| {
            [
                number.to_string(),
                part.diff_id.0.short().to_owned(),
                size(part.compressed),
                size(part.counts.size),
                part.counts.added.to_string(),
                part.counts.changed.to_string(),
                part.counts.deleted.to_string(),
                size(part.hidden),
                command(part.command.as_deref(), arguments.full),
            ]
        },
    )?;
    let compressed: u64 = anatomy.layers.iter().map(|part| part.compressed).sum();
    Output::line(format!(
        "\n{} layers, {} compressed; {} in files, of which {} are hidden by later layers: {:.1} % efficient",
        anatomy.layers.len(),
        size(compressed),
        size(anatomy.size),
        size(anatomy.hidden),
        anatomy.efficiency * 100.0,
    ))
}

/// Returns a command in one line.
fn command(command: Option<&str>, is_full: bool) -> String {
    let words: Vec<&str> = command.unwrap_or("-").split_whitespace().collect();
    let line: String = words.join(" ").replace(char::is_control, "?");
    if is_full || line.chars().count() <= WIDTH {
        return line;
    }
    let start: String = line.chars().take(WIDTH - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line() {
        let long = "x".repeat(WIDTH + 1);
        let cases = [
            (None, false, "-".to_owned()),
            (Some("a \\\n\t b"), false, "a \\ b".to_owned()),
            (Some("a\u{1b}[31m"), false, "a?[31m".to_owned()),
            (Some(&long[..]), true, long.clone()),
            (
                Some(&long[..]),
                false,
                format!("{}…", "x".repeat(WIDTH - 1)),
            ),
        ];
        for (text, is_full, expected) in cases {
            assert_eq!(command(text, is_full), expected);
        }
    }
}

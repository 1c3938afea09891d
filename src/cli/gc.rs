//! `mica gc`.

use super::arguments::GcArguments;
use super::output::{Output, size};
use super::{CliError, Session};
use crate::client::Client;
use crate::gc::{Garbage, Live, Survey};

pub(super) fn run(session: &Session, arguments: &GcArguments) -> Result<(), CliError> {
    let client = session.client()?;
    if let Some(name) = &arguments.why {
        return why(session, &client, name);
    }
    if arguments.dry_run {
        return show(session, &client.survey()?);
    }
    free(session, &client)
}

/// Collects garbage, and tells how much there was.
pub(super) fn free(session: &Session, client: &Client) -> Result<(), CliError> {
    let collected = client.collect()?;
    if session.output.is_json() {
        return Output::json(&collected);
    }
    if collected.is_deferred {
        Output::line("space is freed later: other commands change the store all the time")?;
    }
    Output::line(format!("freed {}", size(collected.bytes)))
}

fn show(session: &Session, survey: &Survey) -> Result<(), CliError> {
    if session.output.is_json() {
        return Output::json(survey);
    }
    session
        .output
        .records(&survey.live, ["LIVES", "ID", "WHY"], |live| {
            [
                live.node.kind.to_string(),
                live.node.id.clone(),
                reason(live),
            ]
        })?;
    session
        .output
        .records(&survey.garbage, ["GOES", "ID", "SIZE"], |garbage| {
            [
                garbage.node.kind.to_string(),
                garbage.node.id.clone(),
                weight(garbage),
            ]
        })?;
    let bytes = survey
        .garbage
        .iter()
        .filter_map(|garbage| garbage.size)
        .sum();
    Output::line(format!("would free {}", size(bytes)))
}

/// Tells of all things whose name this is, from the root on: of the image that the user means by
/// it, or of what has a digest that begins so.
fn why(session: &Session, client: &Client, name: &str) -> Result<(), CliError> {
    let survey = client.survey()?;
    let digest = format!("sha256:{}", name.trim_start_matches("sha256:"));
    let image = client.image(name).map(|image| image.name).ok();
    let is_named = |id: &str| id == name || image.as_deref() == Some(id) || id.starts_with(&digest);
    let live: Vec<&Live> = survey
        .live
        .iter()
        .filter(|live| is_named(&live.node.id))
        .collect();
    let mut garbage = survey.garbage.iter().map(|garbage| &garbage.node);
    let is_garbage = garbage.any(|node| is_named(&node.id));
    if live.is_empty() && !is_garbage {
        return Err(CliError::NothingOfThatName(name.to_owned()));
    }
    if session.output.is_json() {
        return Output::json(&live);
    }
    for live in &live {
        Output::line(format!("{} lives:", live.node))?;
        for step in &live.why {
            Output::line(format!("  {} ({})", step.node, step.link))?;
        }
    }
    if live.is_empty() {
        return Output::line(format!("nothing needs {name}"));
    }
    Ok(())
}

/// Returns the root for which a thing lives, in a word or two.
fn reason(live: &Live) -> String {
    match &live.why[..] {
        [] => String::new(),
        [root] => root.link.clone(),
        [root, ..] => root.node.to_string(),
    }
}

fn weight(garbage: &Garbage) -> String {
    garbage.size.map_or_else(|| "record".to_owned(), size)
}

//! The one way to stdout: lines, tables and JSON.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;

use super::CliError;

/// Prints results, as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    is_json: bool,
}

impl Output {
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Says whether records are printed as JSON.
    pub(super) fn is_json(self) -> bool {
        self.is_json
    }

    /// Prints a line.
    pub(super) fn line(line: impl Display) -> Result<(), CliError> {
        Self::write(format!("{line}\n").as_bytes())
    }

    /// Prints one value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value);
        Self::line(text.map_err(|error| CliError::Output(error.into()))?)
    }

    /// Prints one value as a line of JSON.
    pub(super) fn json_line(value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value);
        Self::line(text.map_err(|error| CliError::Output(error.into()))?)
    }

    /// Prints records as a JSON array, or as a table: a row of columns for each.
    pub(super) fn records<R: Serialize, const N: usize>(
        self,
        records: &[R],
        header: [&str; N],
        row: impl Fn(&R) -> [String; N],
    ) -> Result<(), CliError> {
        if self.is_json {
            return Self::json(&records);
        }
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(records.iter().map(row));
        Self::write(table(&rows).as_bytes())
    }

    /// Prints one record as JSON, or as lines of a name and a value.
    pub(super) fn record<'n>(
        self,
        record: &impl Serialize,
        lines: impl IntoIterator<Item = (&'n str, String)>,
    ) -> Result<(), CliError> {
        if self.is_json {
            return Self::json(record);
        }
        let rows: Vec<_> = lines
            .into_iter()
            .map(|(name, value)| [format!("{name}:"), value])
            .collect();
        Self::write(table(&rows).as_bytes())
    }

    /// Copies bytes as they are.
    pub(super) fn copy(mut reader: impl io::Read) -> Result<(), CliError> {
        io::copy(&mut reader, &mut io::stdout().lock()).map_err(CliError::Output)?;
        Ok(())
    }

    fn write(bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(CliError::Output)
    }
}

/// Aligns columns; the last is as wide as it likes.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        // Spaces are owed to a cell only once another one follows.
        let mut owed = 0;
        for (cell, width) in row.iter().zip(widths) {
            if !cell.is_empty() {
                text.extend(std::iter::repeat_n(' ', owed));
                text.push_str(cell);
                owed = 0;
            }
            owed += width - cell.chars().count() + 2;
        }
        text.push('\n');
    }
    text
}

/// Returns labels as `key=value` pairs.
pub(super) fn labels(labels: &crate::meta::Labels) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// Returns a time to the second.
pub(super) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let rows = [["A", "NAME", ""], ["long", "x", "-"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A     NAME\nlong  x     -\n");
    }
}

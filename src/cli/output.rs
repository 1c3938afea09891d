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
        let mut table = Table::new();
        table.push(&header);
        for record in records {
            table.push(&row(record));
        }
        Self::write(table.aligned().as_bytes())
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
        let mut table = Table::new();
        for (name, value) in lines {
            table.push(&[format!("{name}:"), value]);
        }
        Self::write(table.aligned().as_bytes())
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

/// Rows whose columns are aligned; the last is as wide as it likes.
struct Table<const N: usize> {
    /// All cells, one after the other: tens of thousands of rows are usual.
    text: String,
    /// Of each cell the end in `text`, and its characters.
    cells: Vec<(usize, usize)>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    fn new() -> Self {
        Self {
            text: String::new(),
            cells: Vec::new(),
            widths: [0; N],
        }
    }

    fn push(&mut self, row: &[impl AsRef<str>; N]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            let characters = cell.as_ref().chars().count();
            *width = characters.max(*width);
            self.text.push_str(cell.as_ref());
            self.cells.push((self.text.len(), characters));
        }
    }

    fn aligned(&self) -> String {
        let mut aligned = String::with_capacity(2 * self.text.len());
        let mut start = 0;
        for row in self.cells.chunks(N) {
            // Spaces are owed to a cell only once another one follows.
            let mut owed = 0;
            for ((end, characters), width) in row.iter().zip(self.widths) {
                if *end > start {
                    aligned.extend(std::iter::repeat_n(' ', owed));
                    aligned.push_str(self.text.get(start..*end).unwrap_or_default());
                    owed = 0;
                }
                owed += width - characters + 2;
                start = *end;
            }
            aligned.push('\n');
        }
        aligned
    }
}

/// Returns labels as `key=value` pairs.
pub(super) fn labels(labels: &crate::meta::Labels) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    let mut text = String::new();
    for (key, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        for part in [comma, key, "=", value] {
            text.push_str(part);
        }
    }
    text
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
        let mut table = Table::new();
        for row in [
            ["A", "NAME", ""],
            ["long", "x", "-"],
            ["\u{e9}\u{e9}", "", "y"],
        ] {
            table.push(&row);
        }
        let expected = "A     NAME\nlong  x     -\n\u{e9}\u{e9}          y\n";
        assert_eq!(table.aligned(), expected);
    }
}

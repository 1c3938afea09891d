//! The one way to stdout: lines, tables and JSON.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write as _};

use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;

use super::CliError;

/// Bytes that are written at once.
const PIECE: usize = 64 << 10;
/// The units of sizes above a byte, each 1024 of the one before.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

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
        Self::write(|stdout| writeln!(stdout, "{line}"))
    }

    /// Prints one value as JSON.
    pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
        Self::write(|stdout| {
            serde_json::to_writer_pretty(&mut *stdout, value)?;
            stdout.write_all(b"\n")
        })
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
        Self::write(|stdout| table.write(stdout))
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
        Self::write(|stdout| table.write(stdout))
    }

    /// Copies bytes as they are.
    pub(super) fn copy(mut reader: impl io::Read) -> Result<(), CliError> {
        io::copy(&mut reader, &mut io::stdout().lock()).map_err(CliError::Output)?;
        Ok(())
    }

    /// Writes piece by piece: what is printed may be large.
    fn write(
        write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> io::Result<()>,
    ) -> Result<(), CliError> {
        let mut stdout = BufWriter::with_capacity(PIECE, io::stdout().lock());
        write(&mut stdout)
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

    fn write(&self, writer: &mut impl io::Write) -> io::Result<()> {
        let mut start = 0;
        for row in self.cells.chunks(N) {
            // Spaces are owed to a cell only once another one follows.
            let mut owed = 0;
            for ((end, characters), width) in row.iter().zip(self.widths) {
                if *end > start {
                    write!(writer, "{:owed$}", "")?;
                    let cell = self.text.get(start..*end).unwrap_or_default();
                    writer.write_all(cell.as_bytes())?;
                    owed = 0;
                }
                owed += width - characters + 2;
                start = *end;
            }
            writer.write_all(b"\n")?;
        }
        Ok(())
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
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
    PRINTER.timestamp_to_string(&time)
}

/// Returns a number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    let unit = UNITS.get(power - 1).copied().unwrap_or_default();
    let hundredths = (u128::from(bytes) * 100 + (1 << (10 * power - 1))) >> (10 * power);
    format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100)
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
        let mut written = Vec::new();
        table.write(&mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn sizes_and_times_are_for_people() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1500, "1.46 KiB"),
            (1_048_575, "1024.00 KiB"),
            (3 << 20, "3.00 MiB"),
            (u64::MAX, "16.00 EiB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(size(bytes), expected);
        }
        let moment: jiff::Timestamp = "2026-01-02T03:04:05.9Z".parse().unwrap();
        assert_eq!(time(moment), "2026-01-02T03:04:05Z");
    }
}

//! The log of a process that has no terminal: a small file.
//!
//! It holds warnings and errors, each once, and never more than [`LIMIT`] bytes: a
//! damaged file may be read a million times while nobody looks.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};

use super::{DaemonError, failed, failed_call};

/// The most bytes of a log.
const LIMIT: usize = 64 << 10;

/// The lines of a log.
#[derive(Debug)]
struct Lines<W> {
    file: W,
    /// Bytes that may still be written; `None` once the log has said that it is full.
    room: Option<usize>,
    /// What was written, without its times.
    seen: HashSet<Vec<u8>>,
}

/// Makes the log file anew, for this user alone.
pub(crate) fn create(path: &Path) -> Result<OwnedFd, DaemonError> {
    // A process that still ends keeps the file that it has open.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", path)(error));
        }
        _ => {}
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed_call("create", path))
}

/// Sends the warnings and errors of this process to a log file from now on.
pub(crate) fn write_to(file: OwnedFd) {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .without_time()
        .with_writer(Mutex::new(Lines::new(File::from(file))))
        .init();
}

impl<W: Write> Lines<W> {
    fn new(file: W) -> Self {
        Self {
            file,
            room: Some(LIMIT),
            seen: HashSet::new(),
        }
    }
}

impl<W: Write> Write for Lines<W> {
    /// Takes the whole text of one event.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.filter(|_| !self.seen.contains(line)) else {
            return Ok(line.len());
        };
        let mut stamped = format!("{} ", Timestamp::now()).into_bytes();
        stamped.extend_from_slice(line);
        self.room = room.checked_sub(stamped.len());
        if self.room.is_some() {
            self.seen.insert(line.to_vec());
            self.file.write_all(&stamped)?;
        } else {
            self.file
                .write_all(b"the log is full, what follows is left out\n")?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_and_a_log_has_an_end() {
        let mut lines = Lines::new(Vec::new());
        for line in [b"one\n", b"two\n", b"one\n"] {
            lines.write_all(line).unwrap();
        }
        let text = String::from_utf8(lines.file.clone()).unwrap();
        assert_eq!(text.matches("one").count(), 1);
        assert_eq!(text.lines().count(), 2);
        for number in 0..LIMIT {
            writeln!(lines, "{number}").unwrap();
        }
        let text = String::from_utf8(lines.file).unwrap();
        assert!(text.len() < LIMIT + 100);
        assert!(text.ends_with("left out\n"));
        assert_eq!(text.matches("left out").count(), 1);
    }

    #[test]
    fn a_log_that_is_full_to_the_byte_says_so() {
        let mut lines = Lines::new(Vec::new());
        lines.room = Some(0);
        lines.write_all(b"one\n").unwrap();
        assert!(lines.file.ends_with(b"left out\n"));
    }
}

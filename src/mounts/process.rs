//! Which process a number means: numbers are given again, start times are not.

use std::fs;
use std::io;

/// A process, named so that no later one can be taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In ticks since the boot (`starttime` of proc(5)).
    pub(crate) start_time: u64,
}

impl Process {
    /// Returns this process.
    pub(crate) fn current() -> io::Result<Self> {
        let pid = std::process::id();
        let stat = fs::read(format!("/proc/{pid}/stat"))?;
        let (_, start_time) = parse(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, start_time })
    }

    /// Returns whether the process still runs; one that only waits to be reaped does not.
    pub(crate) fn is_running(self) -> io::Result<bool> {
        match fs::read(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => Ok(parse(&stat).is_some_and(|(state, start_time)| {
                start_time == self.start_time && !matches!(state, b'Z' | b'X')
            })),
            // ESRCH: it ended between the open and the read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Returns the state and the start time: fields 3 and 22. Field 2, the name of the
/// program, is in parentheses and may hold anything, parentheses included.
fn parse(stat: &[u8]) -> Option<(u8, u64)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_stat() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let cases = [
            ("plain", format!("7 (mica) S {rest}"), Some((b'S', 4711))),
            (
                "a name like a field",
                format!("7 (a) Z (b) R {rest}"),
                Some((b'R', 4711)),
            ),
            ("cut off", "7 (mica) S 1 2".to_owned(), None),
        ];
        for (why, line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), expected, "{why}");
        }
    }

    #[test]
    fn this_process_runs_and_one_of_another_start_time_does_not() {
        let process = Process::current().unwrap();
        assert!(process.is_running().unwrap());
        let other = Process {
            start_time: process.start_time + 1,
            ..process
        };
        assert!(!other.is_running().unwrap());
    }
}

//! What is to be known of a process that has made a call: its memory, and who it is.
//!
//! Paths are relative to a working directory of `/proc`.

use std::fs;

use rustix::io::Errno;

use crate::sys;

/// The longest path that the kernel takes.
const LONGEST: usize = 4096;

/// Reads end at the borders of pages, beyond which there may be nothing.
const PAGE: u64 = 4096;

/// The memory of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pid: u32,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Returns the string at an address, without its NUL.
    pub(super) fn string(self, address: u64) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        while string.len() < LONGEST {
            let at = address.wrapping_add(string.len() as u64);
            let length = usize::try_from(PAGE - at % PAGE).unwrap_or(LONGEST);
            let mut piece = vec![0; length.min(LONGEST - string.len())];
            sys::read_memory(self.pid, at, &mut piece)?;
            if let Some(end) = piece.iter().position(|byte| *byte == 0) {
                piece.truncate(end);
                string.extend(piece);
                return Ok(string);
            }
            string.extend(piece);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Returns numbers of 32 bits at an address.
    pub(super) fn words(self, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
        let mut bytes = vec![0; count * 4];
        sys::read_memory(self.pid, address, &mut bytes)?;
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().map(|word| u32::from_ne_bytes(*word)).collect())
    }

    /// Puts numbers of 32 bits there.
    pub(super) fn put(self, address: u64, words: &[u32]) -> Result<(), Errno> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.put_bytes(address, &bytes)
    }

    /// Puts bytes there.
    pub(super) fn put_bytes(self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        sys::write_memory(self.pid, address, bytes)
    }
}

/// What `/proc` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// The process that a thread is of.
    pub(super) process: u32,
    pub(super) parent: u32,
    pub(super) effective_uid: u32,
    pub(super) umask: u32,
}

impl Status {
    pub(super) fn of(pid: u32) -> Result<Self, Errno> {
        let text = fs::read_to_string(format!("{pid}/status")).map_err(|error| errno(&error))?;
        Self::parse(&text).ok_or(Errno::SRCH)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = |line: &'_ str| -> Option<String> {
                Some(
                    line.strip_prefix(name)?
                        .strip_prefix(':')?
                        .trim()
                        .to_owned(),
                )
            };
            text.lines().find_map(value)
        };
        let uids = field("Uid")?;
        Some(Self {
            process: field("Tgid")?.parse().ok()?,
            parent: field("PPid")?.parse().ok()?,
            effective_uid: uids.split_whitespace().nth(1)?.parse().ok()?,
            umask: u32::from_str_radix(&field("Umask")?, 8).ok()?,
        })
    }
}

/// Returns what tells a process from later ones of its number: when it was started.
pub(super) fn start_time(pid: u32) -> Result<u64, Errno> {
    let stat = fs::read_to_string(format!("{pid}/stat")).map_err(|error| errno(&error))?;
    // The name, in parentheses, may hold anything.
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest);
    let field = rest.and_then(|rest| rest.split_ascii_whitespace().nth(19));
    field.and_then(|text| text.parse().ok()).ok_or(Errno::SRCH)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_status() {
        let text = "Name:\ta\nUmask:\t0022\nTgid:\t12\nPid:\t13\nPPid:\t7\nUid:\t1\t2\t3\t4\n";
        let expected = Status {
            process: 12,
            parent: 7,
            effective_uid: 2,
            umask: 0o22,
        };
        assert_eq!(Status::parse(text), Some(expected));
        assert_eq!(Status::parse("Name:\ta\n"), None);
    }
}

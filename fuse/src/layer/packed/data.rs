//! Writes `data`: large writes straight from the caller's bytes, holes for long
//! runs of zeros.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Aligned blocks of this many zeros are not written.
const HOLE: usize = 64 << 10;

/// A file that is written from front to back.
#[derive(Debug)]
pub(super) struct DataWriter {
    file: OwnedFd,
    path: PathBuf,
    position: u64,
    /// The end of what was really written.
    written: u64,
}

impl DataWriter {
    /// Creates a file that must not be there yet. `path` is for messages.
    pub(super) fn create(dir: BorrowedFd<'_>, name: &str, path: PathBuf) -> Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))
            .map_err(Error::system("create", &path))?;
        Ok(Self {
            file,
            path,
            position: 0,
            written: 0,
        })
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (run, is_hole) = next_run(bytes, self.position);
            if !is_hole {
                self.write(&bytes[..run])
                    .map_err(Error::system("write", &self.path))?;
                self.written = self.position + run as u64;
            }
            self.position += run as u64;
            bytes = &bytes[run..];
        }
        Ok(())
    }

    /// Gives the file its full length and returns it.
    pub(super) fn finish(self) -> Result<(OwnedFd, u64)> {
        if self.written < self.position {
            rustix::fs::ftruncate(&self.file, self.position)
                .map_err(Error::system("set the length of", &self.path))?;
        }
        Ok((self.file, self.position))
    }

    fn write(&self, mut bytes: &[u8]) -> rustix::io::Result<()> {
        let mut position = self.position;
        while !bytes.is_empty() {
            match rustix::io::pwrite(self.file.as_fd(), bytes, position) {
                Ok(0) => return Err(Errno::IO),
                Ok(written) => {
                    position += written as u64;
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Returns the length of the next run of bytes, and whether it is left out.
fn next_run(bytes: &[u8], position: u64) -> (usize, bool) {
    let into_block = usize::try_from(position % HOLE as u64).unwrap_or_default();
    let mut end = (HOLE - into_block) % HOLE;
    let zeros = |start: usize| bytes.get(start..start + HOLE).is_some_and(is_zero);
    if end == 0 && zeros(0) {
        let mut end = HOLE;
        while zeros(end) {
            end += HOLE;
        }
        return (end, true);
    }
    while end < bytes.len() && !zeros(end) {
        end += HOLE;
    }
    (end.min(bytes.len()), false)
}

/// Returns whether all bytes are 0; nearly always the first few say no.
fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<128>();
    chunks.iter().all(|chunk| *chunk == [0; 128]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, &'a [u8], u64, (usize, bool));

    #[test]
    fn runs_end_at_aligned_zeros() {
        let mut bytes = vec![1u8; 5 * HOLE];
        bytes[2 * HOLE..4 * HOLE].fill(0);
        let cases: &[Case<'_>] = &[
            ("up to the zeros", &bytes, 0, (2 * HOLE, false)),
            ("the zeros", &bytes[2 * HOLE..], 0, (2 * HOLE, true)),
            (
                "one block of zeros is aligned",
                &bytes,
                7,
                (3 * HOLE - 7, false),
            ),
            (
                "zeros from the next boundary on",
                &bytes[2 * HOLE..],
                1,
                (HOLE - 1, false),
            ),
            (
                "too few zeros",
                &bytes[2 * HOLE..3 * HOLE - 1],
                0,
                (HOLE - 1, false),
            ),
            ("data", &bytes[4 * HOLE..], 0, (HOLE, false)),
        ];
        for (why, bytes, position, expected) in cases {
            assert_eq!(next_run(bytes, *position), *expected, "{why}");
        }
    }
}

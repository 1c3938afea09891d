//! One open `/dev/fuse` of a session: takes messages and sends answers.
//!
//! Descriptors do not block. An answer goes to the descriptor that gave the request.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Segment, sys};

/// `UIO_MAXIOV`, less one for the head.
const MAX_SLICES: usize = 1023;

/// What holes are sent from.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A descriptor of the session.
#[derive(Debug)]
pub(crate) struct Device(OwnedFd);

/// What one look at the device gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A message of so many bytes.
    Message(usize),
    /// Nothing is there now.
    Nothing,
    /// The file system was unmounted or the connection was aborted.
    Gone,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel took it, or nobody waits for it any more.
    Done,
    /// The bytes could not be read: a mapped file is shorter than it was.
    Unreadable,
    /// The file system was unmounted or the connection was aborted.
    Gone,
}

impl Device {
    /// Opens another way to the session, or shares the descriptor where `/dev/fuse`
    /// cannot be opened again or is of a kernel that cannot clone.
    pub(crate) fn another(session: BorrowedFd<'_>) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let clone = rustix::fs::open("/dev/fuse", flags, Mode::empty())
            .and_then(|device| sys::clone_fuse_device(device.as_fd(), session).map(|()| device));
        match clone {
            Ok(device) => Ok(Self(device)),
            Err(Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::NOTTY | Errno::NXIO) => {
                Self::shared(session)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Duplicates the descriptor.
    pub(crate) fn shared(session: BorrowedFd<'_>) -> Result<Self, Errno> {
        let device = rustix::io::fcntl_dupfd_cloexec(session, 3)?;
        let flags = rustix::fs::fcntl_getfl(&device)?;
        rustix::fs::fcntl_setfl(&device, flags | OFlags::NONBLOCK)?;
        Ok(Self(device))
    }

    /// Takes a message if there is one.
    pub(crate) fn take(&self, buffer: &mut [u8]) -> Result<Taken, Errno> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Ok(length) => return Ok(Taken::Message(length)),
                Err(Errno::AGAIN) => return Ok(Taken::Nothing),
                // ENOENT: the request was given up before it was read.
                Err(Errno::NOENT | Errno::INTR) => {}
                Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(Taken::Gone),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sends an answer of `head` and the file contents after it.
    pub(crate) fn send(&self, head: &[u8], data: &[Segment<'_>]) -> Result<Sent, Errno> {
        let mut slices = Vec::with_capacity(1 + data.len());
        slices.push(IoSlice::new(head));
        slices.extend(data.iter().flat_map(Pieces::of).map(IoSlice::new));
        let result = if slices.len() > MAX_SLICES {
            gather(&slices).and_then(|whole| rustix::io::write(&self.0, &whole))
        } else {
            rustix::io::writev(&self.0, &slices)
        };
        match result {
            // ENOENT: the caller was killed, or its request ended with an error.
            Ok(_) | Err(Errno::NOENT) => Ok(Sent::Done),
            Err(Errno::FAULT) => Ok(Sent::Unreadable),
            Err(Errno::NODEV | Errno::PERM) => Ok(Sent::Gone),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The slices of one segment: one, or several of the zero bytes for a hole.
enum Pieces<'s> {
    Bytes(Option<&'s [u8]>),
    Zeros(usize),
}

impl<'s> Pieces<'s> {
    fn of(segment: &'s Segment<'_>) -> Self {
        match segment {
            Segment::Mapped(bytes) => Self::Bytes(Some(bytes)),
            Segment::Owned(bytes) => Self::Bytes(Some(bytes)),
            Segment::Zeros(length) => Self::Zeros(*length),
        }
    }
}

impl<'s> Iterator for Pieces<'s> {
    type Item = &'s [u8];

    fn next(&mut self) -> Option<&'s [u8]> {
        match self {
            Self::Bytes(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            Self::Zeros(0) => None,
            Self::Zeros(left) => {
                let piece = ZEROS.get(..*left).unwrap_or(&ZEROS);
                *left -= piece.len();
                Some(piece)
            }
        }
    }
}

/// Copies more slices than one write takes into one buffer, through a file in memory:
/// the kernel reads mapped bytes with an errno where reading them here would fault.
fn gather(slices: &[IoSlice<'_>]) -> Result<Vec<u8>, Errno> {
    let memory = rustix::fs::memfd_create("mica-answer", rustix::fs::MemfdFlags::CLOEXEC)?;
    for chunk in slices.chunks(MAX_SLICES) {
        let expected: usize = chunk.iter().map(|slice| slice.len()).sum();
        if rustix::io::writev(&memory, chunk)? != expected {
            // A write stops short before the first byte that cannot be read.
            return Err(Errno::FAULT);
        }
    }
    let mut whole = vec![0; slices.iter().map(|slice| slice.len()).sum()];
    let length = rustix::io::pread(&memory, &mut whole, 0)?;
    whole.truncate(length);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(segments: &[Segment<'_>]) -> Vec<usize> {
        segments
            .iter()
            .flat_map(Pieces::of)
            .map(<[u8]>::len)
            .collect()
    }

    #[test]
    fn a_hole_is_sent_from_the_same_zeros_again_and_again() {
        let segments = [
            Segment::Zeros(150_000),
            Segment::Owned(vec![1]),
            Segment::Zeros(0),
        ];
        assert_eq!(pieces(&segments), [65_536, 65_536, 18_928, 1]);
    }

    #[test]
    fn more_slices_than_one_write_takes_are_gathered_in_order() {
        let bytes: Vec<u8> = (0..5000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let slices: Vec<IoSlice<'_>> = bytes.chunks(2).map(IoSlice::new).collect();
        assert_eq!(gather(&slices).unwrap(), bytes);
    }
}

//! Tells a serving session to stop: a pipe, so that a signal handler can do it too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Both ends of the pipe; a byte in it means stop.
#[derive(Debug)]
pub(crate) struct Stop {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer })
    }

    pub(crate) fn handle(&self) -> Result<StopHandle, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.writer, 3).map(StopHandle)
    }
}

impl AsFd for Stop {
    /// Returns the end that is readable once a handle fired.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Ends the `serve` of one session.
#[derive(Debug)]
pub struct StopHandle(OwnedFd);

impl StopHandle {
    /// Tells the session to unmount and return.
    pub fn stop(&self) -> Result<(), Errno> {
        match rustix::io::write(&self.0, &[1]) {
            // EAGAIN: the pipe is full of earlier stops. EPIPE: the session has ended.
            Ok(_) | Err(Errno::AGAIN | Errno::PIPE) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl From<StopHandle> for OwnedFd {
    /// Returns the descriptor; any byte written to it, by a signal handler for one, is a stop.
    fn from(handle: StopHandle) -> Self {
        handle.0
    }
}

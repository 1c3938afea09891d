//! The signals that say to end.

use std::os::fd::OwnedFd;
use std::path::Path;

use mica_fuse::session::StopHandle;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing::error;

use super::{DaemonError, failed, failed_call};

/// A pipe that gets a byte for each signal that says to end.
#[derive(Debug)]
pub(crate) struct EndSignals(OwnedFd);

impl EndSignals {
    /// Catches the signals from now on. Comes before the mount is made, which they must not
    /// leave behind without a server.
    pub(crate) fn catch(point: &Path) -> Result<Self, DaemonError> {
        let (reader, writer) =
            pipe_with(PipeFlags::CLOEXEC).map_err(failed_call("make a pipe for", point))?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let writer = writer
                .try_clone()
                .map_err(failed("duplicate the pipe for", point))?;
            signal_hook::low_level::pipe::register(signal, writer)
                .map_err(failed("catch signals for", point))?;
        }
        Ok(Self(reader))
    }

    /// Ends a session when the first of them comes, or has come.
    pub(crate) fn end(self, stop: StopHandle) {
        std::thread::spawn(move || {
            let mut byte = [0_u8];
            loop {
                match rustix::io::read(&self.0, &mut byte) {
                    Ok(0) | Err(Errno::INTR) => {}
                    Ok(_) => break,
                    Err(errno) => return error!("wait for signals: {errno}"),
                }
            }
            if let Err(errno) = stop.stop() {
                error!("stop the session: {errno}");
            }
        });
    }
}

//! Signals as things to be waited for, with which one it was.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

use super::{RunError, failed, failed_call};

/// What is passed on to the command.
pub(super) const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// The signals that are caught, each with a pipe of its own.
#[derive(Debug)]
pub(super) struct Signals(Vec<(i32, OwnedFd)>);

impl Signals {
    /// Catches the end of children, changes of the terminal's size and what is forwarded.
    pub(super) fn catch() -> Result<Self, RunError> {
        let catch = |signal: &i32| {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
                .map_err(failed_call("make", "a pipe"))?;
            signal_hook::low_level::pipe::register(*signal, writer)
                .map_err(failed("catch", format!("signal {signal}")))?;
            Ok((*signal, reader))
        };
        let signals = FORWARDED.iter().chain(&[SIGCHLD, SIGWINCH]);
        signals.map(catch).collect::<Result<_, _>>().map(Self)
    }

    /// Waits for the next ones.
    pub(super) fn wait(&self) -> Result<Vec<i32>, RunError> {
        loop {
            let mut polled: Vec<_> = self
                .0
                .iter()
                .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN))
                .collect();
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed_call("wait for", "signals")(errno)),
            }
            let is_ready: Vec<bool> = polled
                .iter()
                .map(|polled| !polled.revents().is_empty())
                .collect();
            let mut came = Vec::new();
            for ((signal, pipe), _) in self.0.iter().zip(is_ready).filter(|(_, ready)| *ready) {
                drain(pipe).map_err(failed("read", "a pipe"))?;
                came.push(*signal);
            }
            if !came.is_empty() {
                return Ok(came);
            }
        }
    }
}

/// Reads what is there; several of one kind are one, as signals are.
fn drain(pipe: &OwnedFd) -> io::Result<()> {
    let mut bytes = [0; 64];
    loop {
        match rustix::io::read(pipe, &mut bytes) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

//! The terminal of a command, and how it is shown on the one of the user.
//!
//! The command gets a terminal of the devpts inside, so that it is its own session's, has a
//! name there, and cannot feed the terminal of the user. The server copies between both, with
//! the user's terminal raw: keys that make signals make them inside.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::{RunError, failed, failed_call};

/// What terminals inside come from.
pub(super) const MULTIPLEXER: &str = "/dev/pts/ptmx";

/// The command's side of its terminal.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) terminal: OwnedFd,
    /// Its name, inside.
    pub(super) path: PathBuf,
}

impl Peer {
    /// Makes a terminal that is as the one of the user, and sends the other side of it away.
    pub(super) fn open(socket: BorrowedFd<'_>) -> Result<Self, RunError> {
        let failed = failed_call("open", MULTIPLEXER);
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let controller = rustix::fs::open(MULTIPLEXER, flags, Mode::empty()).map_err(&failed)?;
        unlockpt(&controller).map_err(&failed)?;
        let name = ptsname(&controller, Vec::new()).map_err(&failed)?;
        let peer_flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = ioctl_tiocgptpeer(&controller, peer_flags).map_err(&failed)?;
        let user = io::stdin();
        tcgetattr(&user)
            .and_then(|settings| tcsetattr(&terminal, OptionalActions::Now, &settings))
            .and_then(|()| tcgetwinsize(&user))
            .and_then(|size| tcsetwinsize(&terminal, size))
            .map_err(failed_call("set up", MULTIPLEXER))?;
        send(socket, Some(controller.as_fd())).map_err(failed_call("send", MULTIPLEXER))?;
        Ok(Self {
            terminal,
            path: PathBuf::from(std::ffi::OsString::from_vec(name.into_bytes())),
        })
    }
}

/// Returns whether the user has a terminal to show another one on.
pub(crate) fn is_there() -> bool {
    isatty(io::stdin()) && isatty(io::stdout())
}

/// The user's terminal while it shows another one.
#[derive(Debug)]
pub(super) struct Shown {
    controller: File,
    before: Termios,
    output: Option<JoinHandle<()>>,
}

impl Shown {
    /// Waits for the terminal of the command and shows it; `None` if there comes none.
    /// Receives what was sent; `None` if there is none, or the other process has ended.
    pub(super) fn receive(socket: &UnixStream) -> Result<Option<Self>, RunError> {
        let failed_here = failed("show", "the terminal of the command");
        let Some(controller) =
            receive(socket.as_fd()).map_err(|errno| failed_here(errno.into()))?
        else {
            return Ok(None);
        };
        let controller = File::from(controller);
        let before = tcgetattr(io::stdin()).map_err(|errno| failed_here(errno.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .map_err(|errno| failed_here(errno.into()))?;
        let mut shown = Self {
            controller,
            before,
            output: None,
        };
        let (from, to) = (
            shown.controller.try_clone().map_err(&failed_here)?,
            shown.controller.try_clone().map_err(&failed_here)?,
        );
        thread::spawn(move || copy(io::stdin().lock(), to));
        // EIO ends it: nobody inside has the terminal open any more.
        shown.output = Some(thread::spawn(move || copy(from, io::stdout())));
        Ok(Some(shown))
    }

    /// Gives the command's terminal the size of the user's.
    pub(super) fn resize(&self) -> Result<(), RunError> {
        tcgetwinsize(io::stdin())
            .and_then(|size| tcsetwinsize(&self.controller, size))
            .map_err(failed_call("resize", "the terminal of the command"))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(output) = self.output.take() {
            // A thread that has panicked has said so.
            drop(output.join());
        }
        if let Err(errno) = tcsetattr(io::stdin(), OptionalActions::Now, &self.before) {
            tracing::warn!("restore the terminal: {errno}");
        }
    }
}

/// Copies until one side is gone.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends a descriptor to the other process, or that there is none.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    descriptor: Option<BorrowedFd<'_>>,
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        rights.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let word = [IoSlice::new(b"t")];
    sendmsg(socket, &word, &mut rights, SendFlags::NOSIGNAL).map(drop)
}

pub(super) fn receive(socket: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0];
    let mut words = [IoSliceMut::new(&mut word)];
    rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut words, &mut rights, RecvFlags::CMSG_CLOEXEC)
    })?;
    Ok(rights.drain().find_map(|right| match right {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

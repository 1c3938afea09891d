//! What a service manager and the server have to say to each other (`sd_notify(3)`,
//! `sd_listen_fds(3)`): a socket that is open already, and that clients can connect.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// The number of the first descriptor that a service manager opens.
const FIRST: RawFd = 3;

/// Returns the socket that this process was started with, if it was; the first time that it is
/// called.
pub(super) fn inherited() -> io::Result<Option<UnixListener>> {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS") != Some(1) {
        return Ok(None);
    }
    let Some(descriptor) = take()? else {
        return Ok(None);
    };
    let listener = UnixListener::from(descriptor);
    // Fails for what is no Unix socket.
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// Takes the descriptor, once: the service manager has opened it, and nobody else has it.
fn take() -> io::Result<Option<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    Ok(sys::inherited(FIRST).map(Some)?)
}

/// Tells the service manager what has come to be, if there is one that wants to know.
pub(super) fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .map(drop)
}

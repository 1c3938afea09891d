//! The first process inside: puts the root together, starts the command, reaps orphans.
//!
//! It dies with the server, and all other processes inside with it.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};
use rustix::thread::UnshareFlags;
use signal_hook::consts::SIGCHLD;

use super::root::{self, Attachments};
use super::signals::{FORWARDED, Signals};
use super::terminal::{self, Peer};
use super::user::User;
use super::{RunError, RunPlan, failed, failed_call, process};
use crate::sys;

/// Is the whole life of the first process inside; called first thing in `main`, with the number
/// of the socket to the server. Returns the status of the command.
pub fn init(socket: RawFd) -> Result<u8, RunError> {
    let death = Some(Signal::KILL);
    rustix::process::set_parent_process_death_signal(death)
        .map_err(failed_call("tie to", "the server"))?;
    let socket = sys::inherited(socket).map_err(failed_call("take over", "the socket"))?;
    let mut socket = UnixStream::from(socket);
    let mut json = Vec::new();
    // A server that has died already leaves a plan that ends early.
    socket
        .read_to_end(&mut json)
        .map_err(failed("read", "the plan"))?;
    let plan: RunPlan = serde_json::from_slice(&json).map_err(RunError::Plan)?;
    rustix::process::setsid().map_err(failed_call("start", "a session"))?;
    rustix::process::umask(Mode::from_bits_retain(0o022));
    let signals = Signals::catch()?;
    let peer = enter(&plan, &socket)?;
    let root = File::open("/").map_err(failed("open", "/"))?;
    let user = User::look_up(&root, &plan.process.user)?;
    let command = process::start(
        &plan.process,
        &plan.ids,
        &user,
        peer.as_ref().map(|peer| &peer.terminal),
        socket,
    )?;
    drop(peer);
    let command = Pid::from_child(&command);
    look_after(command, &signals)
}

/// Makes the view the root, with all that belongs in it; returns the terminal of the command.
fn enter(plan: &RunPlan, socket: &UnixStream) -> Result<Option<Peer>, RunError> {
    sys::unshare(UnshareFlags::NEWNS).map_err(failed_call("leave", "the mount namespace"))?;
    root::follow_outside()?;
    let attachments = Attachments::prepare(plan)?;
    root::change_root(&plan.mount.mountpoint)?;
    attachments.attach()?;
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(failed_call("name", name))?;
    }
    if !plan.terminal {
        return Ok(None);
    }
    if !Path::new(terminal::MULTIPLEXER).exists() {
        terminal::send(socket.as_fd(), None).map_err(failed_call("send", "no terminal"))?;
        return Ok(None);
    }
    let peer = Peer::open(socket.as_fd())?;
    root::attach_console(&peer.path)?;
    Ok(Some(peer))
}

/// Passes signals on, and reaps, until the command has ended.
fn look_after(command: Pid, signals: &Signals) -> Result<u8, RunError> {
    loop {
        for signal in signals.wait()? {
            if signal == SIGCHLD
                && let Some(status) = reap(command)?
            {
                return Ok(status);
            }
            if FORWARDED.contains(&signal)
                && let Some(signal) = Signal::from_named_raw(signal)
            {
                match kill_process(command, signal) {
                    // It is just ending.
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => return Err(failed_call("signal", "the command")(errno)),
                }
            }
        }
    }
}

/// Takes leave of all that have ended; returns the status of the command if it is among them.
fn reap(command: Pid) -> Result<Option<u8>, RunError> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => return Ok(Some(status_of(status))),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(errno) => return Err(failed_call("wait for", "children")(errno)),
        }
    }
}

fn status_of(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

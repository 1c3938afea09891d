//! The serving process's side: from the command line to the end of the mount.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mica_fuse::session::{Session, Statistics};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::SIGUSR1;
use tracing::debug;

use super::{Action, Call, Identity, OverlayError, OverlayOptions, environment, tree};
use crate::daemon::{self, DaemonError, EndSignals, Word};

/// Is the whole life of a serving process; called first thing in `main`, before any
/// descriptor is opened or thread started. It is given the call that
/// [`start`](super::start) was given.
pub fn serve_child(call: &Call) -> Result<(), DaemonError> {
    daemon::close_inherited()?;
    daemon::detach()?;
    let session = match mount_call(call) {
        Ok(session) => session,
        Err(error) => {
            let failure = daemon::describe(&error, error.hint());
            return Word::<()>::Failed(failure).say();
        }
    };
    Word::Ready(()).say()?;
    daemon::let_go(None)?;
    if let Err(error) = session.serve() {
        debug!("{error}");
    }
    Ok(())
}

/// Mounts and serves in this process, until the mount is gone or SIGINT, SIGTERM or
/// SIGHUP comes. SIGUSR1 prints on stderr how much the kernel has asked.
pub fn serve_here(options: &OverlayOptions, identity: Identity) -> Result<(), OverlayError> {
    rustix::process::umask(Mode::empty());
    let session = mount(options, identity)?;
    print_statistics(session.statistics()).map_err(system("catch", "SIGUSR1"))?;
    Ok(session.serve()?)
}

/// Understands the command line once more: it was found good by the command.
fn mount_call(call: &Call) -> Result<Session, OverlayError> {
    // The kernel has named it after the way in which it was started.
    let name = CString::new(call.identity.name()).unwrap_or_default();
    rustix::thread::set_name(&name).map_err(system("name", "the process"))?;
    // In the background it prints nothing, and must not end of it either.
    signal_hook::flag::register(SIGUSR1, Arc::new(AtomicBool::new(false)))
        .map_err(|error| system("catch", "SIGUSR1")(errno_of(&error)))?;
    environment::start_log().map_err(|error| system("open", "the debug log")(errno_of(&error)))?;
    match call.parse(rustix::process::geteuid().is_root())?.action {
        Action::Mount(options) => mount(&options, call.identity),
        Action::Check | Action::Help | Action::Version => Err(OverlayError::NoMountpoint),
    }
}

fn mount(options: &OverlayOptions, identity: Identity) -> Result<Session, OverlayError> {
    let signals = EndSignals::catch(&options.mountpoint)?;
    daemon::raise_descriptor_limit();
    let tree = Arc::new(tree::open(options)?);
    let how = tree::mount_options(options, identity);
    let session = Session::mount(tree, &options.mountpoint, &how)?;
    // Only now: all paths may be relative.
    rustix::process::chdir("/").map_err(system("change to", "/"))?;
    signals.end(session.stop_handle()?);
    Ok(session)
}

/// Prints the statistics at every SIGUSR1.
fn print_statistics(statistics: Arc<Statistics>) -> Result<(), Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    signal_hook::low_level::pipe::register(SIGUSR1, writer).map_err(|error| errno_of(&error))?;
    std::thread::spawn(move || {
        while wait(&reader) {
            let text = format!("# REQUESTS: {}\n", statistics.total());
            // Nobody is left to be told when stderr is gone.
            drop(io::stderr().lock().write_all(text.as_bytes()));
        }
    });
    Ok(())
}

/// Returns whether a signal came; `false` if none ever will.
fn wait(signals: &OwnedFd) -> bool {
    loop {
        match rustix::io::read(signals, &mut [0_u8]) {
            Err(Errno::INTR) => {}
            read => return read.is_ok_and(|length| length > 0),
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn system(operation: &'static str, object: &'static str) -> impl Fn(Errno) -> OverlayError {
    move |source| OverlayError::System {
        operation,
        object,
        source,
    }
}

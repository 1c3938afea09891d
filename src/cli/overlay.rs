//! `mica overlay`, also under the name `fuse-overlayfs`.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use super::CliError;
use crate::overlay::{Action, Call, Identity, OverlayOptions, serve_here, start};

/// The version of fuse-overlayfs whose options these are.
const LIKE_VERSION: &str = "1.16";

/// What `-h` tells after the first line.
const HELP: &str = "
Shows directories as one, and takes changes in the uppermost.

    -o lowerdir=A:B...       the directories below, the leftmost on top
    -o upperdir=U            takes what is written; without it nothing can be
    -o workdir=W             an empty directory on the file system of U
    -o volatile, fsync=0     never wait until changes are on disk
    -o writeback=1           let the kernel write later
    -o transport=T           how requests come: auto, ring, poll or block
    -o noacl                 no access control lists
    -o ro, nosuid, dev, noexec, allow_other
                             as for mount(8)
    -f                       serve in this process
    -d, -o debug             tell what is done, and -f
    -h, --help               this text
    -V, --version            the version

A backslash makes `:`, `,` and itself part of a name. Further options of
fuse-overlayfs are taken too; those that are unknown are ignored.
";

/// Mounts, or tells what was asked for.
pub(super) fn run(call: &Call) -> Result<(), CliError> {
    let parsed = call.parse(rustix::process::geteuid().is_root())?;
    for ignored in &parsed.ignored {
        warn(ignored);
    }
    match parsed.action {
        Action::Mount(options) if options.foreground => {
            trace(&options);
            Ok(serve_here(&options, call.identity)?)
        }
        Action::Mount(options) => Ok(start(call, &options)?),
        Action::Check => Ok(()),
        Action::Help => print(&help(call.identity)),
        Action::Version => print(&version(call.identity)),
    }
}

fn help(identity: Identity) -> String {
    let usage = match identity {
        Identity::Mica => "mica overlay",
        Identity::FuseOverlayfs => "fuse-overlayfs",
    };
    format!("usage: {usage} [options] <mountpoint>\n{HELP}")
}

fn version(identity: Identity) -> String {
    let own = format!("mica {}\n", env!("CARGO_PKG_VERSION"));
    match identity {
        Identity::Mica => own,
        Identity::FuseOverlayfs => format!("fuse-overlayfs: version {LIKE_VERSION}\n{own}"),
    }
}

/// In the words of fuse-overlayfs.
fn warn(ignored: &OsStr) {
    let line = [b"unknown argument ignored: ", ignored.as_bytes(), b"\n"].concat();
    // Nobody is left to be told when stderr is gone.
    drop(io::stderr().lock().write_all(&line));
}

fn trace(options: &OverlayOptions) {
    let level = if options.debug {
        tracing::Level::DEBUG
    } else {
        tracing::Level::ERROR
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .init();
    tracing::debug!(?options);
}

fn print(text: &str) -> Result<(), CliError> {
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(CliError::Output)
}

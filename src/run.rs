//! Runs a command in the root file system of an image.
//!
//! ```text
//! mica run ─exec▶ server (outside, serves the view) ─▶ init (pid 1 inside) ─▶ the command
//! ```
//! The command line makes a [`RunPlan`] and turns into the *server* ([`become_server`]): the
//! same process, in new user, mount, ipc and uts namespaces, mounts the view for itself alone
//! and serves it. Its child, the first process of a pid namespace, is the *init*: it puts the
//! root together, becomes part of it, starts the command and reaps what is orphaned.
//!
//! Nothing is left behind, whatever dies: the mounts live in namespaces that end with the last
//! process in them, the init dies with its server, and all others with the init. The server
//! has the status of the command for its own: 128 and the number where a signal ended it, 127
//! where there is no such command, 126 where it cannot be run, and [`FAILED`] where mica failed.

mod bundle;
mod ids;
mod init;
mod plan;
mod process;
mod root;
mod runtime;
mod server;
mod signals;
mod steward;
mod terminal;
mod user;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use crate::mounts::MountsError;

pub use ids::{Ids, Range, map};
pub(crate) use ids::{name_of, subordinate_ranges};
pub use init::init;
pub use plan::{Network, ProcessPlan, RunPlan, Volume, Writable};
pub use runtime::write_bundle;
pub use server::{become_server, serve};
pub(crate) use terminal::is_there as has_terminal;

/// The command of the executable that serves the root of a run; not for people.
pub const SERVER_COMMAND: &str = "run-server";

/// The command of the executable that is the first process inside; not for people.
pub const INIT_COMMAND: &str = "run-init";

/// The command of the executable that maps subordinate ids; not for people.
pub const MAP_COMMAND: &str = "run-map-ids";

/// The status of `mica run` where mica itself failed, as other tools have it.
pub const FAILED: u8 = 125;

/// Why a command could not be run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The kernel gives this user no namespaces.
    #[error("user namespaces are not allowed for this user")]
    NoNamespaces(#[source] Errno),
    /// Root of a container that was given too little.
    #[error("this root may not make mount and pid namespaces")]
    Restricted(#[source] Errno),
    /// The view could not be mounted.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// There is no such user or group in the image.
    #[error("the image has no {kind} called {name:?}")]
    NoSuchName {
        /// `user` or `group`.
        kind: &'static str,
        /// What was looked for.
        name: String,
    },
    /// An id has nothing that stands for it outside.
    #[error("{kind} {id} is none of the ids that this user has")]
    Unmapped {
        /// `user` or `group`.
        kind: &'static str,
        /// The id.
        id: u32,
    },
    /// The command is not in the image.
    #[error("{} is not in the image", .0.display())]
    NotFound(OsString),
    /// The command cannot be run.
    #[error("{} cannot be run", program.display())]
    NotExecutable {
        /// The command.
        program: OsString,
        /// Why not.
        source: io::Error,
    },
    /// The runtime that was asked for is not on this machine.
    #[error("there is no runtime called {}", .0.display())]
    NoRuntime(OsString),
    /// A word cannot be written down as JSON has it.
    #[error("{} is not UTF-8, which a bundle is written in", .0.display())]
    NotText(OsString),
    /// Neither the image nor the user says what to run.
    #[error("the image has no command of its own")]
    NoCommand,
    /// The directory to start in is not there.
    #[error("directory {} is not in the image", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be entered.
        source: io::Error,
    },
    /// There is no place for a volume in a root that does not change.
    #[error("{} is not in the image", .0.display())]
    NoMountPoint(PathBuf),
    /// A plan could not be read.
    #[error("read the plan of a run")]
    Plan(#[source] serde_json::Error),
    /// A system call failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl RunError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NoNamespaces(_) => Some(
                "allow them (sysctl user.max_user_namespaces=10000; where there is one, \
                 kernel.unprivileged_userns_clone=1 or \
                 kernel.apparmor_restrict_unprivileged_userns=0), or run as root",
            ),
            Self::Restricted(_) => Some("give the container CAP_SYS_ADMIN, or run outside of it"),
            Self::Mounts(error) => error.hint(),
            Self::Unmapped { .. } => {
                Some("give this user subordinate ids (/etc/subuid, /etc/subgid) and install uidmap")
            }
            Self::NotExecutable { source, .. }
                if source.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) =>
            {
                Some("it may be for another architecture, or lack its #! line")
            }
            Self::NoRuntime(_) => {
                Some("install it (apt-get install crun), or run without --runtime")
            }
            Self::NoCommand => Some("name one behind the image"),
            Self::NoDirectory { .. } | Self::NoMountPoint(_) => {
                Some("with --rw it is made where it is missing")
            }
            _ => None,
        }
    }

    /// Returns the status that `mica run` ends with.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable { .. } => 126,
            _ => FAILED,
        }
    }
}

fn failed(operation: &'static str, path: impl AsRef<Path>) -> impl Fn(io::Error) -> RunError {
    let path = path.as_ref().to_owned();
    move |source| RunError::Io {
        operation,
        path: path.clone(),
        source,
    }
}

fn failed_call(operation: &'static str, path: impl AsRef<Path>) -> impl Fn(Errno) -> RunError {
    let failed = failed(operation, path);
    move |errno| failed(errno.into())
}

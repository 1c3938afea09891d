//! Mounts that outlive the command that made them.
//!
//! A mount is served by a process of its own: the same executable, started again with
//! the hidden command [`SERVE_COMMAND`], told what to show by a [`MountPlan`] on its
//! standard input. It says on its standard output that the kernel answers, or what went
//! wrong, and from then on it has no tie to the command, the terminal or the database.
//! It holds the layers that it shows. It ends when the mount is taken away, by whomever,
//! and takes the mount away when it is told to end. What it has to say meanwhile goes to
//! a small log file beside the mount's record.

mod child;
mod plan;
mod process;
mod record;
mod start;
mod statistics;
mod stop;
mod tree;

pub use crate::layers::LayerPlan;
pub(crate) use child::open;
pub use child::{serve_child, serve_here};
pub use plan::{AccessMode, MountPlan, TransportMode, UpperPlan, XattrMode};
pub use record::{MountRecord, Records};
pub use start::start;
pub use statistics::{MountStatistics, RequestStatistics};
pub use stop::stop;
pub(crate) use tree::TreePlan;

use std::io;
use std::path::{Path, PathBuf};

use mica_fuse::session::MountError;
use rustix::io::Errno;
use thiserror::Error;

use crate::daemon::DaemonError;
use crate::layers::LayerError;
use crate::snapshots::SnapshotError;
use crate::store::StoreError;

/// The command of the executable that serves one mount; not for people.
pub const SERVE_COMMAND: &str = "serve-mount";

/// Why a mount could not be made, listed or taken away.
#[derive(Debug, Error)]
pub enum MountsError {
    /// The mount itself failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer could not be opened or held.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A snapshot could not be held.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The layers could not be shown as one tree.
    #[error("open the view")]
    View(#[source] mica_fuse::Error),
    /// The process that was to serve the mount does not.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The mount is gone but the process that served it goes on.
    #[error("process {pid} goes on after {} was unmounted", point.display())]
    Lingers {
        /// The mount point.
        point: PathBuf,
        /// The process.
        pid: u32,
    },
    /// A plan or a record could not be read.
    #[error("read the description of a mount in {}", path.display())]
    Description {
        /// The file, or `-` for the standard input.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
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

impl MountsError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Mount(error) => error.hint(),
            Self::Layer(LayerError::Packed {
                source: mica_fuse::Error::Corrupt { .. },
                ..
            }) => Some("pull the image again"),
            Self::Snapshot(error) => error.hint(),
            Self::Daemon(error) => error.hint(),
            _ => None,
        }
    }
}

pub(crate) fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> MountsError {
    move |source| MountsError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

fn failed_call(operation: &'static str, path: &Path) -> impl Fn(Errno) -> MountsError {
    move |errno| failed(operation, path)(errno.into())
}

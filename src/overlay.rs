//! Mounts of directories as overlayfs takes them, told as to fuse-overlayfs.
//!
//! A [`Call`] is a command line of `mica overlay`, or of this executable under the name
//! `fuse-overlayfs` or one by which mount(8) calls it. It is parsed into
//! [`OverlayOptions`], without a look at any file; from these come a tree and a mount. The
//! mount is served by a process of its own and needs no store. Options are those of
//! fuse-overlayfs 1.16, and what it ignores is ignored.

mod call;
mod environment;
mod escape;
mod idmap;
mod options;
mod serve;
mod split;
mod start;
mod tree;

pub use call::{Action, Call, Identity, Parsed};
pub use options::{Flags, OverlayOptions, StatOverride, UpperPaths};
pub use serve::{serve_child, serve_here};
pub use start::start;

use std::ffi::OsString;
use std::path::PathBuf;

use mica_fuse::IdMapError;
use mica_fuse::session::MountError;
use rustix::io::Errno;
use thiserror::Error;

use crate::daemon::DaemonError;

/// The command of the executable that serves one such mount; not for people.
pub const SERVE_COMMAND: &str = "serve-overlay";

/// Why an overlay could not be mounted.
#[derive(Debug, Error)]
pub enum OverlayError {
    /// An option of the command line wants a value, and nothing follows.
    #[error("missing argument after `{0}'")]
    MissingArgument(&'static str),
    /// The value of an option is none.
    #[error("invalid parameter in option `{}'", .0.display())]
    Parameter(OsString),
    /// The text is no list of ranges of ids.
    #[error("invalid mapping specified: {}", .0.display())]
    Mapping(OsString),
    /// A range of ids is too long.
    #[error("invalid mapping specified: {}", text.display())]
    Ids {
        /// The whole mapping.
        text: OsString,
        /// What is wrong with it.
        source: IdMapError,
    },
    /// Redirects cannot be asked for.
    #[error("redirect_dir={}: only redirect_dir=off is supported", .0.display())]
    Redirect(OsString),
    /// Nothing lies below.
    #[error("cannot read lower dirs: lowerdir not specified")]
    NoLower,
    /// A lower is to come from a plugin.
    #[error("cannot read lower dirs: {} needs a plugin, and plugins are not supported", .0.display())]
    Plugin(PathBuf),
    /// An upper needs a work directory.
    #[error("workdir not specified")]
    NoWork,
    /// It is not said where to mount.
    #[error("no mountpoint specified")]
    NoMountpoint,
    /// A lower could not be opened.
    #[error("cannot read lower dirs")]
    Lower(#[source] mica_fuse::Error),
    /// The upper or its work directory could not be opened.
    #[error("cannot read upper dir")]
    Upper(#[source] mica_fuse::Error),
    /// The directories could not be shown as one tree.
    #[error("open the view")]
    View(#[source] mica_fuse::Error),
    /// The mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The process that was to serve does not.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A system call failed.
    #[error("{operation} {object}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What it was tried on.
        object: &'static str,
        /// The errno that the kernel gave.
        source: Errno,
    },
}

impl OverlayError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Mount(error) => error.hint(),
            Self::Daemon(error) => error.hint(),
            Self::NoLower | Self::NoWork | Self::NoMountpoint => {
                Some("usage: fuse-overlayfs -o lowerdir=A:B[,upperdir=U,workdir=W] DIR")
            }
            _ => None,
        }
    }
}

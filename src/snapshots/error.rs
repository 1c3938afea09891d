//! Why a snapshot could not be made, changed or used; in containerd's words.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error_class::ErrorClass;
use crate::labels::LabelError;
use crate::layers::LayerError;
use crate::meta::MetaError;
use crate::store::LockError;
use crate::views::ViewsError;

/// Why a snapshot could not be made, changed or used.
///
/// The messages are containerd's, without the class that it adds to them.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// There is no snapshot of this name.
    #[error("snapshot {0} does not exist")]
    NotFound(String),
    /// The key or name is taken, by a snapshot of whatever kind.
    #[error("snapshot {0:?}: already exists")]
    AlreadyExists(String),
    /// What the label `containerd.io/snapshot.ref` asks for is there already.
    #[error("target snapshot {0:?}: already exists")]
    TargetExists(String),
    /// The parent that a new snapshot was to have is not there.
    #[error("parent snapshot {0} does not exist")]
    ParentNotFound(String),
    /// The parent that a new snapshot was to have is active or a view.
    #[error("parent {0:?} is not committed snapshot")]
    ParentNotCommitted(String),
    /// Only an active snapshot can be committed or written to.
    #[error("snapshot {0:?} is not active")]
    NotActive(String),
    /// A layer can be applied only before anything is written.
    #[error("snapshot {0:?} holds changes already")]
    NotEmpty(String),
    /// Only a committed snapshot can be packed.
    #[error("snapshot {0:?} is not committed")]
    NotCommitted(String),
    /// A committed snapshot has no mounts of its own.
    #[error("requested snapshot {0} not active or view")]
    NotMountable(String),
    /// Other snapshots stand on this one.
    #[error("cannot remove snapshot with child")]
    HasChild(String),
    /// The labels are none, or something else than labels was to be updated.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The key or name of a new snapshot cannot be one.
    #[error("snapshot key {0:?} is empty or holds a NUL byte")]
    Key(String),
    /// A mount shows the snapshot, or another command works on it.
    #[error("snapshot {0:?} is in use")]
    InUse(String),
    /// The record is there and the directory is not.
    #[error("snapshot {name:?} has lost its directory {}", path.display())]
    Lost {
        /// The snapshot.
        name: String,
        /// The directory that its record names.
        path: PathBuf,
    },
    /// A snapshot names a parent that is not there.
    #[error("parent {parent:?} of snapshot {name:?} does not exist")]
    Orphan {
        /// The snapshot.
        name: String,
        /// The parent that it names.
        parent: String,
    },
    /// Parents form a ring, or a chain longer than any image's.
    #[error("snapshot {0:?} has too many ancestors")]
    TooDeep(String),
    /// The name of a directory in the store is not a number.
    #[error("{} is no directory of a snapshot", path.display())]
    Name {
        /// The directory.
        path: PathBuf,
    },
    /// A system call on a snapshot's directory failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// A layer below could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A view of the snapshot could not be shown or taken away.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl SnapshotError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) | Self::ParentNotFound(_) => {
                Some("`mica snapshot ls` lists what there is")
            }
            Self::ParentNotCommitted(_) => {
                Some("only a committed snapshot can have others on top: `mica snapshot commit`")
            }
            Self::AlreadyExists(_) => {
                Some("`mica snapshot rm` removes it; `mica mount --rw KEY DIR` goes on with it")
            }
            Self::NotActive(_) => Some("make a writable one on it: `mica snapshot prepare`"),
            Self::NotCommitted(_) => Some("commit it first: `mica snapshot commit`"),
            Self::HasChild(_) => Some("`mica snapshot tree` shows what stands on it"),
            Self::InUse(_) => Some("`mica mounts` lists mounts, `mica umount DIR` takes one away"),
            Self::Lost { .. } => Some("`mica snapshot rm` removes what is left of it"),
            Self::Layer(LayerError::NotFound(_)) => Some("pull the image again"),
            _ => None,
        }
    }

    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::ParentNotFound(_) => ErrorClass::NotFound,
            Self::AlreadyExists(_) | Self::TargetExists(_) => ErrorClass::AlreadyExists,
            Self::NotActive(_)
            | Self::NotEmpty(_)
            | Self::NotCommitted(_)
            | Self::NotMountable(_)
            | Self::HasChild(_)
            | Self::InUse(_) => ErrorClass::FailedPrecondition,
            Self::Label(error) => error.class(),
            Self::ParentNotCommitted(_) | Self::Key(_) => ErrorClass::InvalidArgument,
            Self::Lost { .. }
            | Self::Orphan { .. }
            | Self::TooDeep(_)
            | Self::Name { .. }
            | Self::Io { .. }
            | Self::Layer(_)
            | Self::Meta(_)
            | Self::Views(_)
            | Self::Lock(_) => ErrorClass::Internal,
        }
    }
}

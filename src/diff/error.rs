//! Why trees could not be compared, or a layer not be written.

use std::io;

use thiserror::Error;

use crate::content::ContentError;
use crate::error_class::ErrorClass;
use crate::layers::LayerError;
use crate::leases::LeaseError;
use crate::snapshots::SnapshotError;

/// Why trees could not be compared, or a layer not be written.
#[derive(Debug, Error)]
pub enum DiffError {
    /// A tree could not be read.
    #[error("read /{path}")]
    Read {
        /// The path in the tree.
        path: String,
        /// Why not.
        source: mica_fuse::Error,
    },
    /// A file could not be read to its end: it is shorter than its attributes say.
    #[error("read the contents of /{path}")]
    Contents {
        /// The path in the tree.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The tree shows a name that says in a layer that another is removed.
    #[error("/{0} cannot be in a layer: the name is that of a whiteout")]
    Name(String),
    /// The layers below have a directory elsewhere, which only an overlayfs can say.
    #[error("/{0} cannot be in a layer: it goes on with a directory of another name (redirect)")]
    Redirected(String),
    /// The name of an extended attribute has a `=`, with which tar ends it.
    #[error("/{path} has an attribute that cannot be in a layer: {name}")]
    Xattr {
        /// The path in the tree.
        path: String,
        /// The attribute's name.
        name: String,
    },
    /// The layer could not be written.
    #[error("write the layer")]
    Write(#[source] io::Error),
    /// The layers do not make a tree.
    #[error("open the layers")]
    View(#[source] mica_fuse::Error),
    /// The work ended in a panic.
    #[error("finish the layer")]
    Task(#[from] tokio::task::JoinError),
    /// A snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The layer could not be stored as a blob.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The layer could not be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A layer cannot be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl DiffError {
    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Content(error) => error.class(),
            Self::Snapshot(error) => error.class(),
            _ => ErrorClass::Internal,
        }
    }

    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Snapshot(error) => error.hint(),
            Self::Layer(error) => error.hint(),
            _ => None,
        }
    }

    pub(super) fn read(path: &[u8]) -> impl Fn(mica_fuse::Error) -> Self {
        move |source| Self::Read {
            path: shown(path),
            source,
        }
    }

    pub(super) fn contents(path: &[u8]) -> impl Fn(io::Error) -> Self {
        move |source| Self::Contents {
            path: shown(path),
            source,
        }
    }
}

/// Returns a path for a message.
pub(super) fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => path.escape_ascii().to_string(),
    }
}

//! Why garbage could not be collected.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::content::ContentError;
use crate::layers::LayerError;
use crate::meta::MetaError;
use crate::snapshots::SnapshotError;
use crate::store::LockError;

/// Why a collection stopped; what it had not reached yet is still there.
#[derive(Debug, Error)]
pub enum GcError {
    /// A file could not be listed, moved or removed.
    #[error("remove {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// Blobs could not be listed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Layers could not be listed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Directories of snapshots could not be listed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// Another process collects, and takes long.
    #[error(transparent)]
    Lock(#[from] LockError),
}

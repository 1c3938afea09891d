//! Why something of a store could not be shown, and what the kernel is told of it.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

use crate::causes::in_one_line;
use crate::content::ContentError;
use crate::images::ImageError;
use crate::layers::LayerError;
use crate::meta::MetaError;
use crate::mounts::MountsError;
use crate::pull::PullError;
use crate::registry;
use crate::snapshots::SnapshotError;
use crate::source::SourceError;

/// Why something of a store could not be shown.
#[derive(Debug, Error)]
pub(super) enum BrowseError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Tree(#[from] MountsError),
    #[error("describe it")]
    Json(#[from] serde_json::Error),
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Pull(#[from] Box<PullError>),
    #[error("a pull has failed a moment ago")]
    FailedBefore(Errno),
    #[error("there is nothing of that name")]
    Nothing,
}

impl From<PullError> for BrowseError {
    fn from(error: PullError) -> Self {
        Self::Pull(Box::new(error))
    }
}

impl BrowseError {
    pub(super) fn errno(&self) -> Errno {
        match self {
            Self::Snapshot(SnapshotError::InUse(_))
            | Self::Tree(MountsError::Snapshot(SnapshotError::InUse(_))) => Errno::BUSY,
            Self::Snapshot(SnapshotError::NotFound(_))
            | Self::Tree(MountsError::Snapshot(SnapshotError::NotFound(_)))
            | Self::Layer(LayerError::NotFound(_))
            | Self::Nothing => Errno::NOENT,
            Self::FailedBefore(errno) => *errno,
            Self::Pull(error) if is_not_found(error) => Errno::NOENT,
            Self::Tree(MountsError::View(error)) => error.errno(),
            _ => Errno::IO,
        }
    }

    /// Returns what the kernel is told; the log has the rest.
    pub(super) fn told(&self, path: &[u8]) -> mica_fuse::Error {
        let errno = self.errno();
        let (path, causes) = (path.escape_ascii(), in_one_line(self));
        match self {
            Self::Pull(_) => tracing::error!("pull for {path}: {causes}"),
            _ if errno == Errno::IO => tracing::error!("show {path}: {causes}"),
            _ => tracing::debug!("show {path}: {causes}"),
        }
        mica_fuse::Error::Refused(errno)
    }
}

fn is_not_found(error: &PullError) -> bool {
    matches!(
        error,
        PullError::Source(SourceError::Registry(registry::Error::NotFound(_)))
    )
}

//! The one error of this crate: it always knows its errno.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a layer or a view did not succeed.
#[derive(Debug, Error)]
pub enum Error {
    /// The view refuses: the errno is the answer to the caller, nothing is wrong.
    #[error("{}", io::Error::from(*.0))]
    Refused(Errno),
    /// A system call failed.
    #[error("{operation} {object:?}")]
    System {
        /// What was tried, as a verb: "open", "map", "read".
        operation: &'static str,
        /// What it was tried on.
        object: std::path::PathBuf,
        /// The errno that the kernel gave.
        source: Errno,
    },
    /// A layer is not what it must be; it is damaged or was made by a hostile hand.
    #[error("layer {layer}: {reason}")]
    Corrupt {
        /// The label of the layer: its diff ID or its directory.
        layer: String,
        /// What is wrong, and with which path where one is known.
        reason: String,
    },
    /// The bytes of a layer's tar are not a tar archive that can be shown.
    #[error(transparent)]
    Tar(#[from] crate::tar::TarError),
}

impl Error {
    /// Returns the errno that a caller of the file system gets for this error.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Refused(errno) | Self::System { source: errno, .. } => *errno,
            Self::Corrupt { .. } | Self::Tar(_) => Errno::IO,
        }
    }

    /// Returns a failed system call: what was tried, on what, and the errno.
    pub fn system(
        operation: &'static str,
        object: impl Into<std::path::PathBuf>,
    ) -> impl FnOnce(Errno) -> Self {
        let object = object.into();
        move |source| Self::System {
            operation,
            object,
            source,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

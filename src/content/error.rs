//! Why a blob could not be stored, read or changed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error_class::ErrorClass;
use crate::labels::LabelError;
use crate::meta::MetaError;
use crate::oci::{Digest, ParseDigestError};
use crate::store::LockError;

/// Why a blob could not be stored, read or changed.
#[derive(Debug, Error)]
pub enum ContentError {
    /// A system call on a blob or an ingest failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The store, or the namespace, does not have the blob.
    #[error("blob {0} is not in the store")]
    NotFound(Digest),
    /// The namespace has the blob already.
    #[error("content {0}: already exists")]
    AlreadyExists(Digest),
    /// Nothing is being written under this reference.
    #[error("ingest {0:?} does not exist")]
    NoIngest(String),
    /// Another writer has the reference.
    #[error("ref {0:?} is locked by another writer")]
    Locked(String),
    /// A writer was asked for without a reference.
    #[error("ref must not be empty")]
    EmptyReference,
    /// There are fewer or more bytes than the descriptor says.
    #[error("blob {digest} has {found} bytes, its descriptor says {expected}")]
    Size {
        /// The expected digest.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// The bytes received; for a blob that is too long, those at which it was given up.
        found: u64,
    },
    /// The bytes are others than the digest stands for.
    #[error("blob {expected} has the wrong content: its digest is {found}")]
    Digest {
        /// The expected digest.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A writer was committed with another size than it has. The bytes are kept.
    #[error("unexpected commit size {found}, expected {expected}")]
    CommitSize {
        /// The size that was asked for.
        expected: u64,
        /// The bytes that were written.
        found: u64,
    },
    /// A writer was committed with another digest than it has. The bytes are kept.
    #[error("unexpected commit digest {found}, expected {expected}")]
    CommitDigest {
        /// The digest that was asked for.
        expected: Digest,
        /// That of what was written.
        found: Digest,
    },
    /// A write elsewhere than at the end.
    #[error("write @{offset} must occur at current offset {current}")]
    WriteOffset {
        /// Where bytes were to be written.
        offset: u64,
        /// Where they would have to be.
        current: u64,
    },
    /// A read behind the end.
    #[error("read past object length {size} bytes")]
    ReadOffset {
        /// The size of the blob.
        size: u64,
    },
    /// The labels are none, or something else than labels was to be updated.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A document is too large to be held in memory.
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed for a document")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The name of a file in the store is not a digest.
    #[error("a file in {} is not named by a digest", path.display())]
    Name {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the name.
        source: ParseDigestError,
    },
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl ContentError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => Some("`mica content ls` lists what the namespace has"),
            Self::NoIngest(_) => Some("`mica content active` lists what is being written"),
            _ => None,
        }
    }

    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::NoIngest(_) => ErrorClass::NotFound,
            Self::AlreadyExists(_) => ErrorClass::AlreadyExists,
            Self::Locked(_) => ErrorClass::Unavailable,
            Self::EmptyReference => ErrorClass::InvalidArgument,
            Self::Size { .. }
            | Self::Digest { .. }
            | Self::CommitSize { .. }
            | Self::CommitDigest { .. }
            | Self::TooLarge { .. } => ErrorClass::FailedPrecondition,
            Self::WriteOffset { .. } | Self::ReadOffset { .. } => ErrorClass::OutOfRange,
            Self::Label(error) => error.class(),
            Self::Io { .. } | Self::Name { .. } | Self::Meta(_) | Self::Lock(_) => {
                ErrorClass::Internal
            }
        }
    }
}

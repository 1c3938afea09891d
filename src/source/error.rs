//! Why a source does not give an image.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::oci::{Digest, ParseReferenceError};
use crate::registry;

/// A source cannot be used.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The text names no source.
    #[error("{text:?} names no image")]
    Reference {
        /// The text.
        text: String,
        /// What is wrong with it as a reference.
        source: ParseReferenceError,
    },
    /// A registry did not give what was asked of it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// There is no such directory or file.
    #[error("there is no {0:?}")]
    Missing(PathBuf),
    /// A system call on a directory or file failed.
    #[error("cannot {operation} {path:?}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The archive is compressed as a whole.
    #[error("{path:?} is compressed with {compression}; decompress it first")]
    Compressed {
        /// The archive.
        path: PathBuf,
        /// The compression.
        compression: &'static str,
    },
    /// The directory or archive is not of the kind that it was named as.
    #[error("{path:?} is not a valid {kind}: {reason}")]
    Invalid {
        /// The directory or archive.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The directory or archive is of no kind that is known.
    #[error("{0:?} is neither an OCI layout nor a Docker archive")]
    Unknown(PathBuf),
    /// The directory or archive is as it should be, and empty.
    #[error("{0:?} holds no image")]
    NoImage(PathBuf),
    /// A document in the directory or archive is not JSON of the right form.
    #[error("{member} in {path:?} is not valid")]
    Json {
        /// The directory or archive.
        path: PathBuf,
        /// The document.
        member: String,
        /// Where the reader stopped.
        source: serde_json::Error,
    },
    /// The directory or archive lacks a file that it must have.
    #[error("{path:?} has no file {member}")]
    NoMember {
        /// The directory or archive.
        path: PathBuf,
        /// The missing file.
        member: String,
    },
    /// A file in the directory or archive is larger than any of its kind needs to be.
    #[error("{member} in {path:?} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The directory or archive.
        path: PathBuf,
        /// The file.
        member: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// No image has the tag.
    #[error("{path:?} has no image {tag:?}{}", among(.tags))]
    NoTag {
        /// The directory or archive.
        path: PathBuf,
        /// The tag asked for.
        tag: String,
        /// The tags that there are.
        tags: Vec<String>,
    },
    /// There are several images, and no tag says which.
    #[error("{path:?} has {count} images, and none was chosen{}", among(.tags))]
    Ambiguous {
        /// The directory or archive.
        path: PathBuf,
        /// How many images there are.
        count: usize,
        /// The tags that there are.
        tags: Vec<String>,
    },
    /// A blob has another size than its descriptor says.
    #[error("{digest} in {path:?} has {found} bytes instead of {expected}")]
    WrongSize {
        /// The directory or archive.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// The size of the file.
        found: u64,
    },
    /// More bytes of a blob were asked to be left out than it has.
    #[error("{digest} in {path:?} has no byte {offset}")]
    Offset {
        /// The directory or archive.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// The first byte asked for.
        offset: u64,
    },
    /// The runtime ended while a file was read.
    #[error("reading was stopped")]
    Stopped,
}

impl SourceError {
    /// Returns what a user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Ambiguous { .. } | Self::NoTag { .. } => Some("add :TAG to the file"),
            _ => None,
        }
    }
}

fn among(tags: &[String]) -> String {
    const MOST: usize = 16;
    if tags.is_empty() {
        return String::new();
    }
    let names: Vec<String> = tags
        .iter()
        .take(MOST)
        .map(|tag| format!("{tag:?}"))
        .collect();
    let more = if tags.len() > MOST { ", …" } else { "" };
    format!("; there is {}{more}", names.join(", "))
}

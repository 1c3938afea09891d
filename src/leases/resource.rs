//! What a lease keeps: a type and an id.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::LeaseError;
use crate::oci::{DiffId, Digest};
use crate::snapshots::SNAPSHOTTER;

/// Something that can be leased.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ResourceKind,
    /// Its digest, reference, name or key.
    pub id: String,
}

/// The types of resources, spelt as containerd spells them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ResourceKind {
    /// A blob, by its digest.
    Content,
    /// A download, by its reference.
    Ingests,
    /// An image, by its name.
    Images,
    /// A layer of the layer store, by its diff ID.
    Layers,
    /// A snapshot, by its key or name, of the snapshotter of this name.
    Snapshots(String),
}

impl Resource {
    /// Returns the resource of a type and an id.
    pub fn new(kind: &str, id: &str) -> Result<Self, LeaseError> {
        let kind: ResourceKind = kind.parse()?;
        let wrong = |kind| LeaseError::Resource {
            kind,
            id: id.to_owned(),
        };
        match kind {
            ResourceKind::Content if id.parse::<Digest>().is_err() => Err(wrong("content")),
            ResourceKind::Layers if id.parse::<DiffId>().is_err() => Err(wrong("layers")),
            _ if id.is_empty() => Err(wrong("any")),
            kind => Ok(Self {
                kind,
                id: id.to_owned(),
            }),
        }
    }

    /// Returns a blob.
    pub fn content(digest: &Digest) -> Self {
        Self {
            kind: ResourceKind::Content,
            id: digest.to_string(),
        }
    }

    /// Returns a layer of the layer store.
    pub fn layer(diff_id: &DiffId) -> Self {
        Self {
            kind: ResourceKind::Layers,
            id: diff_id.to_string(),
        }
    }

    /// Returns a snapshot.
    pub fn snapshot(name: &str) -> Self {
        Self {
            kind: ResourceKind::Snapshots(SNAPSHOTTER.to_owned()),
            id: name.to_owned(),
        }
    }

    /// Returns an image.
    pub fn image(name: &str) -> Self {
        Self {
            kind: ResourceKind::Images,
            id: name.to_owned(),
        }
    }
}

impl FromStr for ResourceKind {
    type Err = LeaseError;

    fn from_str(text: &str) -> Result<Self, LeaseError> {
        match text {
            "content" => Ok(Self::Content),
            "ingests" => Ok(Self::Ingests),
            "images" => Ok(Self::Images),
            "layers" => Ok(Self::Layers),
            _ => match text.strip_prefix("snapshots/") {
                Some(name) if !name.is_empty() && !name.contains('/') => {
                    Ok(Self::Snapshots(name.to_owned()))
                }
                _ => Err(LeaseError::Unsupported(text.to_owned())),
            },
        }
    }
}

impl Display for ResourceKind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => formatter.write_str("content"),
            Self::Ingests => formatter.write_str("ingests"),
            Self::Images => formatter.write_str("images"),
            Self::Layers => formatter.write_str("layers"),
            Self::Snapshots(name) => write!(formatter, "snapshots/{name}"),
        }
    }
}

impl TryFrom<String> for ResourceKind {
    type Error = LeaseError;

    fn try_from(text: String) -> Result<Self, LeaseError> {
        text.parse()
    }
}

impl From<ResourceKind> for String {
    fn from(kind: ResourceKind) -> Self {
        kind.to_string()
    }
}

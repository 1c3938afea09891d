//! What a record holds, and its encoding: one version byte, then JSON.
//!
//! A decoder accepts every version up to its own and fills what older ones lack
//! by serde defaults; a newer version is an error, never a guess.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::MetaError;
use super::key::{Table, shown};
use crate::oci::{Descriptor, DiffId, Digest};

/// The version of the encoding that this program writes.
const VERSION: u8 = 1;

/// Labels of a record: free pairs of key and value.
pub type Labels = BTreeMap<String, String>;

/// A kind of record: its table and its fields.
pub(crate) trait Record: Serialize + DeserializeOwned {
    const TABLE: Table;
}

/// An image: a name for a manifest or an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The full name, with registry and tag.
    pub name: String,
    /// The manifest or index that the name stands for.
    pub target: Descriptor,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// When the name was first recorded; an update keeps it.
    pub created: Timestamp,
    /// When the record was last changed.
    pub updated: Timestamp,
}

/// What a snapshot can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Read-only, mountable, no parent of others.
    View,
    /// Writable.
    Active,
    /// Immutable, a parent of others.
    Committed,
}

/// A snapshot: one layer on top of a parent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The name; of a committed snapshot made by a pull, the chain ID.
    pub name: String,
    /// What the snapshot can do.
    pub kind: Kind,
    /// The name of the snapshot below, if there is one.
    pub parent: Option<String>,
    /// The layer on top of the parent, if it is one of the layer store.
    pub layer: Option<DiffId>,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// When the snapshot came to be.
    pub created: Timestamp,
    /// When the record was last changed.
    pub updated: Timestamp,
}

/// A blob of the content store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentRecord {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// When the blob was recorded.
    pub created: Timestamp,
    /// When the record was last changed.
    pub updated: Timestamp,
}

impl Record for ImageRecord {
    const TABLE: Table = Table::Images;
}

impl Record for SnapshotRecord {
    const TABLE: Table = Table::Snapshots;
}

impl Record for ContentRecord {
    const TABLE: Table = Table::Content;
}

pub(crate) fn encode<R: Record>(key: &[u8], record: &R) -> Result<Vec<u8>, MetaError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, record).map_err(|error| damaged(key, Some(error)))?;
    Ok(bytes)
}

pub(crate) fn decode<R: Record>(key: &[u8], bytes: &[u8]) -> Result<R, MetaError> {
    match bytes.split_first() {
        Some((&found, _)) if found > VERSION => Err(MetaError::NewerRecord {
            key: shown(key),
            found,
            known: VERSION,
        }),
        Some((_, json)) => serde_json::from_slice(json).map_err(|error| damaged(key, Some(error))),
        None => Err(damaged(key, None)),
    }
}

fn damaged(key: &[u8], source: Option<serde_json::Error>) -> MetaError {
    MetaError::DamagedRecord {
        key: shown(key),
        source,
    }
}

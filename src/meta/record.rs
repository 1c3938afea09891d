//! What a record holds, and its encoding: one version byte, then JSON.
//!
//! A decoder accepts every version up to its own and fills what older ones lack
//! by serde defaults; a newer version is an error, never a guess.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::Add;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::MetaError;
use super::key::{Table, shown};
use crate::leases::Resource;
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
    /// The layer on top of the parent, if it is one of the layer store. With a directory
    /// beside it, it lies below that: it was applied before something was written.
    pub layer: Option<DiffId>,
    /// The snapshot's directory in the store; `None` for one that a pull has made or that
    /// was packed.
    #[serde(default)]
    pub id: Option<SnapshotId>,
    /// What the directory took when the snapshot was committed, or what the layer takes that
    /// it was packed into; `None` for one that a pull has made.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// When the snapshot came to be.
    pub created: Timestamp,
    /// When the record was last changed.
    pub updated: Timestamp,
}

/// The number of a snapshot's directory; it is never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(pub u64);

impl SnapshotId {
    /// Returns the snapshot whose directory has a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let id = name.parse().ok().map(Self);
        id.filter(|id| id.to_string() == name)
    }
}

/// What a snapshot takes on the disk, without its parents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of the blocks that are in use.
    pub size: u64,
    /// Inodes, directories included.
    pub inodes: u64,
}

impl SnapshotRecord {
    /// Returns the layer that is all that the snapshot adds to its parent.
    pub fn packed(&self) -> Option<&DiffId> {
        self.layer.as_ref().filter(|_| self.id.is_none())
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            size: self.size + other.size,
            inodes: self.inodes + other.inodes,
        }
    }
}

/// The highest number that a snapshot's directory has had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotCounter {
    pub(crate) last: SnapshotId,
}

/// The number of the last transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CommitCounter {
    pub(super) last: u64,
}

/// What is known of roots of garbage collection as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Roots {
    /// Whether all snapshots that a user of an older release has made are labelled as such.
    pub(crate) are_labelled: bool,
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

/// A lease: resources that garbage collection spares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The id.
    pub id: String,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// What is spared.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// When the lease was made.
    pub created: Timestamp,
}

/// A namespace that something was written in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRecord {
    /// The name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
}

impl Record for NamespaceRecord {
    const TABLE: Table = Table::Namespaces;
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

impl Record for LeaseRecord {
    const TABLE: Table = Table::Leases;
}

impl Record for CommitCounter {
    const TABLE: Table = Table::Counters;
}

impl Record for Roots {
    const TABLE: Table = Table::Counters;
}

impl Record for SnapshotCounter {
    const TABLE: Table = Table::Counters;
}

impl Display for SnapshotId {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
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

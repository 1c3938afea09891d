//! What can be wrong, in which words, and what a repair does about it.

use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use super::files::Listing;
use crate::leases::Resource;
use crate::meta::{Namespace, SnapshotId, SnapshotRecord, Survey};
use crate::oci::{DiffId, Digest};
use crate::store::Store;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that is relied on is wrong or missing.
    Damage,
    /// Something is there that nothing refers to.
    Orphan,
}

/// A fault of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Fault {
    #[error("record {key:?} cannot be read: {error}")]
    Record { key: String, error: String },
    #[error("record {key:?} is not what was last written")]
    StrayedRecord { key: String },
    #[error("the journal of the records cannot be read to its end")]
    Journal,
    #[error("the counter of snapshots is behind directory {id}")]
    Counter { id: SnapshotId },
    #[error("blob {digest} is damaged: {error}")]
    BlobDamaged { digest: Digest, error: String },
    #[error("blob {digest} has a record in {}, and is missing", namespace.as_str())]
    BlobMissing {
        namespace: Namespace,
        digest: Digest,
    },
    #[error("blob {digest} has {found} bytes, its record in {} says {recorded}", namespace.as_str())]
    BlobSize {
        namespace: Namespace,
        digest: Digest,
        recorded: u64,
        found: u64,
    },
    #[error("no record names blob {digest}")]
    BlobOrphan { digest: Digest },
    #[error("layer {diff_id} is damaged: {error}")]
    LayerDamaged { diff_id: DiffId, error: String },
    #[error("layer {diff_id} of snapshot {name:?} is missing")]
    LayerMissing { diff_id: DiffId, name: String },
    #[error("no record names layer {diff_id}")]
    LayerOrphan { diff_id: DiffId },
    #[error("snapshot {name:?} stands on {parent:?}, which is missing")]
    ParentMissing {
        namespace: Namespace,
        name: String,
        parent: String,
    },
    #[error("snapshot {name:?} stands on {parent:?}, which is not committed")]
    ParentNotCommitted {
        namespace: Namespace,
        name: String,
        parent: String,
    },
    #[error("snapshot {name:?} stands on itself")]
    Cycle { namespace: Namespace, name: String },
    #[error("snapshot {name:?} is not named by the chain ID of its layers, {chain_id}")]
    ChainId {
        namespace: Namespace,
        name: String,
        chain_id: String,
    },
    #[error("snapshot {name:?} has no `{part}` in its directory {id}")]
    DirectoryMissing {
        namespace: Namespace,
        name: String,
        id: SnapshotId,
        part: &'static str,
    },
    #[error("snapshots {name:?} and {other:?} have the same directory {id}")]
    DirectoryShared {
        name: String,
        other: String,
        id: SnapshotId,
    },
    #[error("no record names directory {id} of a snapshot")]
    DirectoryOrphan { id: SnapshotId },
    #[error("directory {id} does not say that it is of snapshot {name:?}")]
    Undescribed {
        namespace: Namespace,
        name: String,
        id: SnapshotId,
    },
    #[error("image {name:?}: {error}")]
    Image {
        namespace: Namespace,
        name: String,
        error: String,
    },
    #[error("{name:?} is not of this store")]
    Stranger {
        name: String,
        #[serde(with = "crate::json_path")]
        directory: PathBuf,
    },
    #[error("a process that was killed has left {name:?}")]
    Leftover {
        name: String,
        #[serde(with = "crate::json_path")]
        directory: PathBuf,
    },
}

impl Fault {
    /// Returns how bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::BlobOrphan { .. }
            | Self::LayerOrphan { .. }
            | Self::DirectoryOrphan { .. }
            | Self::Undescribed { .. }
            | Self::Leftover { .. } => Severity::Orphan,
            _ => Severity::Damage,
        }
    }

    /// Returns what a repair does about it.
    pub fn repair(&self) -> &'static str {
        match self {
            Self::Record { .. } | Self::StrayedRecord { .. } => {
                "nothing; `mica check --rebuild` makes the records anew"
            }
            Self::Journal => "begin it anew",
            Self::Counter { .. } => "set it",
            Self::BlobDamaged { .. } => "set it aside, and fetch it again from the image's source",
            Self::BlobMissing { .. } => "fetch it again from the image's source",
            Self::BlobSize { .. } => "correct the record",
            Self::LayerDamaged { .. } | Self::LayerMissing { .. } => {
                "unpack it again, from its own data, its blob, or the image's source"
            }
            Self::BlobOrphan { .. }
            | Self::LayerOrphan { .. }
            | Self::DirectoryOrphan { .. }
            | Self::Leftover { .. } => "remove it",
            Self::ParentMissing { .. } => "record it again, if an image has it",
            Self::Undescribed { .. } => "write the description",
            Self::Image { .. } => "fetch what is missing from the image's source",
            Self::DirectoryMissing { .. } => {
                "make it if it was empty; else `mica snapshot rm` is the way to be rid of the record"
            }
            Self::ParentNotCommitted { .. }
            | Self::Cycle { .. }
            | Self::ChainId { .. }
            | Self::DirectoryShared { .. }
            | Self::Stranger { .. } => "nothing",
        }
    }

    /// Returns the file or directory concerned.
    pub(super) fn path(&self, store: &Store) -> Option<PathBuf> {
        let directory = |id: &SnapshotId| store.root().join("snapshots").join(id.to_string());
        match self {
            Self::BlobDamaged { digest, .. }
            | Self::BlobMissing { digest, .. }
            | Self::BlobSize { digest, .. }
            | Self::BlobOrphan { digest } => Some(store.content().path(digest)),
            Self::LayerDamaged { diff_id, .. }
            | Self::LayerMissing { diff_id, .. }
            | Self::LayerOrphan { diff_id } => Some(store.layers().path(diff_id)),
            Self::DirectoryMissing { id, part, .. } => Some(directory(id).join(part)),
            Self::DirectoryShared { id, .. }
            | Self::DirectoryOrphan { id }
            | Self::Undescribed { id, .. } => Some(directory(id)),
            Self::Stranger { name, directory } | Self::Leftover { name, directory } => {
                Some(directory.join(name))
            }
            _ => None,
        }
    }

    /// Says whether the fault is one of the store as it is now.
    pub(super) fn still_holds(&self, now: &Survey, listing: &Listing) -> bool {
        let has = |name: &str| now.snapshots.iter().any(|(_, record)| record.name == name);
        match self {
            Self::BlobMissing { namespace, digest } => {
                let is_recorded = now
                    .content
                    .iter()
                    .any(|(of, record)| of == namespace && record.digest == *digest);
                is_recorded && !listing.blobs.contains_key(digest)
            }
            Self::LayerMissing { diff_id, name } => has(name) && !listing.layers.contains(diff_id),
            Self::BlobDamaged { digest, .. } | Self::BlobSize { digest, .. } => {
                listing.blobs.contains_key(digest)
            }
            Self::LayerDamaged { diff_id, .. } => listing.layers.contains(diff_id),
            Self::BlobOrphan { digest } => {
                let is_recorded = now.content.iter().any(|(_, r)| r.digest == *digest);
                let is_named = is_recorded || now.leased.contains(&Resource::content(digest));
                listing.blobs.contains_key(digest) && !is_named
            }
            Self::LayerOrphan { diff_id } => {
                let is_of = |(_, r): &(_, SnapshotRecord)| r.layer.as_ref() == Some(diff_id);
                let is_recorded = now.snapshots.iter().any(is_of);
                let is_named = is_recorded || now.leased.contains(&Resource::layer(diff_id));
                listing.layers.contains(diff_id) && !is_named
            }
            Self::DirectoryOrphan { id } => {
                let is_named = now.snapshots.iter().any(|(_, r)| r.id == Some(*id));
                listing.directories.contains(id) && !is_named
            }
            Self::DirectoryMissing { name, id, .. } => now
                .snapshots
                .iter()
                .any(|(_, r)| r.name == *name && r.id == Some(*id)),
            Self::Image {
                namespace, name, ..
            } => now
                .images
                .iter()
                .any(|(of, record)| of == namespace && record.name == *name),
            Self::Leftover { name, directory } => directory.join(name).exists(),
            _ => true,
        }
    }
}

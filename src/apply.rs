//! Applying: a client that unpacks an image itself has a blob unpacked onto an active
//! snapshot.
//!
//! Nothing is written into the snapshot's directory. The blob becomes a packed layer, as a
//! pull makes it, and the snapshot names that. A layer that the store has already is not
//! made again, where the blob's label says which one it is.

mod blob;

use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinError;

use crate::error_class::ErrorClass;
use crate::inflate::inflate;
use crate::layers::{LayerError, UnpackedLayer, Unpacking};
use crate::leases::{HeldLease, LeaseError, Leases, Resource};
use crate::oci::{Descriptor, DiffId, Digest};
use crate::snapshots::{Reserved, SnapshotError, Snapshots};
use crate::store::Store;

pub(crate) use blob::{Blob, Supply};

/// The label of a blob that names the layer it holds.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Why a blob could not be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Another layer was applied to the snapshot before.
    #[error("snapshot {0:?} has a layer already")]
    Second(String),
    /// The blob's bytes could not be had.
    #[error("read blob {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// Why not.
        source: io::Error,
    },
    /// The blob's bytes are not those of its digest.
    #[error("blob {expected} has the wrong content: its digest is {found}")]
    Digest {
        /// The digest that was asked for.
        expected: Digest,
        /// That of the bytes.
        found: Digest,
    },
    /// The blob's compressed stream is corrupt, or of a kind that cannot be read.
    #[error("decompress layer {digest}")]
    Compression {
        /// The compressed blob.
        digest: Digest,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The snapshot cannot take a layer.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The layer is wrong or could not be stored.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The layer could not be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The work ended in a panic.
    #[error("a task of the unpacking was ended")]
    Task(#[from] JoinError),
}

impl ApplyError {
    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Second(_) => ErrorClass::Unimplemented,
            Self::Snapshot(error) => error.class(),
            Self::Digest { .. } | Self::Compression { .. } => ErrorClass::InvalidArgument,
            _ => ErrorClass::Internal,
        }
    }
}

/// What was applied: the uncompressed tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its digest.
    pub diff_id: DiffId,
    /// Its bytes.
    pub size: u64,
}

/// An active snapshot that a blob is applied to.
#[derive(Debug)]
pub(crate) struct Target {
    store: Arc<Store>,
    snapshots: Snapshots,
    key: String,
    reserved: Reserved,
}

impl Target {
    /// Keeps an active snapshot, to which nothing may have been written.
    pub(crate) fn reserve(
        store: &Arc<Store>,
        snapshots: Snapshots,
        key: &str,
    ) -> Result<Self, ApplyError> {
        Ok(Self {
            reserved: snapshots.reserve(key)?,
            store: Arc::clone(store),
            snapshots,
            key: key.to_owned(),
        })
    }

    /// Applies a layer that the store has and that can be used; gives itself back if the
    /// store has not.
    pub(crate) fn apply_known(self, diff_id: &DiffId) -> Result<Result<Applied, Self>, ApplyError> {
        let lease = self.lease(diff_id)?;
        if !self.store.layers().prove_index(diff_id)? {
            return Ok(Err(self));
        }
        self.record(diff_id, lease).map(Ok)
    }

    /// Unpacks a blob and applies it. The layer can be made again from the blob if that is
    /// in this store; otherwise it is on the disk when this returns.
    pub(crate) async fn apply(
        self,
        blob: &Descriptor,
        supply: Supply,
        is_in_store: bool,
    ) -> Result<Applied, ApplyError> {
        if self.reserved.layer().is_some() {
            return Err(ApplyError::Second(self.key));
        }
        let layers = self.store.layers();
        // Dropped with this future: then nobody waits for the layer any more.
        let waiting = Arc::new(());
        let unpacked = {
            let (layers, digest) = (layers.clone(), blob.digest.clone());
            let supply = Blob::new(supply, digest.algorithm(), Arc::downgrade(&waiting));
            tokio::task::spawn_blocking(move || unpack(layers.make()?, supply, digest))
        };
        let unpacked = unpacked.await??;
        let diff_id = unpacked.diff_id().clone();
        let lease = self.lease(&diff_id)?;
        let lock = layers.lock(&diff_id).await?;
        let publish = move || {
            if !layers.prove_index(&diff_id)? {
                unpacked.publish()?;
            }
            if !is_in_store {
                layers.make_durable(&diff_id)?;
            }
            drop(lock);
            self.record(&diff_id, lease)
        };
        tokio::task::spawn_blocking(publish).await?
    }

    fn lease(&self, diff_id: &DiffId) -> Result<HeldLease, ApplyError> {
        let leases = Leases::new(&self.store, self.snapshots.namespace().clone());
        Ok(leases.hold("apply", vec![Resource::layer(diff_id)])?)
    }

    fn record(self, diff_id: &DiffId, lease: HeldLease) -> Result<Applied, ApplyError> {
        if self.reserved.layer().is_some_and(|layer| layer != diff_id) {
            return Err(ApplyError::Second(self.key));
        }
        let size = self.store.layers().data_size(diff_id)?;
        self.snapshots.apply(&self.reserved, diff_id)?;
        lease.end()?;
        Ok(Applied {
            diff_id: diff_id.clone(),
            size,
        })
    }
}

/// Makes a layer of a blob. When several things are wrong, the cause is told rather than
/// the consequence.
fn unpack(
    unpacking: Unpacking,
    mut blob: Blob,
    digest: Digest,
) -> Result<UnpackedLayer, ApplyError> {
    let (inflated, unpacked) = inflate(&mut blob, unpacking);
    let found = match blob.finish() {
        Ok(found) => found,
        Err(source) => return Err(ApplyError::Read { digest, source }),
    };
    if found != digest {
        return Err(ApplyError::Digest {
            expected: digest,
            found,
        });
    }
    let unpacking = unpacked?;
    inflated.map_err(|source| ApplyError::Compression { digest, source })?;
    Ok(unpacking.complete()?)
}

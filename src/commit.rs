//! Images of snapshots: what a snapshot has changed becomes a layer, on top of the layers of
//! the image that the snapshot stands on.
//!
//! Each new layer is read once. Its tar goes at the same time into the layer store, so that
//! the new image can be mounted at once, and compressed into the content store, so that it
//! can be pushed. The layers of the image below are referred to by the blobs that they came
//! as. The snapshot stays what it was; nobody can write to it meanwhile.
//!
//! With times limited, as `SOURCE_DATE_EPOCH` asks for, the same snapshot makes the same
//! image, byte for byte.

mod base;
mod change;
mod config;
mod layer;
mod record;

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;
use tokio::task::JoinError;

use crate::content::ContentError;
use crate::diff::DiffError;
use crate::images::ImageError;
use crate::layers::LayerError;
use crate::leases::{HeldLease, LeaseError, Leases, Resource};
use crate::meta::{MetaError, Namespace};
use crate::oci::{ChainId, Descriptor, DiffId, ImageConfig, Manifest, MediaType, Reference};
use crate::snapshots::{SnapshotError, Snapshots};
use crate::store::Store;

use base::Base;
use layer::LayerMaker;

pub use crate::compress::Compression;
pub use change::{ChangeError, ConfigChange};

/// Why no image was made.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Several images are made of what the snapshot stands on.
    #[error("snapshot {key:?} stands on several images: {}", names.join(", "))]
    Ambiguous {
        /// The snapshot.
        key: String,
        /// The images.
        names: Vec<String>,
    },
    /// The snapshot does not stand on the image that was named as its base.
    #[error("snapshot {key:?} does not stand on {image}")]
    NotOn {
        /// The snapshot.
        key: String,
        /// The image.
        image: String,
    },
    /// The config of the image below is no object.
    #[error("the config of {image} cannot be changed")]
    Config {
        /// The image below.
        image: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A time is none that a config can hold.
    #[error("{0} seconds since 1970 is no time that an image can have")]
    Time(i64),
    /// A layer could not be compressed.
    #[error("compress the layer of snapshot {name:?}")]
    Compress {
        /// The snapshot.
        name: String,
        /// The failure.
        source: io::Error,
    },
    /// The changes of a snapshot could not be read.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The image below cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob could not be stored.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A layer could not be stored.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// What the image needs could not be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A part of the work was ended from outside.
    #[error("a task of the commit was ended")]
    Task(#[from] JoinError),
}

impl CommitError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ambiguous { .. } => Some("name one of them by --base"),
            Self::Snapshot(error) | Self::Diff(DiffError::Snapshot(error)) => error.hint(),
            Self::Layer(LayerError::Unusable(_))
            | Self::Diff(DiffError::Layer(LayerError::Unusable(_))) => Some("pull the image again"),
            _ => None,
        }
    }
}

/// What a commit is asked to do.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// The name of the new image.
    pub name: Reference,
    /// The image to build on, where several fit.
    pub base: Option<String>,
    /// Who has made the image.
    pub author: Option<String>,
    /// A remark for the history.
    pub message: Option<String>,
    /// How the image is to be run otherwise than the one below.
    pub changes: Vec<ConfigChange>,
    /// How new layers are compressed.
    pub compression: Compression,
    /// The latest time in the image, in seconds since 1970, and the time at which it was made.
    pub latest: Option<i64>,
    /// The key space of the records.
    pub namespace: Namespace,
}

/// What a commit has made.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The manifest that the image's name stands for.
    pub target: Descriptor,
    /// The name of the image's snapshot; `None` for an image without layers.
    pub chain_id: Option<ChainId>,
}

/// A layer of the new image that the image below does not have.
#[derive(Debug, Clone)]
struct NewLayer {
    descriptor: Descriptor,
    diff_id: DiffId,
}

/// The documents of the new image.
#[derive(Debug)]
struct Documents {
    target: Descriptor,
    manifest: Manifest,
    bytes: Vec<u8>,
    config: ImageConfig,
    config_bytes: Vec<u8>,
}

/// Makes an image of a snapshot, which may be active or committed.
///
/// When this returns `Ok`, the image survives a crash of the machine.
pub async fn commit(
    store: &Arc<Store>,
    key: &str,
    options: &CommitOptions,
) -> Result<Committed, CommitError> {
    let snapshots = Snapshots::new(store, options.namespace.clone());
    let leases = Leases::new(store, options.namespace.clone());
    let lease = leases.hold("commit", vec![Resource::snapshot(key)])?;
    let (base, above) = base::find(store, &snapshots, key, options)?;
    let below = base.layers.iter();
    lease.add(
        below
            .map(|layer| Resource::content(&layer.digest))
            .collect(),
    )?;
    let maker = LayerMaker {
        store,
        snapshots: &snapshots,
        lease: &lease,
        options,
        is_docker: base.is_docker(),
    };
    let mut layers = Vec::new();
    for snapshot in above {
        layers.extend(maker.make(&snapshot).await?);
    }
    let (store, options) = (Arc::clone(store), options.clone());
    let finish = move || {
        let documents = documents(base, &layers, &options)?;
        documents.store(&store, &lease)?;
        store.content().sync()?;
        store.layers().sync()?;
        record::commit(&store, &documents, &layers, &options, lease)?;
        store.layers().settle()?;
        Ok(Committed {
            chain_id: documents.config.chain().pop(),
            target: documents.target,
        })
    };
    tokio::task::spawn_blocking(finish).await?
}

impl Documents {
    /// Stores manifest and config.
    fn store(&self, store: &Store, lease: &HeldLease) -> Result<(), CommitError> {
        let config = &self.manifest.config;
        let both = [(config, &self.config_bytes), (&self.target, &self.bytes)];
        lease.add(both.map(|(of, _)| Resource::content(&of.digest)).to_vec())?;
        for (descriptor, bytes) in both {
            store.content().write(descriptor, bytes)?;
        }
        Ok(())
    }
}

/// Makes config and manifest.
fn documents(
    base: Base,
    layers: &[NewLayer],
    options: &CommitOptions,
) -> Result<Documents, CommitError> {
    let created = match options.latest {
        Some(seconds) => Timestamp::from_second(seconds).map_err(|_| CommitError::Time(seconds))?,
        None => Timestamp::now(),
    };
    let is_docker = base.is_docker();
    let (config_type, manifest_type) = if is_docker {
        (MediaType::DOCKER_CONFIG, MediaType::DOCKER_MANIFEST)
    } else {
        (MediaType::OCI_CONFIG, MediaType::OCI_MANIFEST)
    };
    let config_bytes = config::make(&base, layers, created, options)?;
    let config = Descriptor::of(config_type, &config_bytes);
    let mut all = base.layers;
    all.extend(layers.iter().map(|layer| layer.descriptor.clone()));
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(manifest_type.into()),
        config,
        layers: all,
        annotations: std::collections::BTreeMap::new(),
    };
    let parsed = ImageConfig::parse(&manifest, &config_bytes).map_err(ImageError::from)?;
    let json = |source| CommitError::Config {
        image: options.name.to_string(),
        source,
    };
    let bytes = serde_json::to_vec(&manifest).map_err(json)?;
    let target = Descriptor::of(manifest_type, &bytes);
    Ok(Documents {
        target,
        manifest,
        bytes,
        config: parsed,
        config_bytes,
    })
}

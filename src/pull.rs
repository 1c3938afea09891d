//! The pull: from a source to an image that can be mounted.
//!
//! ```text
//! resolve → documents → lease → [ fetch → hash, store → inflate → hash, data + index ] × layers
//!         → sync names → view of the chain → one commit: content, snapshots, image
//! ```
//! Bytes of a blob are read once and go through the whole pipeline as they come. All
//! layers run at the same time, within a bound; no layer waits for its parent. Until
//! the commit nothing is visible; a failed or killed pull leaves blobs, layers and
//! parts of blobs behind, which the next pull takes up and a sweep removes. All that a
//! pull uses or makes is under its lease before it looks whether it is there.
//!
//! Pulls of several processes share work by the lock on a layer: whoever comes
//! second waits, and finds the layer there.

mod decompress;
mod document;
mod layer;
mod mend;
mod pipeline;
mod progress;
mod record;
mod supply;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use mica_fuse::{Layer, View, ViewOptions};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::content::ContentError;
use crate::layers::LayerError;
use crate::leases::{HeldLease, LeaseError, Leases, Resource};
use crate::meta::{MetaError, Namespace};
use crate::oci::{
    ChainId, Descriptor, Digest, DocumentError, ImageConfig, Manifest, PlatformMatcher, WalkError,
};
use crate::source::{Source, SourceError};
use crate::store::{Store, SweepError};

pub use mend::mend;
pub use progress::{Observer, State};

/// How many layers are fetched and unpacked at the same time. Each takes up to four
/// megabytes of buffers, and the window of its compression (see [`decompress`]).
const PARALLEL: usize = 4;

/// Why a pull failed. Nothing of it is visible then.
#[derive(Debug, Error)]
pub enum PullError {
    /// The source did not give what was asked of it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A blob is wrong or could not be stored.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A layer is wrong or could not be stored.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer's compressed stream is corrupt, or of a kind that cannot be read.
    #[error("decompress layer {digest}")]
    Compression {
        /// The compressed blob.
        digest: Digest,
        /// What the decompressor said.
        source: io::Error,
    },
    /// A manifest, index or config cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The image has nothing for the platform.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The layers do not make a tree together.
    #[error("stack the layers of {0}")]
    View(ChainId, #[source] mica_fuse::Error),
    /// What the pull needs could not be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// What an earlier pull has left half-made could not be removed.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A part of the pull was ended from outside.
    #[error("a task of the pull was ended")]
    Task(#[from] JoinError),
}

/// What a pull is asked to do besides its source.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The name to record; usually that of the source.
    pub name: String,
    /// The platform wanted.
    pub platform: PlatformMatcher,
    /// The key space of the records.
    pub namespace: Namespace,
}

/// What a pull has made or found.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The manifest or index that the image's name stands for.
    pub target: Descriptor,
    /// The name of the image's snapshot; `None` for an image without layers.
    pub chain_id: Option<ChainId>,
}

/// What is to be in the store at the end of a pull.
#[derive(Debug, Clone)]
struct Plan {
    target: Descriptor,
    /// Indexes on the way to the manifest, and the manifest, as they were visited.
    documents: Vec<(Descriptor, Vec<u8>)>,
    manifest: Manifest,
    manifest_digest: Digest,
    config: ImageConfig,
    config_bytes: Vec<u8>,
    /// Documents that came from the source.
    fetched: HashSet<Digest>,
}

/// What all parts of one pull share.
#[derive(Debug)]
struct Context {
    store: Arc<Store>,
    source: Arc<Source>,
    observer: Observer,
}

/// Pulls an image into the store.
///
/// When this returns `Ok`, the image survives a crash of the machine.
pub async fn pull(
    store: Arc<Store>,
    source: Arc<Source>,
    options: &PullOptions,
    observer: Observer,
) -> Result<Pulled, PullError> {
    store.tidy()?;
    let context = Arc::new(Context {
        store,
        source,
        observer,
    });
    let plan = document::plan(&context, &options.platform).await?;
    let (plan, lease) = lease(&context, plan, options).await?;
    layers(&context, &plan).await?;
    let options = options.clone();
    let finish = move || {
        context.store.content().sync()?;
        context.store.layers().sync()?;
        let chain_id = stack(&context.store, &plan.config)?;
        record::commit(&context, &plan, &options, lease)?;
        context.store.layers().settle()?;
        Ok(Pulled {
            target: plan.target,
            chain_id,
        })
    };
    tokio::task::spawn_blocking(finish).await?
}

/// Puts all that the image consists of under a lease, and stores the documents.
async fn lease(
    context: &Arc<Context>,
    plan: Plan,
    options: &PullOptions,
) -> Result<(Plan, HeldLease), PullError> {
    let leases = Leases::new(&context.store, options.namespace.clone());
    let blob_store = context.store.content();
    let work = move || {
        let documents = plan.documents.iter().map(|(document, _)| document);
        let blobs = documents
            .chain([&plan.manifest.config])
            .chain(&plan.manifest.layers)
            .map(|blob| Resource::content(&blob.digest));
        let layers = plan.config.diff_ids().iter().map(Resource::layer);
        let lease = leases.hold("pull", blobs.chain(layers).collect())?;
        document::store(&blob_store, &plan)?;
        Ok((plan, lease))
    };
    tokio::task::spawn_blocking(work).await?
}

/// Brings all layers into the store; the first failure ends the others.
async fn layers(context: &Arc<Context>, plan: &Plan) -> Result<(), PullError> {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tasks = JoinSet::new();
    let mut seen = HashSet::new();
    for (descriptor, diff_id) in plan.manifest.layers.iter().zip(plan.config.diff_ids()) {
        // An image may hold one layer, such as the empty one, several times.
        if !seen.insert(diff_id) {
            continue;
        }
        context.observer.tell(&descriptor.digest, State::Waiting);
        let context = Arc::clone(context);
        let permits = Arc::clone(&permits);
        let (descriptor, diff_id) = (descriptor.clone(), diff_id.clone());
        tasks.spawn(async move {
            // The semaphore is never closed, so that there is always a permit to come.
            let _permit = permits.acquire_owned().await.ok();
            layer::bring(&context, &descriptor, &diff_id).await
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Opens the layers as a view once, to see that they fit on each other.
fn stack(store: &Store, config: &ImageConfig) -> Result<Option<ChainId>, PullError> {
    let Some(chain_id) = config.chain().pop() else {
        return Ok(None);
    };
    let mut layers = Vec::new();
    for diff_id in config.diff_ids().iter().rev() {
        layers.push(Layer::Packed(Arc::new(store.layers().open(diff_id)?)));
    }
    View::open(layers, ViewOptions::default())
        .map_err(|error| PullError::View(chain_id.clone(), error))?;
    Ok(Some(chain_id))
}

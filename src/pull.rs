//! The pull: from a source to an image that can be mounted.
//!
//! ```text
//! resolve → documents → lease → [ fetch → hash, store → inflate → hash, data + index ] × layers
//!         → sync names → view of the chain → one commit: content, snapshots, image
//! ```
//! Bytes of a blob are read once and go through the whole pipeline as they come. All
//! layers run at the same time, within a bound; no layer waits for its parent. Until
//! the commit nothing is visible; a failed or killed pull leaves blobs, layers and
//! parts of blobs behind, which the next pull takes up and garbage
//! collection removes. All that a pull uses or makes is under its lease before it looks
//! whether it is there.
//!
//! Pulls of several processes share work by the locks on a layer and on a blob:
//! whoever comes second waits, and finds the layer or the blob there.

mod blob;
mod complete;
mod demand;
mod document;
mod labels;
mod layer;
mod pipeline;
mod plan;
mod progress;
mod record;
mod schema1;
mod share;
mod supply;
mod unpack;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use mica_fuse::{Layer, View, ViewOptions};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::content::ContentError;
use crate::gc::{self, GcError};
use crate::layers::LayerError;
use crate::leases::{HeldLease, LeaseError, Leases, Resource};
use crate::meta::{Labels, MetaError, Namespace};
use crate::oci::{
    ChainId, Descriptor, Digest, DocumentError, ImageConfig, Platform, PlatformMatcher, WalkError,
};
use crate::source::{Source, SourceError};
use crate::store::Store;

use self::plan::{Part, Plan};
use self::share::Share;

pub use demand::fetch_blobs;
pub use progress::{Observer, State};
pub use schema1::Schema1Error;
pub use unpack::{Unpack, mend, unpack};

/// How many blobs are fetched at the same time, and how many layers unpacked, where
/// nobody says otherwise. Each takes up to four megabytes of buffers, and the window of
/// its compression (see [`crate::decompress`]).
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
    Gc(#[from] GcError),
    /// A manifest of Docker's first schema cannot be converted.
    #[error("convert the schema-1 manifest {digest}")]
    Schema1 {
        /// The manifest.
        digest: Digest,
        /// Why not.
        source: Schema1Error,
    },
    /// A blob that is needed again is not in the store, and nothing says where it is.
    #[error("blob {digest} of {image:?} is not in the store, and no source of it is known")]
    NoSource {
        /// The image.
        image: String,
        /// The blob.
        digest: Digest,
    },
    /// A part of the pull was ended from outside.
    #[error("a task of the pull was ended")]
    Task(#[from] JoinError),
}

impl PullError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Layer(error) => error.hint(),
            _ => None,
        }
    }
}

/// What a pull is asked to do besides its source.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The name to record; usually that of the source.
    pub name: String,
    /// The platforms wanted.
    pub platforms: Platforms,
    /// The key space of the records.
    pub namespace: Namespace,
    /// Whether layers are unpacked, and not only fetched.
    pub unpack: bool,
    /// Whether compressed layers are removed after they were unpacked.
    pub discard: bool,
    /// Whether a manifest of Docker's first schema is converted.
    pub schema1: bool,
    /// How much is done at the same time.
    pub limits: Limits,
}

/// Which images of an index are wanted.
#[derive(Debug, Clone)]
pub enum Platforms {
    /// The one that suits best, for each of these.
    Each(Vec<PlatformMatcher>),
    /// All of them, with all that is said about them. The one for this machine is unpacked.
    All,
}

/// How much a pull does at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blobs that are being fetched.
    pub downloads: usize,
    /// Layers that are being unpacked, as they come or from the store.
    pub unpacks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            downloads: PARALLEL,
            unpacks: PARALLEL,
        }
    }
}

/// What a pull has made or found.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The manifest or index that the image's name stands for.
    pub target: Descriptor,
    /// The name of the image's snapshot, of the first platform's where there are several;
    /// `None` for an image without layers or one that was not unpacked.
    pub chain_id: Option<ChainId>,
}

/// What all parts of one pull share.
#[derive(Debug)]
struct Context {
    store: Arc<Store>,
    source: Arc<Source>,
    share: Share,
    observer: Observer,
    limits: Permits,
}

/// Permits to do something; a task takes one to unpack before one to download.
#[derive(Debug)]
struct Permits {
    downloads: Semaphore,
    unpacks: Semaphore,
}

impl From<Limits> for Permits {
    fn from(limits: Limits) -> Self {
        Self {
            downloads: Semaphore::new(limits.downloads.max(1)),
            unpacks: Semaphore::new(limits.unpacks.max(1)),
        }
    }
}

impl PullOptions {
    /// Returns the options of a usual pull: for this machine, unpacked.
    pub fn new(name: String, namespace: Namespace) -> Self {
        Self {
            name,
            platforms: Platforms::Each(vec![PlatformMatcher::new(&Platform::host())]),
            namespace,
            unpack: true,
            discard: false,
            schema1: false,
            limits: Limits::default(),
        }
    }
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
    gc::tidy(&store)?;
    let context = Arc::new(Context {
        share: Share::new(&store, &options.namespace),
        store,
        source,
        observer,
        limits: options.limits.into(),
    });
    let resolved = context.source.resolve().await?;
    let mut converted = None;
    let (target, image_labels) = if options.schema1 && schema1::is_one(&resolved) {
        let leases = Leases::new(&context.store, options.namespace.clone());
        let (target, lease) = schema1::convert(&context, &leases, &resolved).await?;
        converted = Some(lease);
        (target, Labels::from([schema1::label(&resolved)]))
    } else {
        (resolved, Labels::new())
    };
    let mut plan = document::plan(&context, target, &options.platforms).await?;
    plan.image_labels = image_labels;
    for part in &mut plan.parts {
        part.is_unpacked &= options.unpack;
    }
    let (plan, is_complete) = complete(&context, plan, options).await?;
    if is_complete {
        return Ok(plan.into_pulled());
    }
    let (plan, lease) = lease(&context, plan, options).await?;
    converted.map(HeldLease::end).transpose()?;
    bring(&context, &plan).await?;
    let options = options.clone();
    let finish = move || finish(&context, plan, &options, lease);
    tokio::task::spawn_blocking(finish).await?
}

/// Looks whether there is anything to do.
async fn complete(
    context: &Arc<Context>,
    plan: Plan,
    options: &PullOptions,
) -> Result<(Plan, bool), PullError> {
    let (context, options) = (Arc::clone(context), options.clone());
    let look = move || {
        let mut plan = plan;
        plan.lost = complete::lost(&context, &plan, &options)?;
        let is_complete = complete::renew(&context, &plan, &options)?;
        for layer in plan.unpacked_layers().filter(|_| is_complete) {
            context.observer.tell(&layer.digest, State::Exists);
        }
        Ok((plan, is_complete))
    };
    tokio::task::spawn_blocking(look).await?
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
        let blobs = documents.chain(plan.blobs());
        let blobs = blobs.map(|blob| Resource::content(&blob.digest));
        let unpacked = plan.parts.iter().filter(|part| part.is_unpacked);
        let layers = unpacked.flat_map(|part| part.config.diff_ids());
        let layers = layers.map(Resource::layer);
        let lease = leases.hold("pull", blobs.chain(layers).collect())?;
        document::store(&blob_store, &plan)?;
        Ok((plan, lease))
    };
    tokio::task::spawn_blocking(work).await?
}

/// Records what was brought.
fn finish(
    context: &Context,
    plan: Plan,
    options: &PullOptions,
    lease: HeldLease,
) -> Result<Pulled, PullError> {
    context.store.content().sync()?;
    context.store.layers().sync()?;
    for part in plan.parts.iter().filter(|part| part.is_unpacked) {
        stack(&context.store, &part.config)?;
    }
    for digest in record::commit(context, &plan, options, lease)? {
        context.store.content().remove(&digest)?;
    }
    context.store.layers().settle()?;
    Ok(plan.into_pulled())
}

/// Brings all layers and other blobs into the store; the first failure ends the others.
async fn bring(context: &Arc<Context>, plan: &Plan) -> Result<(), PullError> {
    let mut tasks = JoinSet::new();
    let mut seen = HashSet::new();
    let mut unpacked = HashSet::new();
    for part in plan.parts.iter().filter(|part| part.is_unpacked) {
        for (descriptor, diff_id) in part.manifest.layers.iter().zip(part.config.diff_ids()) {
            unpacked.insert(&descriptor.digest);
            // An image may hold one layer, such as the empty one, several times.
            if !seen.insert(diff_id) {
                continue;
            }
            context.observer.tell(&descriptor.digest, State::Waiting);
            let context = Arc::clone(context);
            let (descriptor, diff_id) = (descriptor.clone(), diff_id.clone());
            tasks.spawn(async move { layer::bring(&context, &descriptor, &diff_id).await });
        }
    }
    let configs: HashSet<&Digest> = plan
        .parts
        .iter()
        .map(|p| &p.manifest.config.digest)
        .collect();
    for descriptor in plan.blobs() {
        let digest = &descriptor.digest;
        let is_lost = plan.lost.iter().any(|lost| lost.digest == *digest);
        if unpacked.contains(digest) && !is_lost || configs.contains(digest) {
            continue;
        }
        context.observer.tell(digest, State::Waiting);
        let (context, descriptor) = (Arc::clone(context), descriptor.clone());
        tasks.spawn(async move { blob::bring(&context, &descriptor).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Opens the layers as a view once, to see that they fit on each other.
fn stack(store: &Store, config: &ImageConfig) -> Result<(), PullError> {
    let Some(chain_id) = config.chain().pop() else {
        return Ok(());
    };
    let mut layers = Vec::new();
    for diff_id in config.diff_ids().iter().rev() {
        layers.push(Layer::Packed(Arc::new(store.layers().open(diff_id)?)));
    }
    View::open(layers, ViewOptions::default()).map_err(|error| PullError::View(chain_id, error))?;
    Ok(())
}

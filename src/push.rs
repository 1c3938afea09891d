//! The push: an image of the store into a registry.
//!
//! Blobs go first, several at once, by the shortest way that the registry offers; manifests
//! after what they refer to; the tag last, so that nobody sees an image that is not whole.
//! Blobs are sent as they are in the store. Afterwards their records name the repository, so
//! that the next push to the same registry can mount them from there.

mod label;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::content::ContentError;
use crate::images::{ImageError, Platforms, Selection};
use crate::leases::{HeldLease, LeaseError, Leases, Resource};
use crate::meta::{ContentRecord, ImageRecord, MetaError, Namespace};
use crate::oci::{Descriptor, Digest};
use crate::pull::{self, PullError, fetch_blobs};
use crate::registry::{self, Client, Pushed, PushedBlob};
use crate::store::Store;

/// How many blobs are sent at the same time.
const PARALLEL: usize = 4;

/// Why a push failed. What has been sent is kept by the registry for the next one.
#[derive(Debug, Error)]
pub enum PushError {
    /// The registry did not take something.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The reference to push to has the digest of something else.
    #[error("{wanted} was to be pushed, and the image is {found}")]
    Digest {
        /// The digest in the reference.
        wanted: Digest,
        /// The digest of what would be pushed.
        found: Digest,
    },
    /// A layer is in the store only as it was unpacked, and the registry does not have it.
    #[error("the compressed form of layer {digest} is not in the store")]
    Missing {
        /// The layer.
        digest: Digest,
        /// Why it cannot be fetched again.
        source: Box<PullError>,
    },
    /// A blob has been damaged since it was stored.
    #[error("{0} is damaged, and the registry has refused it")]
    Damaged(Digest, #[source] registry::Error),
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob could not be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The image could not be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A part of the push was ended from outside.
    #[error("a task of the push was ended")]
    Task(#[from] JoinError),
}

/// What a push is asked to do besides its image.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Which platforms of the image.
    pub platforms: Platforms,
    /// How many bytes of a blob are sent in one request; all of them where this says nothing
    /// and the registry takes them.
    pub chunk: Option<u64>,
    /// How to talk to the registry that the image came from, where something is missing.
    pub registry: registry::Options,
    /// The key space of the records.
    pub namespace: Namespace,
}

/// How far one blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushState {
    /// Others are sent first.
    Waiting,
    /// It is being sent.
    Uploading {
        /// Bytes so far.
        bytes: u64,
        /// Bytes of the whole blob.
        total: u64,
    },
    /// The registry had it.
    Exists,
    /// The registry had it in another repository.
    Mounted,
    /// It was sent.
    Done,
}

/// Called with a blob's digest and how far it is, from several threads.
#[derive(Clone)]
pub struct PushObserver(Arc<Callback>);

type Callback = dyn Fn(&Digest, PushState) + Send + Sync;

/// What all parts of one push share.
#[derive(Debug)]
struct Context {
    store: Arc<Store>,
    image: ImageRecord,
    client: Client,
    observer: PushObserver,
    options: PushOptions,
    selection: Selection,
    /// Repositories of the same registry that have a blob.
    sources: BTreeMap<Digest, Vec<String>>,
    /// Keeps what is pushed.
    _lease: HeldLease,
}

/// Pushes an image to what a client's reference names; returns what that stands for then.
pub async fn push(
    store: Arc<Store>,
    image: &ImageRecord,
    client: Client,
    options: &PushOptions,
    observer: PushObserver,
) -> Result<Descriptor, PushError> {
    let (image, options) = (image.clone(), options.clone());
    let begin = move || Context::begin(store, image, client, options, observer);
    let context = Arc::new(tokio::task::spawn_blocking(begin).await??);
    let target = context.selection.target.clone();
    if let Some(wanted) = context.client.reference().digest()
        && *wanted != target.digest
    {
        return Err(PushError::Digest {
            wanted: wanted.clone(),
            found: target.digest,
        });
    }
    blobs(&context).await?;
    documents(&context).await?;
    tokio::task::spawn_blocking(move || label::record(&context)).await??;
    Ok(target)
}

impl Context {
    fn begin(
        store: Arc<Store>,
        image: ImageRecord,
        client: Client,
        options: PushOptions,
        observer: PushObserver,
    ) -> Result<Self, PushError> {
        let leases = Leases::new(&store, options.namespace.clone());
        let lease = leases.hold("push", vec![Resource::image(&image.name)])?;
        let (content, layers) = (store.content(), store.layers());
        let selection = Selection::of(&content, &layers, &image, &options.platforms)?;
        let all = selection.documents.iter().map(|(document, _)| document);
        let all = all.chain(&selection.blobs);
        lease.add(all.map(|part| Resource::content(&part.digest)).collect())?;
        let sources = label::sources(&store, &options.namespace, &selection, client.reference())?;
        Ok(Self {
            store,
            image,
            client,
            observer,
            options,
            selection,
            sources,
            _lease: lease,
        })
    }

    /// Brings one blob into the registry.
    async fn blob(&self, descriptor: &Descriptor) -> Result<(), PushError> {
        let digest = &descriptor.digest;
        let content = self.store.content();
        if content.size(digest)? != Some(descriptor.size) {
            if self.client.is_pushed(digest).await? {
                self.observer.tell(digest, PushState::Exists);
                return Ok(());
            }
            self.fetch(descriptor).await?;
        }
        let (observer, told, total) = (self.observer.clone(), digest.clone(), descriptor.size);
        let blob = PushedBlob {
            descriptor: descriptor.clone(),
            file: Arc::new(content.open(digest)?),
            sources: self.sources.get(digest).cloned().unwrap_or_default(),
            chunk: self.options.chunk,
            told: Arc::new(move |bytes| {
                observer.tell(&told, PushState::Uploading { bytes, total });
            }),
        };
        let state = match self.client.push_blob(&blob).await {
            Ok(Pushed::Exists) => PushState::Exists,
            Ok(Pushed::Mounted) => PushState::Mounted,
            Ok(Pushed::Uploaded) => PushState::Done,
            Err(error @ registry::Error::Status { status: 400, .. }) => {
                return Err(self.blame(digest, error).await);
            }
            Err(error) => return Err(error.into()),
        };
        self.observer.tell(digest, state);
        Ok(())
    }

    /// Fetches a blob that the store has only as it was unpacked.
    async fn fetch(&self, descriptor: &Descriptor) -> Result<(), PushError> {
        let (store, namespace) = (&self.store, &self.options.namespace);
        let wanted = std::slice::from_ref(descriptor);
        let (registry, observer) = (&self.options.registry, pull::Observer::default());
        let fetched = fetch_blobs(store, namespace, &self.image, wanted, registry, &observer);
        fetched.await.map_err(|source| PushError::Missing {
            digest: descriptor.digest.clone(),
            source: Box::new(source),
        })
    }

    /// Finds out whether a blob that the registry has refused is what its digest stands for.
    async fn blame(&self, digest: &Digest, error: registry::Error) -> PushError {
        let (content, wanted) = (self.store.content(), digest.clone());
        let verified = tokio::task::spawn_blocking(move || content.verify(&wanted)).await;
        match verified {
            Ok(Err(ContentError::Digest { .. })) => PushError::Damaged(digest.clone(), error),
            _ => error.into(),
        }
    }
}

/// Sends all blobs; the first failure ends the others.
async fn blobs(context: &Arc<Context>) -> Result<(), PushError> {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tasks = JoinSet::new();
    // Whoever pulls gets layers that are not to be handed on from where they belong.
    let all = context.selection.blobs.iter();
    for descriptor in all.filter(|blob| !blob.media_type.is_foreign()) {
        context
            .observer
            .tell(&descriptor.digest, PushState::Waiting);
        let (context, permits) = (Arc::clone(context), Arc::clone(&permits));
        let descriptor = descriptor.clone();
        tasks.spawn(async move {
            // The semaphore is never closed, so that there is always a permit to come.
            let _permit = permits.acquire_owned().await.ok();
            context.blob(&descriptor).await
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Sends all documents, one after the other.
async fn documents(context: &Context) -> Result<(), PushError> {
    let reference = context.client.reference();
    let Some(((target, bytes), others)) = context.selection.documents.split_last() else {
        return Ok(());
    };
    for (descriptor, bytes) in others {
        if context.client.has_manifest(descriptor).await? {
            continue;
        }
        let name = descriptor.digest.to_string();
        context
            .client
            .push_manifest(descriptor, bytes, &name)
            .await?;
    }
    let digest = target.digest.to_string();
    let name = reference.tag().unwrap_or(&digest);
    Ok(context.client.push_manifest(target, bytes, name).await?)
}

impl PushError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Missing { .. } | Self::Damaged(..) => Some("pull the image again"),
            Self::Image(error) => error.hint(),
            _ => None,
        }
    }
}

impl PushObserver {
    /// Returns an observer that calls a function.
    pub fn new(function: impl Fn(&Digest, PushState) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    fn tell(&self, digest: &Digest, state: PushState) {
        (self.0)(digest, state);
    }
}

impl Default for PushObserver {
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}

impl fmt::Debug for PushObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushObserver").finish_non_exhaustive()
    }
}

/// Returns the records of the blobs that have one.
fn records(
    store: &Store,
    namespace: &Namespace,
    selection: &Selection,
) -> Result<Vec<ContentRecord>, MetaError> {
    let documents = selection.documents.iter().map(|(document, _)| document);
    let all = documents.chain(&selection.blobs);
    store.meta().read(|transaction| {
        let found = all.map(|part| transaction.find(namespace, &part.digest.to_string()));
        let found: Result<Vec<Option<ContentRecord>>, MetaError> = found.collect();
        Ok(found?.into_iter().flatten().collect())
    })
}

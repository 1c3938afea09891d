//! Blobs of an image that are not in the store any more, or never were: fetched again from where
//! the image came from.
//!
//! A pull remembers its source in labels of the image's target. Whoever gave credentials to a
//! command gave them for another registry than this one, so that they are not used here.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::record::{self, Blob};
use super::share::Share;
use super::{Context, Limits, Observer, PullError, blob, labels};
use crate::leases::{Leases, Resource};
use crate::meta::{ContentRecord, ImageRecord, Labels, MetaError, Namespace};
use crate::oci::Descriptor;
use crate::registry;
use crate::source::Source;
use crate::store::Store;

/// Begins the addresses of registries that were spoken to in a way of their own.
const PLAIN: &str = "http://";
const INSECURE: &str = "insecure://";

/// Makes sure that blobs of an image are in the store: fetches those that are not from where
/// the image came from, and records them.
pub async fn fetch_blobs(
    store: &Arc<Store>,
    namespace: &Namespace,
    image: &ImageRecord,
    wanted: &[Descriptor],
    registry: &registry::Options,
    observer: &Observer,
) -> Result<(), PullError> {
    let share = Share::new(store, namespace);
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    for descriptor in wanted {
        if !seen.insert(&descriptor.digest) {
            continue;
        }
        let is_there = store.content().size(&descriptor.digest)? == Some(descriptor.size);
        if !is_there || !share.may_take(&descriptor.digest)? {
            missing.push(descriptor.clone());
        }
    }
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let leases = Leases::new(store, namespace.clone());
    let digests = missing.iter().map(|blob| &blob.digest);
    let lease = leases.hold("fetch", digests.map(Resource::content).collect())?;
    let mut failure = PullError::NoSource {
        image: image.name.clone(),
        digest: first.digest.clone(),
    };
    for source in sources(store, namespace, image, registry)? {
        let context = Arc::new(Context {
            store: Arc::clone(store),
            source: Arc::new(source),
            share: Share::new(store, namespace),
            observer: observer.clone(),
            limits: Limits::default().into(),
        });
        match fetch(&context, namespace, &missing).await {
            Ok(()) => return Ok(lease.end()?),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn fetch(
    context: &Arc<Context>,
    namespace: &Namespace,
    missing: &[Descriptor],
) -> Result<(), PullError> {
    let mut tasks = JoinSet::new();
    for descriptor in missing {
        let (context, descriptor) = (Arc::clone(context), descriptor.clone());
        tasks.spawn(async move { blob::bring(&context, &descriptor).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    context.store.content().sync()?;
    context.store.meta().write(|transaction| {
        for Descriptor { digest, size, .. } in missing.iter().cloned() {
            let blob = Blob {
                digest,
                size,
                labels: Labels::new(),
            };
            record::put(transaction, namespace, blob, Some(&context.source))?;
        }
        Ok(())
    })
}

/// Returns the sources that an image is known to have come from, best first.
fn sources(
    store: &Store,
    namespace: &Namespace,
    image: &ImageRecord,
    registry: &registry::Options,
) -> Result<Vec<Source>, PullError> {
    let name = image.target.digest.to_string();
    let record: Option<ContentRecord> = store
        .meta()
        .read(|transaction| transaction.find(namespace, &name))
        .map_err(|error: MetaError| error)?;
    let known = record.map(|record| record.labels).unwrap_or_default();
    let mut sources = Vec::new();
    for key in [labels::REGISTRY_SOURCE, labels::LOCAL_SOURCE] {
        let Some(address) = known.get(key) else {
            continue;
        };
        let (plain_http, rest) = strip(address, PLAIN);
        let (insecure, rest) = strip(rest, INSECURE);
        let options = registry::Options {
            plain_http,
            insecure,
            push: false,
            credentials: None,
            ..registry.clone()
        };
        match Source::parse(rest, &options) {
            Ok(source) => sources.push(source),
            // An archive that was moved away, say; there may be another source.
            Err(error) => tracing::debug!(address, %error, "not a source any more"),
        }
    }
    Ok(sources)
}

fn strip<'a>(text: &'a str, prefix: &str) -> (bool, &'a str) {
    match text.strip_prefix(prefix) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

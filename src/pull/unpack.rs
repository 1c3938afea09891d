//! Layers of an image that is in the store: unpacked when they are missing or a crash has
//! damaged them, from blobs that are fetched again if need be.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::demand::fetch_blobs;
use super::supply::{Supply, SupplyReader};
use super::{Limits, Observer, Part, PullError, pipeline, record, stack};
use crate::images::Contents;
use crate::layers::LayerError;
use crate::leases::{HeldLease, Leases, Resource};
use crate::meta::{ImageRecord, MetaError, Namespace, SnapshotRecord};
use crate::oci::{Descriptor, DiffId};
use crate::registry;
use crate::store::Store;

/// What is unpacked, and how its source is reached.
#[derive(Debug)]
pub struct Unpack<'a> {
    /// The image.
    pub image: &'a ImageRecord,
    /// Its documents for one platform.
    pub contents: &'a Contents,
    /// The key space of the records.
    pub namespace: &'a Namespace,
    /// How a registry is talked to, apart from credentials.
    pub registry: &'a registry::Options,
    /// Who is told how far it is.
    pub observer: Observer,
}

/// Makes sure that the layers of an image can be used, and that its snapshots are recorded.
pub async fn unpack(store: &Arc<Store>, work: &Unpack<'_>) -> Result<(), PullError> {
    if mend(store, work).await? {
        return Ok(());
    }
    let Some(chain_id) = work.contents.chain_id() else {
        return Ok(());
    };
    let name = chain_id.to_string();
    let found: Option<SnapshotRecord> = store
        .meta()
        .read(|transaction| transaction.find(work.namespace, &name))
        .map_err(|error: MetaError| error)?;
    match found {
        Some(_) => Ok(()),
        None => finish(store, work, lease(store, work)?),
    }
}

/// Makes sure that the layers of an image can be used. Those that are missing or damaged are
/// unpacked from their blobs, and recorded; returns whether there were any.
pub async fn mend(store: &Arc<Store>, work: &Unpack<'_>) -> Result<bool, PullError> {
    let Contents {
        manifest, config, ..
    } = work.contents;
    let mut missing: Vec<(Descriptor, DiffId)> = Vec::new();
    for (descriptor, diff_id) in manifest.layers.iter().zip(config.diff_ids()) {
        let is_known = missing.iter().any(|(_, known)| known == diff_id);
        if !is_known && !store.layers().prove(diff_id)? {
            missing.push((descriptor.clone(), diff_id.clone()));
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    let lease = lease(store, work)?;
    let blobs: Vec<Descriptor> = missing.iter().map(|(blob, _)| blob.clone()).collect();
    let fetched = fetch_blobs(
        store,
        work.namespace,
        work.image,
        &blobs,
        work.registry,
        &work.observer,
    );
    match fetched.await {
        Err(PullError::NoSource { digest, .. }) => {
            let lost = missing.into_iter().find(|(blob, _)| blob.digest == digest);
            let lost = lost.map(|(_, diff_id)| LayerError::Unusable(diff_id));
            return Err(lost.map_or_else(
                || PullError::NoSource {
                    image: work.image.name.clone(),
                    digest,
                },
                PullError::from,
            ));
        }
        result => result?,
    }
    let permits = Arc::new(Semaphore::new(Limits::default().unpacks));
    let mut tasks = JoinSet::new();
    for (descriptor, diff_id) in missing {
        let (store, permits) = (Arc::clone(store), Arc::clone(&permits));
        let observer = work.observer.clone();
        tasks.spawn(async move {
            // The semaphore is never closed, so that there is always a permit to come.
            let _permit = permits.acquire_owned().await.ok();
            let _lock = store.layers().lock(&diff_id).await?;
            let again = Arc::clone(&store);
            let work = move || make(&again, &descriptor, &diff_id, observer);
            tokio::task::spawn_blocking(work).await?
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    finish(store, work, lease)?;
    Ok(true)
}

fn make(
    store: &Store,
    descriptor: &Descriptor,
    diff_id: &DiffId,
    observer: Observer,
) -> Result<(), PullError> {
    // Another process may have been faster.
    if store.layers().prove(diff_id)? {
        return Ok(());
    }
    let supply = Supply::blob(store.content().open(&descriptor.digest)?, descriptor);
    let supply = SupplyReader::new(supply, descriptor, observer);
    pipeline::run(supply, store.layers().unpack(diff_id)?, &descriptor.digest)
}

/// Puts the layers and blobs of an image under a lease.
fn lease(store: &Store, work: &Unpack<'_>) -> Result<HeldLease, PullError> {
    let Contents {
        manifest, config, ..
    } = work.contents;
    let blobs = manifest.layers.iter().map(|blob| &blob.digest);
    let layers = config.diff_ids().iter().map(Resource::layer);
    let resources = blobs.map(Resource::content).chain(layers).collect();
    Ok(Leases::new(store, work.namespace.clone()).hold("unpack", resources)?)
}

fn finish(store: &Store, work: &Unpack<'_>, lease: HeldLease) -> Result<(), PullError> {
    store.layers().sync()?;
    stack(store, &work.contents.config)?;
    record::unpacked(store, work.namespace, &Part::of(work.contents), lease)?;
    store.layers().settle()?;
    Ok(())
}

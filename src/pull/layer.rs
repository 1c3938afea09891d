//! One layer's way into the store.

use bytes::Bytes;
use tokio::sync::mpsc::{Sender, channel};

use super::pipeline::{self, is_stale};
use super::supply::{Supply, SupplyReader};
use super::{Context, PullError, State};
use crate::oci::{Descriptor, DiffId};

/// Pieces of the network's that may wait for the pipeline.
pub(super) const PIECES: usize = 16;

/// How a try has begun: from nothing, or from bytes of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Fresh,
    Blob,
    Resumed,
}

/// Brings a layer into the store, unless it is there; waits for another process that
/// is at it.
pub(super) async fn bring(
    context: &Context,
    descriptor: &Descriptor,
    diff_id: &DiffId,
) -> Result<(), PullError> {
    // The semaphore is never closed, so that there is always a permit to come.
    let _permit = context.limits.unpacks.acquire().await.ok();
    let layers = context.store.layers();
    let _lock = layers.lock(diff_id).await?;
    let (store, wanted) = (layers.clone(), diff_id.clone());
    let is_proved = tokio::task::spawn_blocking(move || store.prove_index(&wanted)).await??;
    if is_proved && context.share.may_take(&descriptor.digest)? {
        context.observer.tell(&descriptor.digest, State::Exists);
        return Ok(());
    }
    loop {
        match attempt(context, descriptor, diff_id).await? {
            // What an earlier try or a crash has left was wrong, and was thrown away.
            (Start::Blob, Err(error)) if is_stale(&error) => {
                tracing::warn!(blob = %descriptor.digest, %error, "fetching anew");
                context.store.content().remove(&descriptor.digest)?;
            }
            (Start::Resumed, Err(error)) if is_stale(&error) => {
                tracing::warn!(blob = %descriptor.digest, %error, "fetching anew");
            }
            // A mirror is wrong: the next host may be right.
            (Start::Fresh, Err(error))
                if is_stale(&error) && context.source.distrust(&descriptor.digest) =>
            {
                tracing::warn!(blob = %descriptor.digest, %error, "asking another host");
            }
            (_, result) => break result?,
        }
    }
    context.share.brought(&descriptor.digest);
    context.observer.tell(&descriptor.digest, State::Done);
    Ok(())
}

/// Fetches what is missing of the blob and unpacks it.
async fn attempt(
    context: &Context,
    descriptor: &Descriptor,
    diff_id: &DiffId,
) -> Result<(Start, Result<(), PullError>), PullError> {
    let blobs = context.store.content();
    let unpacking = context.store.layers().unpack(diff_id)?;
    let ingest = blobs.ingest(descriptor).await?;
    let is_there = blobs.size(&descriptor.digest)? == Some(descriptor.size)
        && context.share.may_take(&descriptor.digest)?;
    let (sender, network) = channel(PIECES);
    let offset = ingest.resumed();
    let (start, supply) = if is_there {
        ingest.discard()?;
        (
            Start::Blob,
            Supply::blob(blobs.open(&descriptor.digest)?, descriptor),
        )
    } else {
        let start = if offset > 0 {
            Start::Resumed
        } else {
            Start::Fresh
        };
        (start, Supply::Ingest { ingest, network })
    };
    let supply = SupplyReader::new(supply, descriptor, context.observer.clone());
    let digest = descriptor.digest.clone();
    let pipeline = tokio::task::spawn_blocking(move || pipeline::run(supply, unpacking, &digest));
    let fed = match start {
        Start::Blob => Ok(()),
        Start::Fresh | Start::Resumed => feed(context, descriptor, offset, sender).await,
    };
    let unpacked = pipeline.await?;
    Ok((start, fed.and(unpacked)))
}

/// Passes the blob's bytes on as they come, until the pipeline wants no more.
///
/// Nobody waits for a lock in here, so that the permits to download always come.
pub(super) async fn feed(
    context: &Context,
    descriptor: &Descriptor,
    offset: u64,
    sender: Sender<Bytes>,
) -> Result<(), PullError> {
    if offset >= descriptor.size {
        return Ok(());
    }
    let _permit = context.limits.downloads.acquire().await.ok();
    let mut blob = context.source.fetch(descriptor, offset).await?;
    while let Some(bytes) = blob.next().await? {
        if !bytes.is_empty() && sender.send(bytes).await.is_err() {
            break;
        }
    }
    Ok(())
}

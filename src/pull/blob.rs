//! One blob's way into the store, for those that are not unpacked on the way.

use tokio::sync::mpsc::channel;

use super::layer::{self, PIECES};
use super::pipeline::is_stale;
use super::supply::{Supply, SupplyReader};
use super::{Context, PullError, State};
use crate::oci::Descriptor;

/// Brings a blob into the store, unless it is there; waits for another process that is at it.
pub(super) async fn bring(context: &Context, descriptor: &Descriptor) -> Result<(), PullError> {
    let blobs = context.store.content();
    let digest = &descriptor.digest;
    loop {
        let ingest = blobs.ingest(descriptor).await?;
        if blobs.size(digest)? == Some(descriptor.size) && context.share.may_take(digest)? {
            ingest.discard()?;
            context.observer.tell(digest, State::Exists);
            return Ok(());
        }
        let offset = ingest.resumed();
        let (sender, network) = channel(PIECES);
        let supply = Supply::Ingest { ingest, network };
        let supply = SupplyReader::new(supply, descriptor, context.observer.clone());
        let stored = tokio::task::spawn_blocking(move || supply.finish());
        let fed = layer::feed(context, descriptor, offset, sender).await;
        let stored = stored.await?.map_err(PullError::from);
        match fed.and(stored) {
            // What an earlier try has left, or a mirror has sent, was wrong.
            Err(error) if is_stale(&error) && (offset > 0 || context.source.distrust(digest)) => {
                tracing::warn!(blob = %digest, %error, "fetching anew");
            }
            result => {
                result?;
                context.share.brought(digest);
                context.observer.tell(digest, State::Done);
                return Ok(());
            }
        }
    }
}

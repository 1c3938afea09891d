//! Layers that a crash has damaged, made anew from what the store has.

use std::sync::Arc;

use super::supply::{Supply, SupplyReader};
use super::{Observer, PullError, pipeline};
use crate::images::Contents;
use crate::layers::LayerError;
use crate::oci::{Descriptor, DiffId};
use crate::store::Store;

/// Makes sure that the layers of an image can be used. Those that are missing or
/// damaged are unpacked from their blobs; one whose blob is not there either is
/// [`LayerError::Unusable`].
pub async fn mend(store: &Arc<Store>, contents: &Contents) -> Result<(), PullError> {
    let layers = contents.manifest.layers.iter();
    for (descriptor, diff_id) in layers.zip(contents.config.diff_ids()) {
        if store.layers().prove(diff_id)? {
            continue;
        }
        let _lock = store.layers().lock(diff_id).await?;
        let (store, descriptor, diff_id) = (Arc::clone(store), descriptor.clone(), diff_id.clone());
        tokio::task::spawn_blocking(move || unpack(&store, &descriptor, &diff_id)).await??;
    }
    Ok(())
}

fn unpack(store: &Store, descriptor: &Descriptor, diff_id: &DiffId) -> Result<(), PullError> {
    // Another process may have been faster.
    if store.layers().prove(diff_id)? {
        return Ok(());
    }
    let content = store.content();
    if content.size(&descriptor.digest)? != Some(descriptor.size) {
        return Err(LayerError::Unusable(diff_id.clone()).into());
    }
    let supply = Supply::blob(content.open(&descriptor.digest)?, descriptor);
    let supply = SupplyReader::new(supply, descriptor, Observer::new(|_, _| {}));
    pipeline::run(supply, store.layers().unpack(diff_id)?, &descriptor.digest)
}

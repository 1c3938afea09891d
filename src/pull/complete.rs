//! Whether a pull has anything to do: an image that is all there and recorded as it would be
//! costs one transaction, and no lease, since its own record keeps it.

use super::{Context, Plan, PullError, PullOptions, labels, record};
use crate::meta::{ContentRecord, ImageRecord, MetaError, SnapshotRecord};
use crate::oci::Descriptor;

/// Says whether everything of a plan is in the store and in the records. Then the image is
/// recorded anew, and that is told, as by containerd.
pub(super) fn renew(
    context: &Context,
    plan: &Plan,
    options: &PullOptions,
) -> Result<bool, PullError> {
    let is_wanted = plan.fetched.is_empty() && plan.lost.is_empty() && !options.discard;
    if !is_wanted || !is_stored(context, plan)? {
        return Ok(false);
    }
    let mut present = Vec::new();
    for (digest, labels) in labels::of_plan(context, plan) {
        if context.store.content().size(&digest)?.is_some() {
            present.push((digest.to_string(), labels));
        }
    }
    let namespace = &options.namespace;
    let parts = plan.parts.iter().filter(|part| part.is_unpacked);
    let chains: Vec<String> = parts
        .filter_map(|part| part.config.chain().pop())
        .map(|chain_id| chain_id.to_string())
        .collect();
    let recorded = context.store.meta().write(|transaction| {
        let image: Option<ImageRecord> = transaction.find(namespace, &options.name)?;
        let is_same = image
            .is_some_and(|image| image.target == plan.target && image.labels == plan.image_labels);
        if !is_same {
            return Ok(false);
        }
        for (name, wanted) in present {
            let Some(record) = transaction.find::<ContentRecord>(namespace, &name)? else {
                return Ok(false);
            };
            let source = labels::of_repository(&context.source, &record.labels);
            let mut wanted = wanted.into_iter().chain(source);
            if !wanted.all(|(key, value)| record.labels.get(&key) == Some(&value)) {
                return Ok(false);
            }
        }
        for name in chains {
            if transaction
                .find::<SnapshotRecord>(namespace, &name)?
                .is_none()
            {
                return Ok(false);
            }
        }
        record::image(transaction, options, plan)?;
        Ok::<_, MetaError>(true)
    })?;
    Ok(recorded)
}

/// Returns the compressed layers that the namespace has by its records and not on the disk.
/// Their unpacked form may be there, so that nobody else would miss them.
pub(super) fn lost(
    context: &Context,
    plan: &Plan,
    options: &PullOptions,
) -> Result<Vec<Descriptor>, PullError> {
    let mut absent: Vec<&Descriptor> = Vec::new();
    for layer in plan.unpacked_layers() {
        let is_known = absent.iter().any(|known| known.digest == layer.digest);
        if !is_known && context.store.content().size(&layer.digest)? != Some(layer.size) {
            absent.push(layer);
        }
    }
    if absent.is_empty() || options.discard {
        return Ok(Vec::new());
    }
    let recorded = context.store.meta().read(|transaction| {
        let mut recorded = Vec::new();
        for layer in absent {
            let name = layer.digest.to_string();
            let record: Option<ContentRecord> = transaction.find(&options.namespace, &name)?;
            recorded.extend(record.map(|_| layer.clone()));
        }
        Ok::<_, MetaError>(recorded)
    })?;
    Ok(recorded)
}

/// Says whether the layers that are to be unpacked can be used, and other blobs are there.
fn is_stored(context: &Context, plan: &Plan) -> Result<bool, PullError> {
    let mut layers = Vec::new();
    for part in plan.parts.iter().filter(|part| part.is_unpacked) {
        layers.extend(part.manifest.layers.iter().map(|layer| &layer.digest));
        for diff_id in part.config.diff_ids() {
            if !context.store.layers().prove_index(diff_id)? {
                return Ok(false);
            }
        }
    }
    for blob in plan.blobs().filter(|blob| !layers.contains(&&blob.digest)) {
        if context.store.content().size(&blob.digest)? != Some(blob.size) {
            return Ok(false);
        }
    }
    Ok(true)
}

//! The last step: all records of a pull in one transaction.

use super::share::Share;
use super::{Context, Part, Plan, PullError, PullOptions, labels};
use crate::leases::HeldLease;
use crate::meta::{ContentRecord, Labels, MetaError, Namespace, Transaction};
use crate::oci::Digest;
use crate::snapshots;
use crate::source::Source;
use crate::store::Store;
use crate::{content, images};

/// Records an image with its blobs and snapshots; returns the blobs that are given up.
pub(super) fn commit(
    context: &Context,
    plan: &Plan,
    options: &PullOptions,
    lease: HeldLease,
) -> Result<Vec<Digest>, PullError> {
    let mut present = Vec::new();
    for (digest, labels) in labels::of_plan(context, plan) {
        // The blob of a layer that was there already was not fetched.
        if let Some(size) = context.store.content().size(&digest)?
            && context.share.may_take(&digest)?
        {
            present.push((digest, size, labels));
        }
    }
    let namespace = &options.namespace;
    // In one transaction: what the lease has kept is never without a keeper.
    lease.end_with(|transaction| {
        for (digest, size, labels) in present {
            let blob = Blob {
                digest,
                size,
                labels,
            };
            put(transaction, namespace, blob, Some(&context.source))?;
        }
        for part in plan.parts.iter().filter(|part| part.is_unpacked) {
            snapshots::commit_chain(transaction, namespace, part.config.diff_ids())?;
        }
        image(transaction, options, plan)?;
        if options.discard {
            return Ok(give_up(transaction, namespace, plan)?);
        }
        Ok(Vec::new())
    })
}

/// Records an image, whether or not there is one of its name.
pub(super) fn image(
    transaction: &Transaction,
    options: &PullOptions,
    plan: &Plan,
) -> Result<(), MetaError> {
    let namespace = &options.namespace;
    let mut image = images::record(transaction, namespace, &options.name, &plan.target)?;
    if !plan.image_labels.is_empty() {
        image.labels.extend(plan.image_labels.clone());
        transaction.put(namespace, &options.name, &image)?;
    }
    Ok(())
}

/// Records what has become of an image that was unpacked after its pull.
pub(super) fn unpacked(
    store: &Store,
    namespace: &Namespace,
    part: &Part,
    lease: HeldLease,
) -> Result<(), PullError> {
    let mut present = Vec::new();
    let share = Share::new(store, namespace);
    for (digest, labels) in labels::of_unpacked(part) {
        if let Some(size) = store.content().size(&digest)?
            && share.may_take(&digest)?
        {
            present.push(Blob {
                digest,
                size,
                labels,
            });
        }
    }
    lease.end_with(|transaction| {
        for blob in present {
            put(transaction, namespace, blob, None)?;
        }
        snapshots::commit_chain(transaction, namespace, part.config.diff_ids())?;
        Ok(())
    })
}

/// A blob that is to be recorded.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) labels: Labels,
}

/// Records a blob, or adds labels to its record.
pub(super) fn put(
    transaction: &Transaction,
    namespace: &Namespace,
    blob: Blob,
    source: Option<&Source>,
) -> Result<(), MetaError> {
    let mut all = blob.labels;
    if let Some(source) = source {
        let old: Option<ContentRecord> = transaction.find(namespace, &blob.digest.to_string())?;
        let old = old.map(|old| old.labels).unwrap_or_default();
        all.extend(labels::of_repository(source, &old));
    }
    content::record(transaction, namespace, blob.digest, blob.size, all)
}

/// Forgets the compressed layers of what was unpacked, as far as no other document refers to
/// them.
fn give_up(
    transaction: &Transaction,
    namespace: &Namespace,
    plan: &Plan,
) -> Result<Vec<Digest>, MetaError> {
    let own: Vec<&Digest> = plan.documents.iter().map(|(d, _)| &d.digest).collect();
    let others = transaction.list::<ContentRecord>(namespace)?;
    let others = others
        .iter()
        .filter(|record| !own.contains(&&record.digest));
    let needed: Vec<&String> = others.flat_map(|record| record.labels.values()).collect();
    let mut given_up = Vec::new();
    for part in plan.parts.iter().filter(|part| part.is_unpacked) {
        for layer in &part.manifest.layers {
            let name = layer.digest.to_string();
            if !needed.contains(&&name) && !given_up.contains(&layer.digest) {
                transaction.remove::<ContentRecord>(namespace, &name)?;
                given_up.push(layer.digest.clone());
            }
        }
    }
    Ok(given_up)
}

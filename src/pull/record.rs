//! The last step: all records of a pull in one transaction.
//!
//! Labels are those that containerd sets, so that its tools understand what refers
//! to what.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Context, Plan, PullError, PullOptions};
use crate::images;
use crate::leases::HeldLease;
use crate::meta::{ContentRecord, Labels, MetaError, Namespace, Transaction};
use crate::oci::{Digest, Document};
use crate::snapshots;

pub(super) fn commit(
    context: &Context,
    plan: &Plan,
    options: &PullOptions,
    lease: HeldLease,
) -> Result<(), PullError> {
    let mut present = Vec::new();
    for (digest, labels) in labels(plan)? {
        // The blob of a layer that was there already was not fetched.
        if let Some(size) = context.store.content().size(&digest)? {
            present.push((digest, size, labels));
        }
    }
    let namespace = &options.namespace;
    // In one transaction: what the lease has kept is never without a keeper.
    lease.end_with(|transaction| {
        for (digest, size, labels) in present {
            put(transaction, namespace, digest, size, labels)?;
        }
        snapshots::commit_chain(transaction, namespace, plan.config.diff_ids())?;
        images::record(transaction, namespace, &options.name, &plan.target)?;
        Ok(())
    })
}

/// Returns all blobs of the image with their labels.
fn labels(plan: &Plan) -> Result<BTreeMap<Digest, Labels>, PullError> {
    let mut all: BTreeMap<Digest, Labels> = BTreeMap::new();
    let mut set = |digest: &Digest, key: String, value: String| {
        all.entry(digest.clone()).or_default().insert(key, value);
    };
    for (descriptor, bytes) in &plan.documents {
        if let Document::Index(index) = Document::parse(descriptor, bytes)? {
            for (number, child) in index.manifests.iter().enumerate() {
                let key = format!("containerd.io/gc.ref.content.m.{number}");
                set(&descriptor.digest, key, child.digest.to_string());
            }
        }
    }
    let config = &plan.manifest.config.digest;
    set(
        &plan.manifest_digest,
        "containerd.io/gc.ref.content.config".into(),
        config.to_string(),
    );
    for (number, layer) in plan.manifest.layers.iter().enumerate() {
        let key = format!("containerd.io/gc.ref.content.l.{number}");
        set(&plan.manifest_digest, key, layer.digest.to_string());
    }
    for (layer, diff_id) in plan.manifest.layers.iter().zip(plan.config.diff_ids()) {
        set(
            &layer.digest,
            "containerd.io/uncompressed".into(),
            diff_id.to_string(),
        );
    }
    if let Some(chain_id) = plan.config.chain().pop() {
        set(
            config,
            "containerd.io/gc.ref.snapshot.mica".into(),
            chain_id.to_string(),
        );
    }
    for digest in plan
        .documents
        .iter()
        .map(|(d, _)| &d.digest)
        .chain([config])
    {
        all.entry(digest.clone()).or_default();
    }
    Ok(all)
}

/// Records a blob, or adds labels to its record.
fn put(
    transaction: &Transaction,
    namespace: &Namespace,
    digest: Digest,
    size: u64,
    labels: Labels,
) -> Result<(), MetaError> {
    let now = Timestamp::now();
    let name = digest.to_string();
    let old: Option<ContentRecord> = transaction.find(namespace, &name)?;
    let (created, mut all) = old.map_or((now, Labels::new()), |old| (old.created, old.labels));
    all.extend(labels);
    let record = ContentRecord {
        digest,
        size,
        labels: all,
        created,
        updated: now,
    };
    transaction.put(namespace, &name, &record)
}

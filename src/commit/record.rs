//! The last step: all records of a commit in one transaction.
//!
//! Labels are those that a pull of the same image would set.

use std::collections::BTreeMap;

use super::{CommitError, CommitOptions, Documents, NewLayer};
use crate::content;
use crate::images;
use crate::leases::HeldLease;
use crate::meta::Labels;
use crate::oci::Digest;
use crate::snapshots;
use crate::store::Store;

pub(super) fn commit(
    store: &Store,
    documents: &Documents,
    layers: &[NewLayer],
    options: &CommitOptions,
    lease: HeldLease,
) -> Result<(), CommitError> {
    let namespace = &options.namespace;
    let mut blobs = Vec::new();
    for (digest, labels) in labels(documents, layers) {
        let size = store.content().size(&digest)?;
        let size = size.ok_or_else(|| content::ContentError::NotFound(digest.clone()))?;
        blobs.push((digest, size, labels));
    }
    // In one transaction: what the lease has kept is never without a keeper.
    lease.end_with(|transaction| {
        for (digest, size, labels) in blobs {
            content::record(transaction, namespace, digest, size, labels)?;
        }
        snapshots::commit_chain(transaction, namespace, documents.config.diff_ids())?;
        let name = options.name.to_string();
        images::record(transaction, namespace, &name, &documents.target)?;
        Ok(())
    })
}

/// Returns the new blobs with their labels.
fn labels(documents: &Documents, layers: &[NewLayer]) -> BTreeMap<Digest, Labels> {
    let config = &documents.manifest.config.digest;
    let mut of_manifest = Labels::from([(
        "containerd.io/gc.ref.content.config".to_owned(),
        config.to_string(),
    )]);
    for (number, layer) in documents.manifest.layers.iter().enumerate() {
        let key = format!("containerd.io/gc.ref.content.l.{number}");
        of_manifest.insert(key, layer.digest.to_string());
    }
    let chain_id = documents.config.chain().pop();
    let of_config = chain_id.map(|chain_id| {
        let key = "containerd.io/gc.ref.snapshot.mica".to_owned();
        (key, chain_id.to_string())
    });
    let mut all = BTreeMap::from([
        (documents.target.digest.clone(), of_manifest),
        (config.clone(), of_config.into_iter().collect()),
    ]);
    for layer in layers {
        let label = (
            "containerd.io/uncompressed".to_owned(),
            layer.diff_id.to_string(),
        );
        all.insert(layer.descriptor.digest.clone(), Labels::from([label]));
    }
    all
}

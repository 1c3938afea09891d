//! The labels of snapshots that an older release has made.
//!
//! There every snapshot that a user had made stayed until it was removed by name. The
//! label `containerd.io/gc.root` says the same.

use jiff::Timestamp;

use super::error::GcError;
use crate::labels;
use crate::meta::{AllRecords, Kind, SnapshotRecord};
use crate::store::Store;

/// Labels the snapshots that users have made.
pub(super) fn label(records: &mut AllRecords) {
    let now = Timestamp::now().to_string();
    for (_, records) in &mut records.namespaces {
        for snapshot in records.snapshots.iter_mut().filter(|s| is_users(s)) {
            let label = snapshot.labels.entry(labels::ROOT.to_owned());
            label.or_insert_with(|| now.clone());
        }
    }
}

/// Stores the labels, unless records have changed since they were read.
pub(super) fn store(store: &Store, records: &AllRecords) -> Result<(), GcError> {
    store.meta().write(|transaction| {
        if transaction.commits()? != records.commits {
            return Ok(());
        }
        for (namespace, records) in &records.namespaces {
            for snapshot in records.snapshots.iter().filter(|s| is_users(s)) {
                transaction.put(namespace, &snapshot.name, snapshot)?;
            }
        }
        Ok(transaction.set_labelled_roots()?)
    })
}

fn is_users(snapshot: &SnapshotRecord) -> bool {
    // Only commit and packing set a usage.
    snapshot.kind != Kind::Committed || snapshot.id.is_some() || snapshot.usage.is_some()
}

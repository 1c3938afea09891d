//! Chains: which snapshots stand on which.

use jiff::Timestamp;

use super::{SNAPSHOTTER, SnapshotError, TARGET};
use crate::events::Event;
use crate::meta::{Kind, Labels, MetaError, Namespace, SnapshotRecord, Transaction};
use crate::oci::{ChainId, DiffId};

/// How many snapshots may stand on top of each other.
const MAX_DEPTH: usize = 4096;

/// Records a committed snapshot for every layer of a chain that has none yet.
pub(crate) fn commit_chain(
    transaction: &Transaction,
    namespace: &Namespace,
    diff_ids: &[DiffId],
) -> Result<(), MetaError> {
    let now = Timestamp::now();
    let mut parent: Option<String> = None;
    for (chain_id, diff_id) in ChainId::chain(diff_ids).iter().zip(diff_ids) {
        let name = chain_id.to_string();
        if transaction
            .find::<SnapshotRecord>(namespace, &name)?
            .is_none()
        {
            let label = (TARGET.to_owned(), name.clone());
            let record = SnapshotRecord {
                name: name.clone(),
                kind: Kind::Committed,
                parent,
                layer: Some(diff_id.clone()),
                id: None,
                usage: None,
                labels: Labels::from([label]),
                created: now,
                updated: now,
            };
            transaction.put(namespace, &name, &record)?;
            transaction.publish(
                namespace,
                Event::SnapshotCommit {
                    // It was never active.
                    key: name.clone(),
                    name: name.clone(),
                    snapshotter: SNAPSHOTTER.to_owned(),
                },
            );
        }
        parent = Some(name);
    }
    Ok(())
}

/// Returns a snapshot and its ancestors, uppermost first.
pub(super) fn ancestry(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
) -> Result<Vec<SnapshotRecord>, SnapshotError> {
    let mut chain = vec![find(transaction, namespace, name)?];
    while let Some(SnapshotRecord {
        name: child,
        parent: Some(parent),
        ..
    }) = chain.last()
    {
        if chain.len() >= MAX_DEPTH {
            return Err(SnapshotError::TooDeep(name.to_owned()));
        }
        let missing = || SnapshotError::Orphan {
            name: child.clone(),
            parent: parent.clone(),
        };
        let next = transaction.find(namespace, parent)?.ok_or_else(missing)?;
        chain.push(next);
    }
    Ok(chain)
}

/// Returns the record of a snapshot.
pub(super) fn find(
    transaction: &Transaction,
    namespace: &Namespace,
    name: &str,
) -> Result<SnapshotRecord, SnapshotError> {
    if name.is_empty() {
        return Err(SnapshotError::NotFound(String::new()));
    }
    transaction
        .find(namespace, name)?
        .ok_or_else(|| SnapshotError::NotFound(name.to_owned()))
}

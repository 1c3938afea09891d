//! Committed snapshots: chains of layers under the names of their chain IDs.
//!
//! A snapshot of a pulled image has no files of its own: it names a layer of the
//! layer store and the snapshot below. Names, kinds and errors are containerd's.

use jiff::Timestamp;
use thiserror::Error;

use crate::meta::{Kind, Labels, Meta, MetaError, Namespace, SnapshotRecord, Transaction};
use crate::oci::{ChainId, DiffId};

/// How many snapshots may stand on top of each other.
const MAX_DEPTH: usize = 4096;

/// Why a snapshot could not be found or used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// There is no snapshot of this name.
    #[error("snapshot {0:?} does not exist")]
    NotFound(String),
    /// A snapshot names a parent that is not there.
    #[error("parent {parent:?} of snapshot {name:?} does not exist")]
    Parent {
        /// The snapshot.
        name: String,
        /// The parent that it names.
        parent: String,
    },
    /// Parents form a ring, or a chain longer than any image's.
    #[error("snapshot {0:?} has too many ancestors")]
    TooDeep(String),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// The snapshots of one namespace.
#[derive(Debug, Clone)]
pub struct Snapshots {
    meta: Meta,
    namespace: Namespace,
}

impl Snapshots {
    /// Returns the snapshots that have records in `meta`.
    pub fn new(meta: Meta, namespace: Namespace) -> Self {
        Self { meta, namespace }
    }

    /// Lists all snapshots, sorted by name.
    pub fn list(&self) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        self.meta
            .read(|transaction| Ok(transaction.list(&self.namespace)?))
    }

    /// Returns one snapshot.
    pub fn info(&self, name: &str) -> Result<SnapshotRecord, SnapshotError> {
        self.meta
            .read(|transaction| find(transaction, &self.namespace, name))
    }

    /// Returns the layers of a snapshot and its ancestors, uppermost first.
    pub fn layers(&self, name: &str) -> Result<Vec<DiffId>, SnapshotError> {
        let chain = self
            .meta
            .read(|transaction| ancestry(transaction, &self.namespace, name))?;
        Ok(chain
            .into_iter()
            .filter_map(|snapshot| snapshot.layer)
            .collect())
    }
}

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
            let label = ("containerd.io/snapshot.ref".to_owned(), name.clone());
            let record = SnapshotRecord {
                name: name.clone(),
                kind: Kind::Committed,
                parent,
                layer: Some(diff_id.clone()),
                labels: Labels::from([label]),
                created: now,
                updated: now,
            };
            transaction.put(namespace, &name, &record)?;
        }
        parent = Some(name);
    }
    Ok(())
}

/// Returns a snapshot and its ancestors, uppermost first.
pub(crate) fn ancestry(
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
        let missing = || SnapshotError::Parent {
            name: child.clone(),
            parent: parent.clone(),
        };
        let next = transaction.find(namespace, parent)?.ok_or_else(missing)?;
        chain.push(next);
    }
    Ok(chain)
}

fn find(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::store::Store;

    #[test]
    fn a_chain_is_recorded_once_and_walked_from_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let namespace = Namespace::default();
        let diff_ids: Vec<DiffId> = [b"a", b"b", b"c"].map(|t| DiffId(Digest::sha256(t))).into();
        for count in [2, 3, 3] {
            let part = diff_ids.get(..count).unwrap();
            store
                .meta()
                .write(|t| commit_chain(t, &namespace, part))
                .unwrap();
        }
        let snapshots = Snapshots::new(store.meta(), namespace);
        let list = snapshots.list().unwrap();
        assert_eq!(list.len(), 3);
        let top = ChainId::chain(&diff_ids).pop().unwrap().to_string();
        let mut expected = diff_ids.clone();
        expected.reverse();
        assert_eq!(snapshots.layers(&top).unwrap(), expected);
        assert_eq!(snapshots.info(&top).unwrap().kind, Kind::Committed);
        for name in ["", "nope"] {
            assert!(
                matches!(snapshots.layers(name), Err(SnapshotError::NotFound(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn broken_ancestry_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let namespace = Namespace::default();
        let now = Timestamp::now();
        let put = |name: &str, parent: &str| {
            let record = SnapshotRecord {
                name: name.to_owned(),
                kind: Kind::Committed,
                parent: Some(parent.to_owned()),
                layer: None,
                labels: Labels::new(),
                created: now,
                updated: now,
            };
            store
                .meta()
                .write(|t| t.put(&namespace, name, &record))
                .unwrap();
        };
        put("ring", "ring");
        put("orphan", "nobody");
        let snapshots = Snapshots::new(store.meta(), namespace.clone());
        assert!(matches!(
            snapshots.layers("ring"),
            Err(SnapshotError::TooDeep(_))
        ));
        assert!(matches!(
            snapshots.layers("orphan"),
            Err(SnapshotError::Parent { .. })
        ));
    }
}

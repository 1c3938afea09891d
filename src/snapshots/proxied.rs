//! Snapshots that a containerd keeps here, whose snapshotter this store is.
//!
//! Such a containerd keeps names, leases and labels by itself. It calls a snapshot
//! `NAMESPACE/NUMBER/NAME`, with a number that never comes again, and says in no other way
//! whose it is when it collects garbage. So the namespace is read from the name; what has
//! such a name stays until containerd removes it.

use super::chain::find;
use super::{SnapshotError, Snapshots, TARGET};
use crate::layers::LayerState;
use crate::meta::{Kind, MetaError, Namespace, SnapshotRecord, Transaction};
use crate::oci::{ChainId, DiffId};
use crate::store::Store;

/// Returns the namespace of a snapshot that a containerd keeps here.
pub(crate) fn keeper(name: &str) -> Option<Namespace> {
    let mut parts = name.splitn(3, '/');
    let (namespace, number, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || name.is_empty() {
        return None;
    }
    namespace.parse().ok()
}

/// Lists the snapshots of all namespaces that containerds keep in a store.
pub(crate) fn proxied(store: &Store) -> Result<Vec<SnapshotRecord>, SnapshotError> {
    let mut found = store.meta().read(|transaction| {
        let mut found = Vec::new();
        for namespace in transaction.namespaces()? {
            found.extend(transaction.list::<SnapshotRecord>(&namespace)?);
        }
        Ok::<_, MetaError>(found)
    })?;
    found.retain(|snapshot| keeper(&snapshot.name).is_some());
    Ok(found)
}

impl Snapshots {
    /// Makes the committed snapshot that a prepare is to end in, where the store has the
    /// layer; returns whether it did.
    pub(super) fn make_target(
        &self,
        transaction: &Transaction,
        new: &SnapshotRecord,
    ) -> Result<bool, SnapshotError> {
        let Some(target) = new.labels.get(TARGET) else {
            return Ok(false);
        };
        let parent = new.parent.as_deref();
        if keeper(&new.name).is_some() && self.has_target(transaction, parent, target)? {
            return Ok(true);
        }
        let Some(diff_id) = self.layer_of(transaction, parent, target)? else {
            return Ok(false);
        };
        // A containerd finds it by its label, and gives this name to nothing else.
        let name = match keeper(&new.name) {
            Some(_) => own_name(&new.name, target),
            None => target.clone(),
        };
        let record = SnapshotRecord {
            name: name.clone(),
            kind: Kind::Committed,
            layer: Some(diff_id),
            ..new.clone()
        };
        transaction.put(&self.namespace, &name, &record)?;
        Ok(true)
    }

    /// Returns whether there is what a containerd looks for when a prepare ends in a target.
    fn has_target(
        &self,
        transaction: &Transaction,
        parent: Option<&str>,
        target: &str,
    ) -> Result<bool, SnapshotError> {
        let all = transaction.list_with::<SnapshotRecord>(&self.namespace, target)?;
        Ok(all.iter().any(|snapshot| {
            snapshot.kind == Kind::Committed
                && keeper(&snapshot.name).is_some()
                && snapshot.parent.as_deref() == parent
                && snapshot.labels.get(TARGET).map(String::as_str) == Some(target)
        }))
    }

    /// Returns the layer of the store that makes a chain on the parent's.
    fn layer_of(
        &self,
        transaction: &Transaction,
        parent: Option<&str>,
        target: &str,
    ) -> Result<Option<DiffId>, SnapshotError> {
        let below: Option<ChainId> = match parent {
            None => None,
            Some(parent) => {
                let parent = find(transaction, &self.namespace, parent)?;
                let chain = parent.labels.get(TARGET).unwrap_or(&parent.name);
                match chain.parse() {
                    Ok(chain) => Some(chain),
                    Err(_) => return Ok(None),
                }
            }
        };
        for diff_id in self.layers.list()? {
            let chain = ChainId::on(below.as_ref(), &diff_id);
            if chain.to_string() == target && self.layers.state(&diff_id)? == LayerState::Ready {
                return Ok(Some(diff_id));
            }
        }
        Ok(None)
    }
}

/// Returns the name of a snapshot that is made in answer to a key.
fn own_name(key: &str, target: &str) -> String {
    let mut parts = key.splitn(3, '/');
    let (namespace, number) = (parts.next().unwrap_or(key), parts.next().unwrap_or("0"));
    format!("{namespace}/{number}/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_containerd_gives() {
        let table = [
            ("default/3/sha256:ab", Some("default")),
            ("k8s.io/12/extract-1-x sha256:ab", Some("k8s.io")),
            ("default/3/a/b", Some("default")),
            ("default/3/", None),
            ("default//a", None),
            ("default/x/a", None),
            ("/mnt/3/a", None),
            ("sha256:ab", None),
            ("a b/3/c", None),
        ];
        for (name, expected) in table {
            let namespace = keeper(name);
            let namespace = namespace.as_ref().map(Namespace::as_str);
            assert_eq!(namespace, expected, "{name}");
        }
    }
}

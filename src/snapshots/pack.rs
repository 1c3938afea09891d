//! Snapshots of packed layers that no pull has made: in the place of a directory, or alone.

use jiff::Timestamp;

use super::chain::{commit_chain, find};
use super::{SnapshotError, Snapshots};
use crate::labels;
use crate::meta::{Kind, SnapshotId, SnapshotRecord};
use crate::oci::{ChainId, DiffId};

impl Snapshots {
    /// Makes a committed snapshot refer to a layer of the layer store, which is on the disk,
    /// instead of its directory. Mounts may go on to show the directory; garbage collection removes
    /// it once nobody does.
    pub(crate) fn refer_to_layer(
        &self,
        name: &str,
        id: SnapshotId,
        diff_id: &DiffId,
    ) -> Result<(), SnapshotError> {
        let usage = self.layer_usage(diff_id)?;
        self.meta.write(|transaction| {
            let committed = find(transaction, &self.namespace, name)?;
            if committed.kind != Kind::Committed {
                return Err(SnapshotError::NotCommitted(name.to_owned()));
            }
            if committed.id != Some(id) {
                return Err(SnapshotError::NotFound(name.to_owned()));
            }
            let record = SnapshotRecord {
                layer: Some(diff_id.clone()),
                id: None,
                usage: Some(usage),
                updated: Timestamp::now(),
                ..committed
            };
            Ok(transaction.put(&self.namespace, name, &record)?)
        })
    }

    /// Makes a committed snapshot of one layer of the layer store, which is on the disk. It
    /// has the name that it would have as the first layer of an image, and stays when no
    /// image has it.
    pub(crate) fn commit_layer(&self, diff_id: &DiffId) -> Result<(), SnapshotError> {
        let usage = self.layer_usage(diff_id)?;
        let chain = std::slice::from_ref(diff_id);
        self.meta.write(|transaction| {
            commit_chain(transaction, &self.namespace, chain)?;
            for name in ChainId::chain(chain) {
                let name = name.to_string();
                let found = find(transaction, &self.namespace, &name)?;
                let mut record = SnapshotRecord {
                    usage: Some(usage),
                    updated: Timestamp::now(),
                    ..found
                };
                // A user has asked for it: no image keeps it.
                let root = record.labels.entry(labels::ROOT.to_owned());
                root.or_insert_with(|| Timestamp::now().to_string());
                transaction.put(&self.namespace, &name, &record)?;
            }
            Ok(())
        })
    }
}

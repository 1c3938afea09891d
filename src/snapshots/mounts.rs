//! What a snapshot shows: layers, and the directory that takes changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Hold, SnapshotError, Snapshots};
use crate::layers::LayerPlan;
use crate::meta::{Kind, Namespace, SnapshotId, SnapshotRecord};
use crate::oci::DiffId;

/// What a mount of a snapshot is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotMounts {
    /// The layers, uppermost first.
    pub layers: Vec<LayerPlan>,
    /// Where changes go; `None` where nothing can be changed.
    pub upper: Option<SnapshotUpper>,
    /// Snapshots that must stay as they are while the layers are shown.
    pub uses: Vec<SnapshotUse>,
}

/// The directories of an active snapshot, in overlayfs on-disk form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotUpper {
    /// The upper.
    #[serde(with = "crate::json_path")]
    pub fs: PathBuf,
    /// The work directory.
    #[serde(with = "crate::json_path")]
    pub work: PathBuf,
    /// The snapshot, which one mount at a time may write to.
    #[serde(flatten)]
    pub owner: SnapshotUse,
}

/// A snapshot with a directory of its own, so named that no later one can be taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotUse {
    /// The namespace of the name.
    pub namespace: Namespace,
    /// The key or name.
    pub name: String,
    /// The directory.
    pub id: SnapshotId,
}

impl SnapshotMounts {
    /// Returns what an image without layers is made of.
    pub fn empty() -> Self {
        Self {
            layers: Vec::new(),
            upper: None,
            uses: Vec::new(),
        }
    }

    /// Returns what a chain of packed layers is made of, given its diff IDs, lowest first.
    pub fn of_packed(diff_ids: &[DiffId]) -> Self {
        let layers = diff_ids.iter().rev().cloned();
        Self {
            layers: layers.map(LayerPlan::Packed).collect(),
            ..Self::empty()
        }
    }

    /// Returns the snapshot itself that a mount shows, where it has a directory: the owner of
    /// the upper, or else the uppermost one in use.
    pub(crate) fn own(&self) -> Option<&SnapshotUse> {
        let owner = self.upper.as_ref().map(|upper| &upper.owner);
        owner.or_else(|| self.uses.first())
    }
}

impl Snapshots {
    /// Returns what a mount of an active snapshot or of a view is made of.
    pub fn mounts(&self, key: &str) -> Result<SnapshotMounts, SnapshotError> {
        self.mounts_of(&self.ancestry(key)?)
    }

    /// Returns what a read-only mount of a snapshot of any kind is made of; an active
    /// one shows what was written to it so far.
    pub fn show(&self, name: &str) -> Result<SnapshotMounts, SnapshotError> {
        self.read_only(&self.ancestry(name)?)
    }

    /// Returns the layers of a snapshot and its ancestors, uppermost first.
    pub fn layers(&self, name: &str) -> Result<Vec<LayerPlan>, SnapshotError> {
        Ok(self.show(name)?.layers)
    }

    /// Keeps a snapshot that is shown from being written to, committed or removed.
    pub fn hold(&self, used: &SnapshotUse) -> Result<Hold, SnapshotError> {
        self.directories.hold_shared(&used.name, used.id)
    }

    /// Keeps an active snapshot for one that writes to it.
    pub fn hold_active(&self, used: &SnapshotUse) -> Result<Hold, SnapshotError> {
        self.meta.read(|transaction| {
            let active = self.find_active(transaction, &used.name)?;
            if active.id != Some(used.id) {
                return Err(SnapshotError::NotFound(used.name.clone()));
            }
            self.directories.hold_alone(&used.name, used.id)
        })
    }

    /// Returns what a mount of the first snapshot of a chain is made of.
    pub(super) fn mounts_of(
        &self,
        chain: &[SnapshotRecord],
    ) -> Result<SnapshotMounts, SnapshotError> {
        match chain {
            [top, below @ ..] if top.kind == Kind::Active => self.writable(top, below),
            [top, ..] if top.kind == Kind::Committed => {
                Err(SnapshotError::NotMountable(top.name.clone()))
            }
            _ => self.read_only(chain),
        }
    }

    fn writable(
        &self,
        top: &SnapshotRecord,
        below: &[SnapshotRecord],
    ) -> Result<SnapshotMounts, SnapshotError> {
        let id = self.directory_of(top)?;
        let mut mounts = self.read_only(below)?;
        let applied = top.layer.clone().map(LayerPlan::Packed);
        mounts.layers.splice(..0, applied);
        if mounts.layers.is_empty() {
            let path = self.directories.lower(id);
            mounts.layers.push(LayerPlan::Directory(path));
        }
        mounts.upper = Some(SnapshotUpper {
            fs: self.directories.fs(id),
            work: self.directories.work(id),
            owner: self.used(top, id),
        });
        Ok(mounts)
    }

    fn read_only(&self, chain: &[SnapshotRecord]) -> Result<SnapshotMounts, SnapshotError> {
        let mut mounts = SnapshotMounts::empty();
        for snapshot in chain {
            if let Some(id) = snapshot.id {
                self.directories.require(&snapshot.name, id)?;
                mounts.uses.push(self.used(snapshot, id));
                // The directory of a view is empty; it is shown where there is nothing else.
                if snapshot.kind != Kind::View || chain.len() == 1 {
                    let path = self.directories.fs(id);
                    mounts.layers.push(LayerPlan::Directory(path));
                }
            }
            let packed = snapshot.layer.clone().map(LayerPlan::Packed);
            mounts.layers.extend(packed);
        }
        Ok(mounts)
    }

    fn used(&self, snapshot: &SnapshotRecord, id: SnapshotId) -> SnapshotUse {
        SnapshotUse {
            namespace: self.namespace.clone(),
            name: snapshot.name.clone(),
            id,
        }
    }
}

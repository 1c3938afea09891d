//! From a plan to a tree that keeps all that it shows in the store.

use mica_fuse::{ActiveView, DiffView, Layer, Tree, View, ViewOptions};
use serde::{Deserialize, Serialize};

use super::{AccessMode, LayerPlan, MountsError, UpperPlan};
use crate::layers::{self, LayerError};
use crate::oci::DiffId;
use crate::snapshots::{self, SnapshotMounts, SnapshotUse, Snapshots};
use crate::store::Store;

/// What a tree is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreePlan {
    /// The layers, uppermost first.
    pub(crate) layers: Vec<LayerPlan>,
    /// Where changes go.
    pub(crate) upper: Option<UpperPlan>,
    /// The snapshots whose directories are among the layers.
    pub(crate) uses: Vec<SnapshotUse>,
    /// Who checks permissions.
    pub(crate) access: AccessMode,
}

/// What keeps all that is shown in the store.
#[derive(Debug)]
#[expect(dead_code, reason = "they keep by being there")]
struct Holds {
    layers: layers::Hold,
    snapshots: Vec<snapshots::Hold>,
}

impl From<SnapshotMounts> for TreePlan {
    /// Returns the plan to show what a snapshot is made of, as suits this process.
    fn from(shown: SnapshotMounts) -> Self {
        Self {
            layers: shown.layers,
            upper: shown.upper.map(UpperPlan::from),
            uses: shown.uses,
            access: AccessMode::default_for_process(),
        }
    }
}

impl TreePlan {
    /// Holds what the plan names in the store, then opens it; the tree keeps the holds.
    ///
    /// Layers are opened by descriptor, so that a mount point above a directory layer does
    /// not matter.
    pub(crate) fn open(
        &self,
        store: &Store,
        open_layers: impl FnOnce(&[LayerPlan]) -> Result<Vec<Layer>, LayerError>,
    ) -> Result<Tree, MountsError> {
        self.open_as(store, open_layers, |layers| self.build(layers))
    }

    /// Makes the tree of layers that are open; who calls this holds what the plan names.
    pub(crate) fn build(&self, layers: Vec<Layer>) -> mica_fuse::Result<Tree> {
        Ok(match &self.upper {
            None => View::open(layers, self.options())?.into(),
            Some(upper) => ActiveView::open(layers, upper.open()?, self.options())?.into(),
        })
    }

    /// Does the same for the uppermost layer alone, read-only.
    pub(crate) fn open_diff(
        &self,
        store: &Store,
        open_layers: impl FnOnce(&[LayerPlan]) -> Result<Vec<Layer>, LayerError>,
    ) -> Result<Tree, MountsError> {
        self.open_as(store, open_layers, |layers| {
            DiffView::open(layers, self.options()).map(Tree::from)
        })
    }

    fn open_as(
        &self,
        store: &Store,
        open_layers: impl FnOnce(&[LayerPlan]) -> Result<Vec<Layer>, LayerError>,
        make: impl FnOnce(Vec<Layer>) -> mica_fuse::Result<Tree>,
    ) -> Result<Tree, MountsError> {
        let holds = self.hold(store)?;
        let layers = open_layers(&self.layers)?;
        let tree = make(layers).map_err(MountsError::View)?;
        Ok(tree.holding(holds))
    }

    fn options(&self) -> ViewOptions {
        ViewOptions {
            access: self.access.into(),
        }
    }

    fn hold(&self, store: &Store) -> Result<Holds, MountsError> {
        let packed = self.layers.iter().filter_map(LayerPlan::diff_id);
        let packed: Vec<DiffId> = packed.cloned().collect();
        let of = |used: &SnapshotUse| Snapshots::new(store, used.namespace.clone());
        let mut snapshots = Vec::new();
        for used in &self.uses {
            snapshots.push(of(used).hold(used)?);
        }
        let upper = self.upper.as_ref();
        if let Some(used) = upper.and_then(|upper| upper.snapshot.as_ref()) {
            snapshots.push(of(used).hold_active(used)?);
        }
        Ok(Holds {
            layers: store.layers().hold(&packed)?,
            snapshots,
        })
    }
}

//! Layers that several trees of one process have open in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mica_fuse::{Layer, PackedLayer};

use super::{LayerError, LayerPlan, Layers};
use crate::oci::DiffId;

/// Opens layers, each packed one once for all who have it open.
#[derive(Debug)]
pub(crate) struct SharedLayers {
    layers: Layers,
    open: Mutex<HashMap<DiffId, Weak<PackedLayer>>>,
}

impl SharedLayers {
    pub(crate) fn new(layers: Layers) -> Self {
        Self {
            layers,
            open: Mutex::default(),
        }
    }

    /// Opens the layers of a chain, packed ones and directories.
    pub(crate) fn open_all(&self, plans: &[LayerPlan]) -> Result<Vec<Layer>, LayerError> {
        let open = |plan: &LayerPlan| match plan {
            LayerPlan::Packed(diff_id) => Ok(vec![Layer::Packed(self.open(diff_id)?)]),
            LayerPlan::Directory(_) => self.layers.open_all(std::slice::from_ref(plan)),
        };
        let opened: Result<Vec<Vec<Layer>>, LayerError> = plans.iter().map(open).collect();
        Ok(opened?.concat())
    }

    /// Opens a packed layer.
    pub(crate) fn open(&self, diff_id: &DiffId) -> Result<Arc<PackedLayer>, LayerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = open.get(diff_id).and_then(Weak::upgrade) {
            return Ok(layer);
        }
        open.retain(|_, layer| layer.strong_count() > 0);
        let layer = Arc::new(self.layers.open(diff_id)?);
        open.insert(diff_id.clone(), Arc::downgrade(&layer));
        Ok(layer)
    }
}

//! Layers that several trees of one process have open in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mica_fuse::{Layer, PackedLayer};

use super::ahead::on_all_processors;
use super::{LayerError, LayerPlan, Layers};
use crate::oci::DiffId;

/// Opens layers, each packed one once for all who have it open.
#[derive(Debug)]
pub(crate) struct SharedLayers {
    layers: Layers,
    open: Mutex<Opened>,
}

type Opened = HashMap<DiffId, Weak<PackedLayer>>;

impl SharedLayers {
    pub(crate) fn new(layers: Layers) -> Self {
        Self {
            layers,
            open: Mutex::default(),
        }
    }

    /// Opens the layers of a chain, packed ones and directories.
    pub(crate) fn open_all(&self, plans: &[LayerPlan]) -> Result<Vec<Layer>, LayerError> {
        self.forget_closed();
        on_all_processors(plans, |plan| match plan {
            LayerPlan::Packed(diff_id) => Ok(Layer::Packed(self.open(diff_id)?)),
            LayerPlan::Directory(_) => self.layers.open_planned(plan),
        })
    }

    /// Opens a packed layer, unless somebody has it open; no lock is held meanwhile, and who
    /// comes second takes what the first has opened.
    fn open(&self, diff_id: &DiffId) -> Result<Arc<PackedLayer>, LayerError> {
        let known = |open: &Opened| open.get(diff_id).and_then(Weak::upgrade);
        if let Some(layer) = known(&self.opened()) {
            return Ok(layer);
        }
        let layer = Arc::new(self.layers.open(diff_id)?);
        let mut open = self.opened();
        if let Some(layer) = known(&open) {
            return Ok(layer);
        }
        open.insert(diff_id.clone(), Arc::downgrade(&layer));
        Ok(layer)
    }

    fn forget_closed(&self) {
        self.opened().retain(|_, layer| layer.strong_count() > 0);
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Which trees there are, and what keeps their snapshots from others.
//!
//! A tree holds its layers and directories until the kernel has forgotten it, or until it is
//! told to let go. Whoever tells has removed the plan before, and a tree that is just being
//! opened is written down before its plan is looked for once more: it is told, or it finds
//! its plan gone.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mica_fuse::{Catalog, FileType, Item, Tree};
use rustix::io::Errno;
use thiserror::Error;
use tracing::error;

use super::{Places, ViewsError, plan};
use crate::causes::in_one_line;
use crate::layers::{self, LayerError, LayerPlan, Layers, SharedLayers};
use crate::meta::SnapshotId;
use crate::mounts::TreePlan;
use crate::oci::DiffId;
use crate::snapshots::{Directories, Hold, SnapshotError};

/// The trees of a store's snapshots.
#[derive(Debug, Clone)]
pub(super) struct Catalogue(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    places: Places,
    layers: Layers,
    directories: Directories,
    open: Mutex<HashMap<SnapshotId, Weak<Held>>>,
    /// Layers that open trees have in common.
    shared: SharedLayers,
}

/// What an open tree keeps from others.
#[derive(Debug)]
struct Held {
    is_writable: bool,
    holds: Mutex<Option<Holds>>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "they keep by being there")]
struct Holds {
    layers: layers::Hold,
    directories: Vec<Hold>,
}

/// Why a tree could not be opened.
#[derive(Debug, Error)]
enum TreeError {
    #[error(transparent)]
    Plan(#[from] ViewsError),
    #[error("the plan is gone")]
    Gone,
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("open the tree")]
    Tree(#[from] mica_fuse::Error),
}

impl TreeError {
    fn errno(&self) -> Errno {
        match self {
            Self::Gone => Errno::NOENT,
            Self::Snapshot(SnapshotError::InUse(_)) => Errno::BUSY,
            Self::Tree(error) => error.errno(),
            Self::Plan(_) | Self::Snapshot(_) | Self::Layer(_) => Errno::IO,
        }
    }
}

impl Catalogue {
    pub(super) fn new(places: Places, layers: Layers, directories: Directories) -> Self {
        Self(Arc::new(Parts {
            places,
            shared: SharedLayers::new(layers.clone()),
            layers,
            directories,
            open: Mutex::default(),
        }))
    }

    /// Returns whether a snapshot's tree is open and takes changes.
    pub(super) fn is_writable(&self, id: SnapshotId) -> bool {
        self.held(id).is_some_and(|held| held.is_writable)
    }

    /// Lets others have what the tree of a snapshot holds.
    pub(super) fn let_go(&self, id: SnapshotId) {
        if let Some(held) = self.held(id) {
            drop(
                held.holds
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        }
    }

    fn held(&self, id: SnapshotId) -> Option<Arc<Held>> {
        self.open_trees().get(&id)?.upgrade()
    }

    fn open_trees(&self) -> MutexGuard<'_, HashMap<SnapshotId, Weak<Held>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_tree(&self, id: SnapshotId) -> Result<Tree, TreeError> {
        let path = self.0.places.plan(id);
        let plan = TreePlan::read(&path)?.ok_or(TreeError::Gone)?;
        let held = Arc::new(Held {
            is_writable: plan.upper.is_some(),
            holds: Mutex::new(Some(self.hold(&plan)?)),
        });
        let mut open = self.open_trees();
        open.retain(|_, held| held.strong_count() > 0);
        open.insert(id, Arc::downgrade(&held));
        drop(open);
        if TreePlan::read(&path)?.as_ref() != Some(&plan) {
            return Err(TreeError::Gone);
        }
        let layers = self.0.shared.open_all(&plan.layers)?;
        Ok(plan.build(layers)?.holding(held))
    }

    fn hold(&self, plan: &TreePlan) -> Result<Holds, TreeError> {
        let packed = plan.layers.iter().filter_map(LayerPlan::diff_id);
        let packed: Vec<DiffId> = packed.cloned().collect();
        let layers = self.0.layers.hold(&packed)?;
        let mut directories = Vec::new();
        for used in &plan.uses {
            directories.push(self.0.directories.hold_shared(&used.name, used.id)?);
        }
        if let Some(owner) = plan
            .upper
            .as_ref()
            .and_then(|upper| upper.snapshot.as_ref())
        {
            directories.push(self.0.directories.hold_alone(&owner.name, owner.id)?);
        }
        Ok(Holds {
            layers,
            directories,
        })
    }
}

impl Catalog for Catalogue {
    fn item(&self, path: &[u8]) -> mica_fuse::Result<Option<Item>> {
        if path.is_empty() {
            return Ok(Some(Item::Directory));
        }
        let Some(id) = named(path) else {
            return Ok(None);
        };
        let plan = self.0.places.plan(id);
        Ok(plan.exists().then_some(Item::Tree))
    }

    fn list(&self, _path: &[u8]) -> mica_fuse::Result<Vec<(Vec<u8>, FileType)>> {
        let ids = plan::list(&self.0.places.plans()).map_err(|error| {
            error!("list plans: {}", in_one_line(&error));
            Errno::IO
        })?;
        let names = ids.into_iter().map(|id| id.to_string().into_bytes());
        Ok(names.map(|name| (name, FileType::Directory)).collect())
    }

    fn open(&self, path: &[u8]) -> mica_fuse::Result<Tree> {
        let id = named(path).ok_or(Errno::NOENT)?;
        Ok(self.open_tree(id).map_err(|failure| {
            if !matches!(failure, TreeError::Gone) {
                error!("show snapshot {id}: {}", in_one_line(&failure));
            }
            failure.errno()
        })?)
    }
}

fn named(path: &[u8]) -> Option<SnapshotId> {
    let path = Path::new(std::str::from_utf8(path).ok()?);
    SnapshotId::named(path.to_str()?)
}

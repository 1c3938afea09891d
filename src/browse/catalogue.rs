//! From a path to what answers for it.

use std::sync::Arc;

use mica_fuse::{Catalog, FileType, Item, Result, Tree};

use super::Browse;
use super::error::BrowseError;
use super::pull::Puller;
use super::records::Records;
use crate::images::Images;
use crate::layers::SharedLayers;
use crate::mounts::TreePlan;
use crate::oci::DiffId;
use crate::snapshots::Snapshots;
use crate::store::Store;

/// Names in a directory, with the type of each.
pub(super) type Names = Vec<(Vec<u8>, FileType)>;

/// The catalogue of a store.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) store: Arc<Store>,
    pub(super) browse: Browse,
    pub(super) records: Records,
    pub(super) snapshots: Snapshots,
    pub(super) puller: Puller,
    layers: SharedLayers,
}

/// One of the directories at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Images,
    Layers,
    Snapshots,
    Content,
}

const CLASSES: [(&[u8], Class); 4] = [
    (b"images", Class::Images),
    (b"layers", Class::Layers),
    (b"snapshots", Class::Snapshots),
    (b"content", Class::Content),
];

impl Catalogue {
    pub(super) fn new(store: Arc<Store>, browse: Browse) -> Self {
        let namespace = browse.namespace.clone();
        let images = Images::new(store.meta(), store.content(), namespace.clone());
        Self {
            records: Records::new(store.meta(), images, namespace.clone()),
            snapshots: Snapshots::new(&store, namespace.clone()),
            puller: Puller::new(Arc::clone(&store), namespace),
            layers: SharedLayers::new(store.layers()),
            store,
            browse,
        }
    }

    /// Opens a tree, all of whose layers are there and whole.
    pub(super) fn tree(&self, plan: &TreePlan) -> std::result::Result<Tree, BrowseError> {
        self.require(plan)?;
        Ok(plan.open(&self.store, |plans| self.layers.open_all(plans))?)
    }

    /// Opens the tree of the uppermost layer alone.
    pub(super) fn diff(&self, plan: &TreePlan) -> std::result::Result<Tree, BrowseError> {
        self.require(plan)?;
        Ok(plan.open_diff(&self.store, |plans| self.layers.open_all(plans))?)
    }

    fn require(&self, plan: &TreePlan) -> std::result::Result<(), BrowseError> {
        let packed = plan.layers.iter().filter_map(|layer| layer.diff_id());
        let packed: Vec<DiffId> = packed.cloned().collect();
        Ok(self.store.layers().require(&packed)?)
    }

    fn find(&self, path: &[u8]) -> std::result::Result<Option<Item>, BrowseError> {
        let (class, rest) = match split(path).split_first() {
            None => return Ok(Some(Item::Directory)),
            Some((first, rest)) => match class(first) {
                Some(class) => (class, rest.to_vec()),
                None => return Ok(None),
            },
        };
        match (class, rest.as_slice()) {
            (_, []) => Ok(Some(Item::Directory)),
            (Class::Images, [name, rest @ ..]) => self.image(name, rest),
            (Class::Layers, [name, rest @ ..]) => self.layer(name, rest),
            (Class::Snapshots, [name, rest @ ..]) => self.snapshot(name, rest),
            (Class::Content, [name]) => self.blob(name),
            (Class::Content, _) => Ok(None),
        }
    }

    fn names(&self, path: &[u8]) -> std::result::Result<Names, BrowseError> {
        let parts = split(path);
        let Some((first, rest)) = parts.split_first() else {
            let names = CLASSES.map(|(name, _)| (name.to_vec(), FileType::Directory));
            return Ok(names.into());
        };
        match (class(first), rest) {
            (Some(Class::Images), []) => self.image_names(),
            (Some(Class::Images), [name, rest @ ..]) => self.names_in_image(name, rest),
            (Some(Class::Layers), []) => self.layer_names(),
            (Some(Class::Layers), [_]) => Ok(super::layers::names_in_one()),
            (Some(Class::Snapshots), []) => self.snapshot_names(),
            (Some(Class::Snapshots), [name, rest @ ..]) => self.names_in_snapshot(name, rest),
            (Some(Class::Content), []) => self.blob_names(),
            _ => Err(BrowseError::Nothing),
        }
    }

    fn plant(&self, path: &[u8]) -> std::result::Result<Tree, BrowseError> {
        let parts = split(path);
        let class = parts.first().and_then(|first| class(first));
        match (class, parts.get(1..).unwrap_or_default()) {
            (Some(Class::Images), [name, b"rootfs"]) => self.image_tree(name),
            (Some(Class::Layers), [name, b"files"]) => self.layer_tree(name),
            (Some(Class::Snapshots), [name, b"rootfs"]) => self.snapshot_tree(name),
            (Some(Class::Snapshots), [name, b"diff"]) => self.snapshot_diff(name),
            _ => Err(BrowseError::Nothing),
        }
    }
}

impl Catalog for Catalogue {
    fn item(&self, path: &[u8]) -> Result<Option<Item>> {
        self.find(path).map_err(|error| error.told(path))
    }

    fn list(&self, path: &[u8]) -> Result<Names> {
        self.names(path).map_err(|error| error.told(path))
    }

    fn open(&self, path: &[u8]) -> Result<Tree> {
        self.plant(path).map_err(|error| error.told(path))
    }
}

fn class(name: &[u8]) -> Option<Class> {
    let mut classes = CLASSES.iter();
    let found = classes.find(|(known, _)| *known == name);
    found.map(|(_, class)| *class)
}

fn split(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .collect()
}

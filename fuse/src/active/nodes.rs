//! The nodes that the kernel knows, their places in the tree, and who refers to them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::node::{Found, Node};
use crate::{FileType, Ino, NodeId, sys};

/// The first number for nodes whose own number is taken. The view below gives out
/// numbers from 255 << 55 on.
const FIRST_ALIAS: u64 = 255 << 55 | 1 << 54;

/// How many nodes are dropped before memory is given back.
const MANY: usize = 1 << 14;

/// The nodes in use.
#[derive(Debug)]
pub(super) struct Nodes(Mutex<Table>);

/// A name of the view: the directory and what it is called there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) parent: NodeId,
    pub(super) name: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<NodeId, Slot>,
    /// By directory and name.
    children: HashTable<NodeId>,
    /// By the number of the inode in the upper, for what can have several names.
    uppers: HashMap<Ino, NodeId>,
    hasher: RandomState,
    aliases: u64,
    /// Nodes that were dropped since memory was given back.
    dropped: usize,
}

#[derive(Debug)]
struct Slot {
    node: Arc<Node>,
    /// What the kernel holds.
    lookups: u64,
    /// Nodes that have their place in this directory.
    children: u32,
    place: Option<Place>,
}

impl Nodes {
    /// Makes the table of a tree with this root.
    pub(super) fn new(root: Arc<Node>) -> Self {
        let mut table = Table::default();
        table.slots.insert(
            root.id,
            Slot {
                node: root,
                lookups: 1,
                children: 0,
                place: None,
            },
        );
        Self(Mutex::new(table))
    }

    pub(super) fn get(&self, id: NodeId) -> Option<Arc<Node>> {
        self.table()
            .slots
            .get(&id)
            .map(|slot| Arc::clone(&slot.node))
    }

    pub(super) fn place(&self, id: NodeId) -> Option<Place> {
        self.table().slots.get(&id)?.place.clone()
    }

    /// Returns the node of a name, if one is known.
    pub(super) fn child(&self, parent: NodeId, name: &[u8]) -> Option<Arc<Node>> {
        let table = self.table();
        let id = table.child(parent, name)?;
        table.slots.get(&id).map(|slot| Arc::clone(&slot.node))
    }

    /// Returns the node of a name, if one is known, with one more reference to it.
    pub(super) fn refer_child(&self, parent: NodeId, name: &[u8]) -> Option<Arc<Node>> {
        let mut table = self.table();
        let id = table.child(parent, name)?;
        table.refer(id)
    }

    /// Counts one more reference to a node.
    pub(super) fn refer(&self, id: NodeId) {
        self.table().refer(id);
    }

    /// Returns the node of what was found behind a name, with one more reference to it,
    /// and whether it is new; one that is known already by this name, or by another of
    /// the same inode, is taken.
    ///
    /// A node that is not new does not need what `found` refers to.
    pub(super) fn adopt(
        &self,
        place: Option<(NodeId, &[u8])>,
        file_type: FileType,
        found: Found,
    ) -> (Arc<Node>, bool) {
        let mut table = self.table();
        let known = place.and_then(|(parent, name)| table.child(parent, name));
        let known = known.or_else(|| {
            let upper = found.presence.upper_ino()?;
            let id = table.uppers.get(&upper).copied()?;
            let is_placed = table
                .slots
                .get(&id)
                .is_some_and(|slot| slot.place.is_some());
            if let (false, Some((parent, name))) = (is_placed, place) {
                table.put(id, parent, name);
            }
            Some(id)
        });
        if let Some(node) = known.and_then(|id| table.refer(id)) {
            return (node, false);
        }
        let mut id = NodeId(found.ino.0);
        while id.0 <= 1 || table.slots.contains_key(&id) {
            table.aliases += 1;
            id = NodeId(FIRST_ALIAS + table.aliases);
        }
        let node = Arc::new(Node::new(id, file_type, found));
        table.slots.insert(
            id,
            Slot {
                node: Arc::clone(&node),
                lookups: 1,
                children: 0,
                place: None,
            },
        );
        if let Some(ino) = found.presence.upper_ino()
            && file_type != FileType::Directory
        {
            table.uppers.insert(ino, id);
        }
        if let Some((parent, name)) = place {
            table.put(id, parent, name);
        }
        (node, true)
    }

    /// Records the number that the inode of a node has got in the upper.
    pub(super) fn copied_up(&self, node: &Node, ino: Ino) {
        if !node.is_directory() {
            self.table().uppers.insert(ino, node.id);
        }
    }

    /// Records that the inode of a node is gone from the upper: its number may come again.
    pub(super) fn departed(&self, node: &Node) {
        let upper = node.state().presence.upper_ino();
        let mut table = self.table();
        if let Some(upper) = upper
            && table.uppers.get(&upper) == Some(&node.id)
        {
            table.uppers.remove(&upper);
        }
    }

    /// Gives a node a new place, or none.
    pub(super) fn set_place(&self, id: NodeId, place: Option<(NodeId, &[u8])>) {
        let mut table = self.table();
        table.take(id);
        if let Some((parent, name)) = place {
            table.put(id, parent, name);
        }
    }

    /// Takes references away; returns the nodes that nothing refers to any more, which
    /// are the node and directories above it.
    pub(super) fn forget(&self, id: NodeId, lookups: u64) -> Vec<Arc<Node>> {
        let mut table = self.table();
        if let Some(slot) = table.slots.get_mut(&id) {
            slot.lookups = slot.lookups.saturating_sub(lookups);
        }
        let mut dropped = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let slot = table.slots.get(&id);
            if id == NodeId::ROOT
                || !slot.is_some_and(|slot| slot.lookups == 0 && slot.children == 0)
            {
                break;
            }
            next = slot
                .and_then(|slot| slot.place.as_ref())
                .map(|place| place.parent);
            table.take(id);
            if let Some(slot) = table.slots.remove(&id) {
                let upper = slot.node.state().presence.upper_ino();
                if let Some(upper) = upper
                    && table.uppers.get(&upper) == Some(&id)
                {
                    table.uppers.remove(&upper);
                }
                dropped.push(slot.node);
            }
        }
        table.give_memory_back(dropped.len());
        dropped
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn refer(&mut self, id: NodeId) -> Option<Arc<Node>> {
        let slot = self.slots.get_mut(&id)?;
        slot.lookups += 1;
        Some(Arc::clone(&slot.node))
    }

    fn hash(&self, parent: NodeId, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let is_it = |id: &NodeId| {
            let place = self.slots.get(id).and_then(|slot| slot.place.as_ref());
            place.is_some_and(|place| place.parent == parent && *place.name == *name)
        };
        self.children.find(self.hash(parent, name), is_it).copied()
    }

    fn put(&mut self, id: NodeId, parent: NodeId, name: &[u8]) {
        let hash = self.hash(parent, name);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.place = Some(Place {
                parent,
                name: name.into(),
            });
        }
        if let Some(slot) = self.slots.get_mut(&parent) {
            slot.children += 1;
        }
        let Self {
            children,
            slots,
            hasher,
            ..
        } = self;
        children.insert_unique(hash, id, |id| {
            let place = slots.get(id).and_then(|slot| slot.place.as_ref());
            place.map_or(0, |place| hasher.hash_one((place.parent, &place.name[..])))
        });
    }

    /// Gives memory back after many nodes were dropped, as when the kernel needs memory
    /// itself. The allocator would keep it.
    fn give_memory_back(&mut self, dropped: usize) {
        self.dropped += dropped;
        if self.dropped < MANY {
            return;
        }
        self.dropped = 0;
        if self.slots.capacity() > self.slots.len().saturating_mul(4) {
            self.slots.shrink_to_fit();
            let Self {
                children,
                slots,
                hasher,
                ..
            } = self;
            let hash = |id: &NodeId| {
                let place = slots.get(id).and_then(|slot| slot.place.as_ref());
                place.map_or(0, |place| hasher.hash_one((place.parent, &place.name[..])))
            };
            children.shrink_to(0, hash);
        }
        sys::trim_heap();
    }

    /// Takes a node from its place.
    fn take(&mut self, id: NodeId) {
        let Some(place) = self.slots.get_mut(&id).and_then(|slot| slot.place.take()) else {
            return;
        };
        let hash = self.hash(place.parent, &place.name);
        if let Ok(entry) = self.children.find_entry(hash, |child| *child == id) {
            entry.remove();
        }
        if let Some(parent) = self.slots.get_mut(&place.parent) {
            parent.children = parent.children.saturating_sub(1);
        }
    }
}

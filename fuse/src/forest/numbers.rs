//! The numbers under which the kernel knows what is in a forest.
//!
//! A number is given when something is first shown and stands for it until the kernel has
//! given all references back; it never comes again. A tree stays as long as a number of it.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::branch::Branch;
use super::planted::Planted;
use crate::{NodeId, Tree};

/// What a number stands for.
#[derive(Debug)]
pub(super) enum Known {
    Branch(Branch),
    Tree(Arc<Planted>, NodeId),
}

/// The table of numbers.
#[derive(Debug)]
pub(super) struct Numbers(Mutex<Table>);

#[derive(Debug)]
struct Table {
    last: u64,
    last_tree: u32,
    slots: HashMap<NodeId, Slot>,
    numbers: HashMap<Key, NodeId>,
    trees: HashMap<u32, Standing>,
    /// The trees that a look-up of their path leads to.
    paths: HashMap<Box<[u8]>, u32>,
}

#[derive(Debug)]
struct Slot {
    key: Key,
    lookups: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Branch(Branch),
    Tree(u32, NodeId),
}

#[derive(Debug)]
struct Standing {
    planted: Arc<Planted>,
    /// Numbers that stand for nodes of the tree.
    nodes: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        let root = Key::Branch(Branch::directory(b""));
        let slot = Slot {
            key: root.clone(),
            lookups: 1,
        };
        Self(Mutex::new(Table {
            last: NodeId::ROOT.0,
            last_tree: 0,
            slots: HashMap::from([(NodeId::ROOT, slot)]),
            numbers: HashMap::from([(root, NodeId::ROOT)]),
            trees: HashMap::new(),
            paths: HashMap::new(),
        }))
    }
}

impl Numbers {
    pub(super) fn get(&self, number: NodeId) -> Option<Known> {
        let table = self.table();
        match &table.slots.get(&number)?.key {
            Key::Branch(branch) => Some(Known::Branch(branch.clone())),
            Key::Tree(tree, inner) => {
                let planted = Arc::clone(&table.trees.get(tree)?.planted);
                Some(Known::Tree(planted, *inner))
            }
        }
    }

    /// Returns the tree's own number of a node, if the node is the tree's.
    pub(super) fn inner(&self, tree: u32, number: NodeId) -> Option<NodeId> {
        match &self.table().slots.get(&number)?.key {
            Key::Tree(other, inner) if *other == tree => Some(*inner),
            _ => None,
        }
    }

    /// Returns the number of a tree's node, if the kernel knows it.
    pub(super) fn number_of(&self, tree: u32, inner: NodeId) -> Option<NodeId> {
        self.table().numbers.get(&Key::Tree(tree, inner)).copied()
    }

    /// Returns the number of a directory of the catalogue, if the kernel knows it.
    pub(super) fn branch_at(&self, path: &[u8]) -> Option<NodeId> {
        let key = Key::Branch(Branch::directory(path));
        self.table().numbers.get(&key).copied()
    }

    /// Returns the number of what the catalogue describes, with one reference more.
    pub(super) fn see_branch(&self, branch: Branch) -> NodeId {
        self.table().see(Key::Branch(branch))
    }

    /// Returns the number of a tree's node, with one reference more.
    pub(super) fn see(&self, planted: &Arc<Planted>, inner: NodeId) -> NodeId {
        let mut table = self.table();
        // The last number of the tree may be given back while it answers.
        table
            .trees
            .entry(planted.number)
            .or_insert_with(|| Standing {
                planted: Arc::clone(planted),
                nodes: 0,
            });
        table.see(Key::Tree(planted.number, inner))
    }

    /// Takes references back.
    pub(super) fn forget(&self, number: NodeId, lookups: u64) {
        let gone = self.table().forget(number, lookups);
        // A tree is closed without the table.
        drop(gone);
    }

    /// Returns the tree that a path leads to.
    pub(super) fn tree_at(&self, path: &[u8]) -> Option<Arc<Planted>> {
        let table = self.table();
        let number = table.paths.get(path)?;
        Some(Arc::clone(&table.trees.get(number)?.planted))
    }

    /// Lets a path lead to a tree, which goes with its last number.
    pub(super) fn plant(&self, path: &[u8], tree: Tree) -> Arc<Planted> {
        let mut table = self.table();
        table.last_tree += 1;
        let number = table.last_tree;
        let planted = Arc::new(Planted::new(number, path, tree));
        let standing = Standing {
            planted: Arc::clone(&planted),
            nodes: 0,
        };
        table.trees.insert(number, standing);
        table.paths.insert(path.into(), number);
        planted
    }

    /// Lets a path lead to no tree. Returns the numbers of all that it has led to, those of
    /// what lies deeper first; `None` where no tree of the path is left.
    pub(super) fn uproot(&self, path: &[u8]) -> Option<Vec<NodeId>> {
        let mut table = self.table();
        table.paths.remove(path);
        let is_of_path = |standing: &Standing| *standing.planted.path == *path;
        table
            .trees
            .retain(|_, standing| standing.nodes > 0 || !is_of_path(standing));
        let trees: HashSet<u32> = table
            .trees
            .iter()
            .filter(|(_, standing)| is_of_path(standing))
            .map(|(number, _)| *number)
            .collect();
        if trees.is_empty() {
            return None;
        }
        Some(table.numbers_of(&trees))
    }

    /// Returns all trees that were not asked for anything since this was called last, and
    /// their numbers; those of what lies deeper first.
    pub(super) fn unasked(&self) -> (Vec<Arc<Planted>>, Vec<NodeId>) {
        let table = self.table();
        let trees = table.trees.values().map(|standing| &standing.planted);
        let trees: Vec<_> = trees.filter(|tree| !tree.was_asked()).cloned().collect();
        let numbers = trees.iter().map(|tree| tree.number).collect();
        let numbers = table.numbers_of(&numbers);
        (trees, numbers)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Returns the numbers of trees, the latest first: what lies deeper was seen later.
    fn numbers_of(&self, trees: &HashSet<u32>) -> Vec<NodeId> {
        if trees.is_empty() {
            return Vec::new();
        }
        let is_of = |slot: &Slot| matches!(&slot.key, Key::Tree(tree, _) if trees.contains(tree));
        let slots = self.slots.iter().filter(|(_, slot)| is_of(slot));
        let mut numbers: Vec<NodeId> = slots.map(|(number, _)| *number).collect();
        numbers.sort_unstable_by_key(|number| Reverse(*number));
        numbers
    }

    fn see(&mut self, key: Key) -> NodeId {
        if let Some(number) = self.numbers.get(&key) {
            if let Some(slot) = self.slots.get_mut(number) {
                slot.lookups += 1;
            }
            return *number;
        }
        self.last += 1;
        let number = NodeId(self.last);
        if let Key::Tree(tree, _) = &key
            && let Some(standing) = self.trees.get_mut(tree)
        {
            standing.nodes += 1;
        }
        self.numbers.insert(key.clone(), number);
        self.slots.insert(number, Slot { key, lookups: 1 });
        number
    }

    /// Returns the tree that went with its last number.
    fn forget(&mut self, number: NodeId, lookups: u64) -> Option<Arc<Planted>> {
        let slot = self.slots.get_mut(&number)?;
        slot.lookups = slot.lookups.saturating_sub(lookups);
        if slot.lookups > 0 || number == NodeId::ROOT {
            return None;
        }
        let slot = self.slots.remove(&number)?;
        self.numbers.remove(&slot.key);
        let Key::Tree(tree, _) = slot.key else {
            return None;
        };
        let standing = self.trees.get_mut(&tree)?;
        standing.nodes = standing.nodes.saturating_sub(1);
        if standing.nodes > 0 {
            return None;
        }
        let planted = self.trees.remove(&tree)?.planted;
        if self.paths.get(&planted.path) == Some(&tree) {
            self.paths.remove(&planted.path);
        }
        Some(planted)
    }
}

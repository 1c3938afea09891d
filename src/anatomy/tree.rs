//! The tree that layers make one after the other, with what the last has done to it.

use std::collections::{BTreeMap, HashMap};

use mica_fuse::{FileType, InodeIndex, PackedLayer, Result, Target};
use serde::Serialize;

/// Names in a directory, sorted.
pub type Directory = BTreeMap<Box<[u8]>, Node>;

/// The tree that the layers so far make.
#[derive(Debug, Default)]
pub struct Tree {
    root: Directory,
    layers: Vec<Names>,
}

/// What a name stands for.
#[derive(Debug)]
pub struct Node {
    /// What the last layer has done to it.
    pub state: State,
    /// What it is.
    pub body: Body,
    /// The layer, counted from 0, which has made it what it is.
    layer: usize,
}

/// What a node is.
#[derive(Debug)]
pub enum Body {
    /// A directory.
    Directory(Directory),
    /// Anything else.
    Other(Held),
}

/// Where something that is no directory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The inode in it.
    pub inode: InodeIndex,
    /// What it is.
    pub file_type: FileType,
    /// Bytes of a regular file, otherwise 0.
    pub size: u64,
}

/// What the last layer has done to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Kept,
    /// It is new.
    Added,
    /// The layer has it again.
    Changed,
    /// It is gone.
    Removed,
}

/// What is in a layer, seen from those below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes of its files, those with several names once.
    pub size: u64,
    /// Names that are new.
    pub added: u64,
    /// Names that it has again.
    pub changed: u64,
    /// Names that it removes.
    pub deleted: u64,
}

/// The names that still show of the inodes of one layer.
#[derive(Debug, Default)]
struct Names {
    left: HashMap<InodeIndex, u64>,
    hidden: u64,
}

/// One layer on its way into the tree.
struct Pass<'l, 't> {
    layer: &'l PackedLayer,
    number: usize,
    layers: &'t mut Vec<Names>,
    /// What hard links into the layers below are to.
    links: HashMap<InodeIndex, Held>,
    counts: Counts,
    /// Whether what is removed stays and is marked.
    keeps: bool,
}

impl Tree {
    /// Returns the names at the top.
    pub fn root(&self) -> &Directory {
        &self.root
    }

    /// Returns the bytes of each layer, lowest first, that do not show any more.
    pub fn hidden(&self) -> Vec<u64> {
        self.layers.iter().map(|names| names.hidden).collect()
    }

    /// Puts the next layer on top.
    pub fn apply(&mut self, layer: &PackedLayer) -> Result<Counts> {
        self.pass(layer, false)
    }

    /// Puts the last layer on top. What it removes stays in the tree, as
    /// [`State::Removed`]; nothing can be put on top of that.
    pub fn apply_last(&mut self, layer: &PackedLayer) -> Result<Counts> {
        self.pass(layer, true)
    }

    fn pass(&mut self, layer: &PackedLayer, keeps: bool) -> Result<Counts> {
        let mut links = HashMap::new();
        for link in layer.lower_links() {
            let target = self.find(layer.lower_link(link)?);
            links.extend(target.map(|held| (link, held)));
        }
        let number = self.layers.len();
        self.layers.push(Names::default());
        let mut pass = Pass {
            layer,
            number,
            layers: &mut self.layers,
            links,
            counts: Counts::default(),
            keeps,
        };
        pass.directory(&mut self.root, PackedLayer::ROOT, false)?;
        Ok(pass.counts)
    }

    fn find(&self, path: &[u8]) -> Option<Held> {
        let mut names = path.split(|byte| *byte == b'/');
        let last = names.next_back()?;
        let mut here = &self.root;
        for name in names {
            match &here.get(name)?.body {
                Body::Directory(directory) => here = directory,
                Body::Other(_) => return None,
            }
        }
        match &here.get(last)?.body {
            Body::Other(held) => Some(*held),
            Body::Directory(_) => None,
        }
    }
}

impl Node {
    /// Returns what the layer of a number has done to it, if it was the last.
    pub fn state_in(&self, last: usize) -> State {
        if self.layer == last {
            self.state
        } else {
            State::Kept
        }
    }
}

impl Pass<'_, '_> {
    /// Merges a directory of the layer; what was there before and is not in the layer goes
    /// if it is cut off by an opaque mark.
    fn directory(
        &mut self,
        into: &mut Directory,
        index: InodeIndex,
        is_cut_above: bool,
    ) -> Result<()> {
        let own = self.layer.directory(index)?;
        let is_cut = is_cut_above || self.layer.inode(index)?.opaque;
        if is_cut {
            let names: Vec<Box<[u8]>> = into.keys().cloned().collect();
            for name in names {
                match own.find(&name)?.map(|dentry| dentry.target) {
                    None | Some(Target::Whiteout) => self.remove(into, &name),
                    Some(_) => {}
                }
            }
        }
        for dentry in own.iter() {
            let dentry = dentry?;
            match dentry.target {
                Target::Whiteout => self.remove(into, dentry.name),
                Target::Inode {
                    index,
                    file_type: FileType::Directory,
                } => self.subdirectory(into, dentry.name, index, is_cut)?,
                Target::Inode { index, file_type } => {
                    let size = match file_type {
                        FileType::Regular => self.layer.inode(index)?.size,
                        _ => 0,
                    };
                    let held = Held {
                        layer: self.number,
                        inode: index,
                        file_type,
                        size,
                    };
                    self.other(into, dentry.name, held);
                }
                Target::LowerLink(link) => {
                    if let Some(held) = self.links.get(&link).copied() {
                        self.other(into, dentry.name, held);
                    }
                }
            }
        }
        Ok(())
    }

    fn subdirectory(
        &mut self,
        into: &mut Directory,
        name: &[u8],
        index: InodeIndex,
        is_cut: bool,
    ) -> Result<()> {
        let is_directory = |node: &Node| matches!(node.body, Body::Directory(_));
        if !into.get(name).is_some_and(is_directory) {
            self.forget(into, name);
            let body = Body::Directory(Directory::new());
            into.insert(name.into(), self.node(State::Added, body));
        }
        match into.get_mut(name).map(|node| &mut node.body) {
            Some(Body::Directory(below)) => self.directory(below, index, is_cut),
            _ => Ok(()),
        }
    }

    fn other(&mut self, into: &mut Directory, name: &[u8], held: Held) {
        if let Some(names) = self.layers.get_mut(held.layer) {
            let left = names.left.entry(held.inode).or_default();
            if *left == 0 && held.layer == self.number {
                self.counts.size += held.size;
            }
            *left += 1;
        }
        let state = if let Some(Body::Other(old)) = into.get(name).map(|node| &node.body) {
            let old = *old;
            self.hide(old);
            self.counts.changed += 1;
            State::Changed
        } else {
            self.forget(into, name);
            self.counts.added += 1;
            State::Added
        };
        into.insert(name.into(), self.node(state, Body::Other(held)));
    }

    /// Takes a name out, or marks it, with all that is below it.
    fn remove(&mut self, into: &mut Directory, name: &[u8]) {
        if self.keeps {
            if let Some(node) = into.get_mut(name) {
                self.mark(node);
            }
        } else {
            self.forget(into, name);
        }
    }

    /// Takes a name out with all that is below it.
    fn forget(&mut self, into: &mut Directory, name: &[u8]) {
        if let Some(mut node) = into.remove(name) {
            self.mark(&mut node);
        }
    }

    fn mark(&mut self, node: &mut Node) {
        if node.state_in(self.number) == State::Removed {
            return;
        }
        (node.state, node.layer) = (State::Removed, self.number);
        match &mut node.body {
            Body::Directory(directory) => directory.values_mut().for_each(|node| self.mark(node)),
            Body::Other(held) => {
                let held = *held;
                self.counts.deleted += 1;
                self.hide(held);
            }
        }
    }

    /// Takes a name from an inode, whose bytes are hidden with the last.
    fn hide(&mut self, held: Held) {
        let Some(names) = self.layers.get_mut(held.layer) else {
            return;
        };
        if let Some(left) = names.left.get_mut(&held.inode) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                names.hidden += held.size;
            }
        }
    }

    fn node(&self, state: State, body: Body) -> Node {
        Node {
            state,
            body,
            layer: self.number,
        }
    }
}

#[cfg(test)]
mod tests;

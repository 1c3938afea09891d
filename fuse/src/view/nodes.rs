//! The nodes of directory layers that the kernel knows, with the references it holds.
//!
//! A packed layer needs no such table: its nodes are found by their numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::identity::REAL_BITS;
use super::stack::{Contributor, Place};
use crate::layer::directory::RealAttr;
use crate::layer::packed::InodeIndex;
use crate::merge::Slot;
use crate::{Error, FileType, Ino, NodeId, Result};

use rustix::io::Errno;

const SHARDS: u64 = 16;
/// The capacity of a shard that is kept when its nodes are forgotten.
const SMALL: usize = 1 << 10;
/// The first number for nodes whose own number is taken.
const FIRST_ALIAS: u64 = 255 << REAL_BITS;

/// The nodes in use.
#[derive(Debug)]
pub(super) struct Nodes {
    shards: Box<[Mutex<HashMap<NodeId, Node>>]>,
    aliases: Mutex<Aliases>,
}

/// A node of a directory layer, or a directory that only a directory layer leads to.
#[derive(Clone, Debug)]
pub(super) struct Node {
    whence: Whence,
    lookups: u64,
}

/// Where a node lies. There may be very many files, of which little is kept.
#[derive(Clone, Debug)]
enum Whence {
    /// It is a name of a directory, no directory itself, and has that place in the view too.
    /// The listing has the number of its inode.
    Name(Arc<[Contributor]>, Slot),
    Told(Box<Told>),
}

/// What cannot be said in fewer words.
#[derive(Clone, Debug)]
struct Told {
    /// Where it lies; for a directory, in its uppermost layer.
    place: Place,
    /// A path in the view, for a directory the path.
    path: Arc<[u8]>,
    /// The number of the directory that it was found in.
    parent: Ino,
    is_directory: bool,
    /// The file system and its inode number.
    real: (u64, Ino),
}

/// Numbers of nodes whose own is taken: a directory that is seen at two paths, of
/// which the kernel would take the second for a move of the first, or two inodes
/// whose mixed numbers are the same. A directory of a packed layer that is seen at
/// another path than its own has such a number too, since its own says where it lies.
#[derive(Debug, Default)]
struct Aliases {
    given: u64,
    nodes: HashMap<Key, NodeId>,
}

/// What tells nodes apart that have no number of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// The path in the view.
    Directory(Arc<[u8]>),
    /// The file system and its inode number.
    File((u64, Ino)),
}

impl Node {
    /// Returns the node of a name in a directory of a directory layer, with one reference. It
    /// is no directory, and the listing has the number of its inode.
    pub(super) fn named(parts: Arc<[Contributor]>, slot: Slot) -> Self {
        Self {
            whence: Whence::Name(parts, slot),
            lookups: 1,
        }
    }

    /// Returns the node of an inode of a directory layer, with one reference.
    pub(super) fn new(place: Place, path: Arc<[u8]>, parent: Ino, real: &RealAttr) -> Self {
        let told = Told {
            place,
            path,
            parent,
            is_directory: real.file_type() == FileType::Directory,
            real: (real.device, real.attr.ino),
        };
        Self {
            whence: Whence::Told(Box::new(told)),
            lookups: 1,
        }
    }

    /// Returns the node of a directory of a packed layer, with one reference.
    pub(super) fn moved(layer: u32, index: InodeIndex, path: Arc<[u8]>, parent: Ino) -> Self {
        let told = Told {
            place: Place::Packed(layer, index),
            path,
            parent,
            is_directory: true,
            real: (0, Ino(0)),
        };
        Self {
            whence: Whence::Told(Box::new(told)),
            lookups: 1,
        }
    }

    /// Returns where it lies; for a directory, in its uppermost layer.
    pub(super) fn place(&self) -> Result<Place> {
        match &self.whence {
            Whence::Name(parts, slot) => {
                let part = parts.get(slot.contributor as usize);
                part.ok_or(Error::Refused(Errno::STALE))?
                    .place_of(slot.dentry)
            }
            Whence::Told(told) => Ok(told.place.clone()),
        }
    }

    /// Returns a path in the view, for a directory the path.
    pub(super) fn path(&self) -> Result<Arc<[u8]>> {
        match (&self.whence, self.place()?) {
            (Whence::Told(told), _) => Ok(Arc::clone(&told.path)),
            (Whence::Name(..), Place::Real(_, path)) => Ok(path),
            (Whence::Name(..), Place::Packed(..)) => Err(Error::Refused(Errno::STALE)),
        }
    }

    /// Returns the number of the directory that a directory was found in.
    pub(super) fn parent(&self) -> Option<Ino> {
        match &self.whence {
            Whence::Name(..) => None,
            Whence::Told(told) => Some(told.parent),
        }
    }

    /// Returns whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        match &self.whence {
            Whence::Name(..) => false,
            Whence::Told(told) => told.is_directory,
        }
    }

    fn key(&self) -> Key {
        match &self.whence {
            Whence::Told(told) if told.is_directory => Key::Directory(Arc::clone(&told.path)),
            Whence::Told(told) => Key::File(told.real),
            Whence::Name(parts, slot) => {
                let part = parts.get(slot.contributor as usize);
                let listed = part.and_then(|part| part.listed(slot.dentry));
                Key::File(listed.unwrap_or((0, Ino(0))))
            }
        }
    }
}

impl Nodes {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            aliases: Mutex::default(),
        }
    }

    /// Counts one more reference to a node and returns its number: the one derived
    /// from its inode, unless something else has that.
    pub(super) fn refer(&self, derived: NodeId, node: &Node) -> NodeId {
        if self.count(derived, node) {
            return derived;
        }
        self.refer_alias(node)
    }

    /// Counts one more reference to a node whose own number cannot be used.
    pub(super) fn refer_alias(&self, node: &Node) -> NodeId {
        let mut aliases = lock(&self.aliases);
        let key = node.key();
        let known = aliases.nodes.get(&key).copied();
        let alias = known.unwrap_or_else(|| {
            aliases.given += 1;
            NodeId(FIRST_ALIAS + aliases.given)
        });
        aliases.nodes.insert(key, alias);
        self.count(alias, node);
        alias
    }

    /// Returns the node of a number.
    pub(super) fn get(&self, id: NodeId) -> Option<Node> {
        lock(self.shard(id)).get(&id).cloned()
    }

    /// Takes references away; returns whether none is left.
    pub(super) fn forget(&self, id: NodeId, lookups: u64) -> bool {
        let is_alias = id.0 >= FIRST_ALIAS;
        // Before the shard, as in `refer`: an alias must not be given out while it goes.
        let mut aliases = is_alias.then(|| lock(&self.aliases));
        let mut nodes = lock(self.shard(id));
        let Some(node) = nodes.get_mut(&id) else {
            return false;
        };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups > 0 {
            return false;
        }
        if let (Some(node), Some(aliases)) = (nodes.remove(&id), aliases.as_mut()) {
            aliases.nodes.remove(&node.key());
        }
        if nodes.capacity() > SMALL && nodes.capacity() / 4 > nodes.len() {
            nodes.shrink_to_fit();
        }
        true
    }

    /// Returns the number of nodes in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn count(&self, id: NodeId, node: &Node) -> bool {
        let mut nodes = lock(self.shard(id));
        match nodes.get_mut(&id) {
            Some(known) if known.key() == node.key() => known.lookups += 1,
            Some(_) => return false,
            None => {
                nodes.insert(id, node.clone());
            }
        }
        true
    }

    fn shard(&self, id: NodeId) -> &Mutex<HashMap<NodeId, Node>> {
        &self.shards[usize::try_from(id.0 % SHARDS).unwrap_or_default()]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attr, Timestamp};

    fn node(path: &str, file_type: FileType, ino: u64) -> Node {
        let time = Timestamp::default();
        let attr = Attr {
            ino: Ino(ino),
            size: 0,
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            mode: file_type.mode_bits(),
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
        };
        let path: Arc<[u8]> = path.as_bytes().into();
        let place = Place::Real(0, Arc::clone(&path));
        Node::new(place, path, Ino(1), &RealAttr { device: 1, attr })
    }

    #[test]
    fn a_file_of_a_layer_takes_few_bytes() {
        assert!(size_of::<(NodeId, Node)>() <= 40);
    }

    #[test]
    fn memory_goes_back_with_the_last_reference() {
        let nodes = Nodes::new();
        let id = NodeId(5);
        let file = node("a", FileType::Regular, 5);
        assert_eq!(nodes.refer(id, &file), id);
        assert_eq!(
            nodes.refer(id, &node("b", FileType::Regular, 5)),
            id,
            "a hard link"
        );
        assert!(!nodes.forget(id, 1));
        assert!(nodes.forget(id, 1));
        assert!(!nodes.forget(id, 1), "more than was given is no harm");
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn a_number_that_is_taken_is_not_shared() {
        let id = NodeId(5);
        for (why, one, other) in [
            (
                "a directory at two paths",
                ("a", FileType::Directory, 5),
                ("b", FileType::Directory, 5),
            ),
            (
                "two inodes with one mixed number",
                ("a", FileType::Regular, 5),
                ("b", FileType::Regular, 6),
            ),
        ] {
            let nodes = Nodes::new();
            let other = node(other.0, other.1, other.2);
            assert_eq!(nodes.refer(id, &node(one.0, one.1, one.2)), id, "{why}");
            let alias = nodes.refer(id, &other);
            assert_ne!(alias, id, "{why}");
            assert_eq!(nodes.refer(id, &other), alias, "{why}: the same again");
            assert!(nodes.forget(alias, 2) && nodes.forget(id, 1), "{why}");
            assert_eq!(
                (nodes.len(), lock(&nodes.aliases).nodes.len()),
                (0, 0),
                "{why}"
            );
        }
    }
}

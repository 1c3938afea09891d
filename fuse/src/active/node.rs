//! One node that the kernel knows: where its inode is, and what is open of it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::names::{Name, Names};
use super::upper::Inode;
use crate::kernel::backing::Backing;
use crate::{Attr, FileType, Ino, NodeId};

/// A node. It is one content at any time, whatever handles are open.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) file_type: FileType,
    /// Held by the one thread that copies the node up.
    copying: Mutex<()>,
    state: Mutex<State>,
    /// What is in a directory.
    directory: RwLock<Directory>,
}

/// Where the inode of a node is.
#[derive(Debug)]
pub(super) struct State {
    /// `st_ino`.
    pub(super) ino: Ino,
    /// What the upper has of it.
    pub(super) presence: Presence,
    /// The node of the layers below that it is, or whose contents it has.
    pub(super) lower: Option<NodeId>,
    /// Handles that are open.
    pub(super) opens: u32,
    /// The inode in the upper, kept open while a handle is, and where it has no name.
    pub(super) kept: Option<Inode>,
    /// Whether `kept` can be read and written.
    pub(super) is_file: bool,
    /// The registration of the file with the kernel, while it reads and writes by itself.
    pub(super) backing: Option<Backing>,
    /// Whether the kernel's cache may be older than the contents.
    pub(super) is_cache_stale: bool,
    /// The attributes at the time when the last name went.
    pub(super) gone: Option<Box<Attr>>,
}

/// What the upper has of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing.
    Lower,
    /// All but the contents; the number is that of the inode in the upper.
    Metadata(Ino),
    /// Everything.
    Upper(Ino),
}

impl Presence {
    /// Returns the number of the inode in the upper.
    pub(super) fn upper_ino(self) -> Option<Ino> {
        match self {
            Self::Lower => None,
            Self::Metadata(ino) | Self::Upper(ino) => Some(ino),
        }
    }
}

/// What is in a directory of the view.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// The names in the upper, once they are read.
    pub(super) names: Option<Box<Names>>,
    /// The directory of the layers below that it merges with.
    pub(super) lower: Option<NodeId>,
    /// It was taken away; nothing can be made in it.
    pub(super) is_removed: bool,
}

impl Directory {
    /// Returns what the upper has for a name; its names have to be read.
    pub(super) fn name(&self, name: &[u8]) -> Option<&Name> {
        self.names.as_ref()?.get(name)
    }
}

impl Node {
    pub(super) fn new(id: NodeId, file_type: FileType, found: Found) -> Self {
        let is_directory = file_type == FileType::Directory;
        Self {
            id,
            file_type,
            copying: Mutex::default(),
            state: Mutex::new(State {
                ino: found.ino,
                presence: found.presence,
                lower: found.lower,
                opens: 0,
                kept: None,
                is_file: false,
                backing: None,
                is_cache_stale: false,
                gone: None,
            }),
            directory: RwLock::new(Directory {
                names: (is_directory && found.presence == Presence::Lower).then(Box::default),
                lower: found.lower,
                is_removed: false,
            }),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Waits until no other thread copies the node up.
    pub(super) fn copying(&self) -> MutexGuard<'_, ()> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the node below where the upper has nothing of this one.
    pub(super) fn lower_alone(&self) -> Option<NodeId> {
        let state = self.state();
        state.lower.filter(|_| state.presence == Presence::Lower)
    }

    pub(super) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps an inode of the upper open as a file.
    pub(super) fn keep_file(&mut self, file: OwnedFd) -> Inode {
        let inode = Inode(Arc::new(file));
        self.kept = Some(inode.clone());
        self.is_file = true;
        inode
    }
}

/// What a look-up found behind a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) ino: Ino,
    pub(super) presence: Presence,
    pub(super) lower: Option<NodeId>,
}

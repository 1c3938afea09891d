//! One node that the kernel knows: where its inode is, and what is open of it.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    /// What is in a directory; of which there are few among many files.
    directory: Option<Box<RwLock<Directory>>>,
}

/// What is in what is no directory.
static NOTHING: RwLock<Directory> = RwLock::new(Directory {
    names: None,
    lower: None,
    is_removed: true,
});

/// Where the inode of a node is.
#[derive(Debug)]
pub(super) struct State {
    /// `st_ino`.
    pub(super) ino: Ino,
    /// What the upper has of it.
    pub(super) presence: Presence,
    /// The number of the node of the layers below that it is, or whose contents it has.
    lower: Option<NonZeroU64>,
    /// What there is only of a node that somebody uses, or that has lost its name.
    used: Option<Box<Used>>,
}

/// What is open of a node, and what is left of one without a name.
#[derive(Debug, Default)]
pub(super) struct Used {
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
                lower: found.lower.and_then(|lower| NonZeroU64::new(lower.0)),
                used: None,
            }),
            directory: is_directory.then(|| {
                Box::new(RwLock::new(Directory {
                    names: (found.presence == Presence::Lower).then(Box::default),
                    lower: found.lower,
                    is_removed: false,
                }))
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
        state.lower().filter(|_| state.presence == Presence::Lower)
    }

    /// Locks what is in the directory, to read.
    pub(super) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        let directory = self.directory.as_deref().unwrap_or(&NOTHING);
        directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks what is in the directory, to change. Nobody asks this of what is none.
    pub(super) fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        let directory = self.directory.as_deref().unwrap_or(&NOTHING);
        directory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the node of the layers below that it is, or whose contents it has.
    pub(super) fn lower(&self) -> Option<NodeId> {
        self.lower.map(|lower| NodeId(lower.get()))
    }

    /// Returns how many handles are open.
    pub(super) fn opens(&self) -> u32 {
        self.used.as_ref().map_or(0, |used| used.opens)
    }

    /// Returns the inode in the upper, where it is kept open.
    pub(super) fn kept(&self) -> Option<&Inode> {
        self.used.as_ref()?.kept.as_ref()
    }

    /// Returns the same where it can be read and written.
    pub(super) fn kept_file(&self) -> Option<&Inode> {
        let used = self.used.as_ref().filter(|used| used.is_file)?;
        used.kept.as_ref()
    }

    /// Returns the attributes at the time when the last name went, if nothing else has them.
    pub(super) fn gone(&self) -> Option<&Attr> {
        let used = self.used.as_ref().filter(|used| used.kept.is_none())?;
        used.gone.as_deref()
    }

    /// Returns the same, to change them.
    pub(super) fn gone_mut(&mut self) -> Option<&mut Attr> {
        let used = self.used.as_mut().filter(|used| used.kept.is_none())?;
        used.gone.as_deref_mut()
    }

    /// Returns what there is of a node that is in use.
    pub(super) fn used(&mut self) -> &mut Used {
        self.used.get_or_insert_default()
    }

    /// Gives the memory back of a node that is not in use any more.
    pub(super) fn tidy(&mut self) {
        let is_unused = |used: &Used| {
            used.opens == 0 && used.kept.is_none() && used.gone.is_none() && !used.is_cache_stale
        };
        if self.used.as_deref().is_some_and(is_unused) {
            self.used = None;
        }
    }

    /// Keeps an inode of the upper open as a file.
    pub(super) fn keep_file(&mut self, file: Inode) {
        let used = self.used();
        used.kept = Some(file);
        used.is_file = true;
    }
}

/// What a look-up found behind a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) ino: Ino,
    pub(super) presence: Presence,
    pub(super) lower: Option<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_nobody_uses_takes_few_bytes() {
        assert!(size_of::<Node>() <= 80, "{}", size_of::<Node>());
    }
}

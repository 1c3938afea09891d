//! From paths to descriptors, beneath the root of a layer.
//!
//! Nothing is followed, and no mount is entered. A layer keeps the directories that were used
//! last open: requests mostly come for one directory after the other.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{DirectoryLayer, xattr};
use crate::Result;

/// Longest piece of a path that is given to the kernel at once; `PATH_MAX` is 4096.
const LONGEST_WALK: usize = 4000;

/// How many directories of a layer are kept open, at least and at most: a view may have 500
/// layers, and a caller may look names up in many directories at once.
const KEPT: (usize, usize) = (2, 16);

/// How many directories all layers of a view keep open, unless there are too many layers.
const KEPT_BY_ALL: usize = 256;

/// Directories of a layer that are open as places for names, the one used last in front.
#[derive(Debug)]
pub(super) struct Opened {
    kept: Mutex<Vec<Place>>,
    most: AtomicUsize,
}

/// A directory and its path.
type Place = (Box<[u8]>, Arc<OwnedFd>);

impl Default for Opened {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            most: AtomicUsize::new(KEPT.1),
        }
    }
}

impl Opened {
    fn get(&self, path: &[u8]) -> Option<Arc<OwnedFd>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let position = kept.iter().position(|(known, _)| **known == *path)?;
        kept.get_mut(..=position)?.rotate_right(1);
        kept.first().map(|(_, directory)| Arc::clone(directory))
    }

    fn keep(&self, path: &[u8], directory: &Arc<OwnedFd>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(0, (path.into(), Arc::clone(directory)));
        let most = self.most.load(Ordering::Relaxed);
        let gone = (kept.len() > most).then(|| kept.pop());
        drop(kept);
        drop(gone);
    }
}

impl DirectoryLayer {
    /// Takes note that a view has so many layers, which share what may be kept open.
    pub(crate) fn is_one_of(&self, layers: usize) {
        let share = (KEPT_BY_ALL / layers.max(1)).clamp(KEPT.0, KEPT.1);
        self.opened.most.fetch_min(share, Ordering::Relaxed);
    }

    /// Opens the directory at a path as a place for names.
    pub(crate) fn open_directory(&self, path: &[u8]) -> Result<Arc<OwnedFd>> {
        if let Some(directory) = self.opened.get(path) {
            return Ok(directory);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = Arc::new(self.open_from_root(path, flags)?);
        self.opened.keep(path, &directory);
        Ok(directory)
    }

    /// Opens what is at a path.
    pub(super) fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let (above, name) = split(path);
        let above = self.open_directory(above)?;
        walk(&*above, name, flags).map_err(self.failed("open", path))
    }

    /// Returns the names of all attributes of a name, or `None` where that takes a
    /// descriptor: of an old kernel, and where something may be mounted over it.
    pub(super) fn stored_names_at(
        &self,
        directory: &OwnedFd,
        name: &[u8],
    ) -> Option<rustix::io::Result<Vec<Vec<u8>>>> {
        if self.is_private {
            xattr::stored_names_at(directory, at(name))
        } else {
            None
        }
    }

    /// Returns the value of an attribute of a name, under the same conditions.
    pub(super) fn stored_value_at(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        attribute: &[u8],
    ) -> Option<rustix::io::Result<Option<Vec<u8>>>> {
        if self.is_private {
            xattr::stored_value_at(directory, at(name), attribute)
        } else {
            None
        }
    }

    fn open_from_root(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        let failed = || self.failed("open", path);
        let mut rest = path;
        let mut directory: Option<OwnedFd> = None;
        while rest.len() > LONGEST_WALK {
            let cut = rest
                .get(..LONGEST_WALK)
                .and_then(|head| head.iter().rposition(|byte| *byte == b'/'));
            let (head, tail) = rest.split_at(cut.ok_or(Errno::NAMETOOLONG).map_err(failed())?);
            let base = directory.as_ref().unwrap_or(&self.root);
            directory = Some(walk(base, head, OFlags::PATH | OFlags::DIRECTORY).map_err(failed())?);
            rest = tail.strip_prefix(b"/").unwrap_or(tail);
        }
        walk(directory.as_ref().unwrap_or(&self.root), rest, flags).map_err(failed())
    }
}

/// Returns the path of the directory above, and the name in it; none for the root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (
            path.get(..slash).unwrap_or_default(),
            path.get(slash + 1..).unwrap_or_default(),
        ),
        None => (&[], path),
    }
}

/// Returns the name by which a directory is told from what is in it.
pub(super) fn at(name: &[u8]) -> &[u8] {
    if name.is_empty() { b"." } else { name }
}

/// Opens a path beneath a directory. Where the owner allows it, reading leaves no
/// trace in the times of the layer.
pub(super) fn walk(base: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = at(path);
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let open = |flags| rustix::fs::openat2(&base, path, flags, Mode::empty(), resolve);
    if flags.contains(OFlags::PATH) {
        return open(flags);
    }
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    }
}

//! Writes what a snapshot has changed as an OCI layer.
//!
//! The form is containerd's: changes in the order of the walk, each after the directories
//! that lead to it; a removed name as an empty file `.wh.NAME`; of a file with several
//! names the first with the contents and the others as hard links. Sockets are left out,
//! for no tar has them. Unlike containerd's, a layer has all extended attributes and
//! times to the nanosecond, and a directory that hides all that was in it is marked by
//! `.wh..wh..opq`.

use std::collections::HashMap;
use std::io::Write;

use mica_fuse::{Attr, Entry, FileType, Ino, Timestamp, View};

use super::DiffError;
use super::archive::{Archive, CopyError, EntryType, Header};
use super::error::shown;
use super::tree::{Xattrs, file_type, is_of_new_upper, link_target, xattrs};
use super::walk::{Status, Visit};

/// What begins the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";
/// The name of the mark in an opaque directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What overlayfs keeps for itself; attributes of these names are those of an overlayfs
/// in the tree, and are stored under a longer name as overlayfs does.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// A layer that is being written.
#[derive(Debug)]
pub(super) struct LayerWriter<'v, W> {
    view: &'v View,
    /// Whether there are layers below.
    has_parent: bool,
    /// Later times are written as this, in seconds.
    latest: Option<i64>,
    archive: Archive<W>,
    /// Directories on the way to the present name that are not written yet.
    pending: Vec<(Vec<u8>, Entry)>,
    /// The opaque directory that the present name is in.
    opaque: Option<Vec<u8>>,
    /// The first names of files that have several.
    linked: HashMap<Ino, Vec<u8>>,
}

impl<'v, W: Write> LayerWriter<'v, W> {
    pub(super) fn new(view: &'v View, has_parent: bool, latest: Option<i64>, output: W) -> Self {
        Self {
            view,
            has_parent,
            latest,
            archive: Archive::new(output),
            pending: Vec::new(),
            opaque: None,
            linked: HashMap::new(),
        }
    }

    /// Writes what a step of the walk has found.
    pub(super) fn visit(&mut self, visit: Visit<'_>) -> Result<(), DiffError> {
        let Visit { path, status, .. } = visit;
        self.pending.retain(|(above, _)| is_at_or_in(path, above));
        self.opaque = self.opaque.take().filter(|above| is_at_or_in(path, above));
        let is_hidden_below = self.opaque.is_some();
        match (status, visit.entry) {
            // The mark says it.
            (Status::Deleted | Status::Opaque, _) if is_hidden_below => Ok(()),
            (Status::Deleted, _) | (_, None) => self.whiteout(path),
            (Status::Opaque, Some(_)) => {
                self.opaque = Some(path.to_vec());
                self.mark(join(path, OPAQUE))
            }
            (Status::Touched | Status::Unchanged, Some(entry)) if path.is_empty() => {
                self.unchanged_root(entry)
            }
            (Status::Unchanged, Some(entry)) if !is_hidden_below => {
                self.pending.push((path.to_vec(), entry));
                Ok(())
            }
            // Without it the file that was there would show again.
            (Status::Modified, Some(entry)) if is_socket(&entry.attr) => self.whiteout(path),
            (_, Some(entry)) if is_socket(&entry.attr) => Ok(()),
            (_, Some(entry)) => {
                self.parents()?;
                self.entry(path, entry)
            }
        }
    }

    /// Ends the layer.
    pub(super) fn finish(self) -> Result<W, DiffError> {
        self.archive.finish().map_err(DiffError::Write)
    }

    /// Writes the root of a tree without a parent, unless it looks as a layer's root does
    /// by itself. Everywhere else its time of modification, which changes with each
    /// snapshot, is no change.
    fn unchanged_root(&mut self, root: Entry) -> Result<(), DiffError> {
        let Attr { mode, uid, gid, .. } = root.attr;
        let is_implied = ((mode & 0o7777, uid, gid) == (0o755, 0, 0)
            || is_of_new_upper(&root.attr))
            && self.xattrs(b"", root)?.is_empty();
        if self.has_parent || is_implied {
            return Ok(());
        }
        self.entry(b"", root)
    }

    /// Writes the directories that lead to the present name.
    fn parents(&mut self) -> Result<(), DiffError> {
        for (path, directory) in std::mem::take(&mut self.pending) {
            self.entry(&path, directory)?;
        }
        Ok(())
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<(), DiffError> {
        let (above, name) = split(path);
        self.mark(join(above, &[WHITEOUT, name].concat()))
    }

    fn mark(&mut self, path: Vec<u8>) -> Result<(), DiffError> {
        self.parents()?;
        let header = Header {
            path,
            entry_type: EntryType::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::default(),
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        };
        self.archive.header(&header).map_err(DiffError::Write)
    }

    fn entry(&mut self, path: &[u8], entry: Entry) -> Result<(), DiffError> {
        if split(path).1.starts_with(WHITEOUT) {
            return Err(DiffError::Name(shown(path)));
        }
        let header = self.of(path, entry)?;
        self.archive.header(&header).map_err(DiffError::Write)?;
        if header.size == 0 {
            return Ok(());
        }
        let reader = self
            .view
            .reader(entry.node)
            .map_err(DiffError::read(path))?;
        let copied = self.archive.contents(reader, header.size);
        copied.map_err(|error| match error {
            CopyError::Read(error) => DiffError::contents(path)(error),
            CopyError::Write(error) => DiffError::Write(error),
        })
    }

    fn of(&mut self, path: &[u8], entry: Entry) -> Result<Header, DiffError> {
        let attr = &entry.attr;
        let mut header = Header {
            path: path.to_vec(),
            entry_type: EntryType::Regular,
            mode: attr.mode & 0o7777,
            uid: attr.uid,
            gid: attr.gid,
            size: 0,
            mtime: self.clamped(attr.mtime),
            link: Vec::new(),
            device: (0, 0),
            xattrs: self.xattrs(path, entry)?,
        };
        if let Some(first) = self.first_name(path, attr) {
            header.entry_type = EntryType::HardLink;
            header.link = first;
            return Ok(header);
        }
        header.entry_type = match file_type(attr) {
            FileType::Directory => {
                let name: &[u8] = if path.is_empty() { b"./" } else { b"/" };
                header.path.extend_from_slice(name);
                EntryType::Directory
            }
            FileType::Symlink => {
                let target = link_target(self.view, entry.node);
                header.link = target.map_err(DiffError::read(path))?;
                EntryType::Symlink
            }
            FileType::CharDevice => EntryType::CharDevice,
            FileType::BlockDevice => EntryType::BlockDevice,
            FileType::Fifo => EntryType::Fifo,
            FileType::Regular | FileType::Socket => {
                header.size = attr.size;
                EntryType::Regular
            }
        };
        if matches!(
            header.entry_type,
            EntryType::CharDevice | EntryType::BlockDevice
        ) {
            header.device = device(attr.rdev);
        }
        Ok(header)
    }

    /// Returns the name that an inode was written under; `None` where this is the first.
    fn first_name(&mut self, path: &[u8], attr: &Attr) -> Option<Vec<u8>> {
        if attr.nlink < 2 || file_type(attr) == FileType::Directory {
            return None;
        }
        if let Some(first) = self.linked.get(&attr.ino) {
            return Some(first.clone());
        }
        self.linked.insert(attr.ino, path.to_vec());
        None
    }

    fn xattrs(&self, path: &[u8], entry: Entry) -> Result<Xattrs, DiffError> {
        let xattrs = xattrs(self.view, entry.node).map_err(DiffError::read(path))?;
        let stored = |(name, value): (Vec<u8>, Vec<u8>)| {
            if name.contains(&b'=') {
                return Err(DiffError::Xattr {
                    path: shown(path),
                    name: shown(&name),
                });
            }
            Ok((stored_name(name), value))
        };
        xattrs.into_iter().map(stored).collect()
    }

    fn clamped(&self, time: Timestamp) -> Timestamp {
        let latest = self.latest.map(|seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        });
        latest.map_or(time, |latest| time.min(latest))
    }
}

/// Returns the name under which a layer has an attribute that is shown as `name`.
fn stored_name(name: Vec<u8>) -> Vec<u8> {
    for own in OVERLAY {
        if let Some(rest) = name.strip_prefix(own) {
            return [own, b"overlay.", rest].concat();
        }
    }
    name
}

fn is_socket(attr: &Attr) -> bool {
    file_type(attr) == FileType::Socket
}

/// Returns whether a path is that of a directory or of something in it.
fn is_at_or_in(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (
            path.get(..slash).unwrap_or_default(),
            path.get(slash + 1..).unwrap_or_default(),
        ),
        None => (b"", path),
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

/// Returns the numbers of a device.
fn device(rdev: u32) -> (u32, u32) {
    (rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xf_ff00)
}

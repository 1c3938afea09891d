//! The tree of one layer in the course of being read from its archive.
//!
//! Entries are applied in order, as unpacking them would: a later entry replaces an
//! earlier one, directories merge, hard links share an inode. Whiteouts and opaque
//! marks are kept beside the names that this layer has, since they act on lower
//! layers only.
//!
//! What was replaced stays in the tables until the index is written, which walks
//! from the root and so leaves out whatever has no name any more.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::format::INODE_LIMIT;
use super::name::{COMPONENT_LIMIT, Mark, PATH_LIMIT, components};
use super::strings::{StringRef, Strings};
use super::xattrs::XattrTable;
use crate::tar::{Entry, EntryKind, Extent, TarFault};
use crate::{FileType, Timestamp};

mod link;
mod walk;

/// The root in the table of inodes.
pub(super) const ROOT: u32 = 0;
/// No inode, no dentry.
pub(super) const NONE: u32 = u32::MAX;

/// The tree of one layer.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) strings: Strings,
    pub(super) inodes: Vec<Node>,
    pub(super) dentries: Vec<Binding>,
    pub(super) extents: Vec<Extent>,
    pub(super) xattrs: XattrTable,
    /// Dentries by directory and name.
    known: HashTable<u32>,
    hasher: RandomState,
    /// The hard links whose targets were not there when they came.
    pub(super) unresolved: Vec<Unresolved>,
    /// The directory part of the last path and the directory that it led to.
    last_parent: Option<(Vec<u8>, u32)>,
}

/// An inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Permission bits; the type is the contents'.
    pub(super) mode: u16,
    pub(super) is_implied: bool,
    pub(super) is_opaque: bool,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nanoseconds: u32,
    pub(super) seconds: i64,
    /// As in [`InodeRecord`](super::format::InodeRecord).
    pub(super) xattrs: u32,
    pub(super) content: Content,
}

/// What an inode holds, by type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// A regular file in one piece.
    File {
        offset: u64,
        size: u64,
    },
    /// A regular file in parts.
    Sparse {
        size: u64,
        first: u32,
        count: u32,
    },
    Directory {
        parent: u32,
        dentry: u32,
    },
    Symlink(StringRef),
    Device {
        file_type: FileType,
        number: u32,
    },
    Fifo,
    /// A hard link whose target was not there when it came.
    Link {
        path: StringRef,
    },
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) directory: u32,
    pub(super) name: StringRef,
    /// [`NONE`] where there is nothing but a whiteout.
    pub(super) inode: u32,
    pub(super) is_whiteout: bool,
}

/// A hard link whose target was not there when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unresolved {
    /// The inode that stands for the target.
    pub(super) inode: u32,
    /// The name of the link.
    pub(super) dentry: u32,
    /// The offset of its header in the archive.
    pub(super) offset: u64,
}

impl Tree {
    /// Returns a tree with nothing but a root that no entry names.
    pub(super) fn new() -> Self {
        Self {
            strings: Strings::default(),
            inodes: vec![Node::implied(ROOT, NONE)],
            dentries: Vec::new(),
            extents: Vec::new(),
            xattrs: XattrTable::default(),
            known: HashTable::new(),
            hasher: RandomState::new(),
            unresolved: Vec::new(),
            last_parent: None,
        }
    }

    /// Applies the next entry of the archive.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), TarFault> {
        let path = components(&entry.name)?;
        let Some((last, parents)) = path.split_last() else {
            // Only a directory can be the root; its attributes are shown.
            if entry.kind == EntryKind::Directory {
                self.set_attributes(ROOT, entry)?;
            }
            return Ok(());
        };
        let directory = self.parent(&entry.name, parents)?;
        match Mark::of(last)? {
            Mark::Plain(name) => self.place(directory, name, entry),
            Mark::Opaque => {
                self.inodes[directory as usize].is_opaque = true;
                Ok(())
            }
            Mark::Whiteout(name) => {
                let dentry = self.dentry(directory, name)?;
                self.dentries[dentry as usize].is_whiteout = true;
                Ok(())
            }
        }
    }

    /// Returns the inode behind a name, [`NONE`] if there is none.
    pub(super) fn child(&self, directory: u32, name: &[u8]) -> u32 {
        let name = self.strings.find(name);
        let dentry = name.and_then(|name| self.find(directory, name));
        dentry.map_or(NONE, |dentry| self.dentries[dentry as usize].inode)
    }

    fn parent(&mut self, path: &[u8], parents: &[&[u8]]) -> Result<u32, TarFault> {
        // The directory part as it is written: equal bytes lead to the same place
        // as long as no name changes its inode. A trailing slash or dots in the last
        // component make another directory part, and cost no more than a walk.
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let is_plain = !matches!(path.get(end + 1..), None | Some(b"" | b"." | b".."));
        if let Some((known, directory)) = &self.last_parent
            && is_plain
            && end > 0
            && path[..end] == known[..]
        {
            return Ok(*directory);
        }
        let directory = self.make_directories(parents)?;
        if is_plain && end > 0 {
            self.last_parent = Some((path[..end].to_vec(), directory));
        }
        Ok(directory)
    }

    fn place(&mut self, directory: u32, name: &[u8], entry: &Entry) -> Result<(), TarFault> {
        if entry.kind == EntryKind::HardLink {
            return self.place_link(directory, name, entry);
        }
        let dentry = self.dentry(directory, name)?;
        let old = self.dentries[dentry as usize].inode;
        let is_directory = |inode: u32| {
            self.inodes
                .get(inode as usize)
                .is_some_and(|node| node.content.is_directory())
        };
        if entry.kind == EntryKind::Directory && is_directory(old) {
            return self.set_attributes(old, entry);
        }
        let content = self.content(directory, dentry, entry)?;
        let mut node = Node::implied(directory, dentry);
        node.content = content;
        let inode = self.add_inode(node)?;
        self.set_attributes(inode, entry)?;
        self.set_target(dentry, inode);
        Ok(())
    }

    /// Gives an inode the attributes of an entry. Extended attributes are added to
    /// those that it has. The mode of a symbolic link is always 0777.
    fn set_attributes(&mut self, inode: u32, entry: &Entry) -> Result<(), TarFault> {
        let node = &mut self.inodes[inode as usize];
        let mtime = shown_time(entry.mtime);
        node.is_implied = false;
        node.mode = match node.content {
            Content::Symlink(_) => 0o777,
            // Masked by the parser.
            _ => u16::try_from(entry.mode & 0o7777).unwrap_or_default(),
        };
        (node.uid, node.gid) = (entry.uid, entry.gid);
        (node.seconds, node.nanoseconds) = (mtime.seconds, mtime.nanoseconds);
        if !entry.xattrs.is_empty() {
            node.xattrs = self
                .xattrs
                .add(node.xattrs, &entry.xattrs, &mut self.strings)?;
        }
        Ok(())
    }

    fn content(&mut self, directory: u32, dentry: u32, entry: &Entry) -> Result<Content, TarFault> {
        let device = |file_type| {
            let (major, minor) = entry.device;
            Content::Device {
                file_type,
                number: minor & 0xff | major << 8 | (minor & !0xff) << 12,
            }
        };
        Ok(match entry.kind {
            EntryKind::Regular => self.file(entry)?,
            EntryKind::Directory => Content::Directory {
                parent: directory,
                dentry,
            },
            EntryKind::Symlink => match &entry.link[..] {
                [] => return Err(TarFault::EmptyLink),
                link if link.len() > PATH_LIMIT => return Err(TarFault::NameTooLong),
                link => Content::Symlink(self.strings.add(link)?),
            },
            EntryKind::CharDevice => device(FileType::CharDevice),
            EntryKind::BlockDevice => device(FileType::BlockDevice),
            // Hard links have no contents of their own and do not come here.
            EntryKind::Fifo | EntryKind::HardLink => Content::Fifo,
        })
    }

    fn file(&mut self, entry: &Entry) -> Result<Content, TarFault> {
        let size = entry.size;
        match &entry.extents[..] {
            [] if size == 0 => Ok(Content::File { offset: 0, size }),
            [one] if one.logical == 0 && one.length == size => Ok(Content::File {
                offset: one.offset,
                size,
            }),
            extents => {
                let first = u32::try_from(self.extents.len()).map_err(|_| TarFault::TooLarge)?;
                let count = u32::try_from(extents.len()).map_err(|_| TarFault::TooLarge)?;
                first.checked_add(count).ok_or(TarFault::TooLarge)?;
                self.extents.extend_from_slice(extents);
                Ok(Content::Sparse { size, first, count })
            }
        }
    }

    fn add_inode(&mut self, node: Node) -> Result<u32, TarFault> {
        let inode = u32::try_from(self.inodes.len()).map_err(|_| TarFault::TooLarge)?;
        if self.inodes.len() >= INODE_LIMIT {
            return Err(TarFault::TooLarge);
        }
        self.inodes.push(node);
        Ok(inode)
    }

    /// Puts an inode behind a name. Paths that led through an earlier one are
    /// forgotten.
    fn set_target(&mut self, dentry: u32, inode: u32) {
        let name = &mut self.dentries[dentry as usize];
        if std::mem::replace(&mut name.inode, inode) != NONE {
            self.last_parent = None;
        }
    }

    /// Returns the dentry of a name, making one without an inode where there is none.
    fn dentry(&mut self, directory: u32, name: &[u8]) -> Result<u32, TarFault> {
        if name.len() > COMPONENT_LIMIT {
            return Err(TarFault::NameTooLong);
        }
        let name = self.strings.add(name)?;
        if let Some(dentry) = self.find(directory, name) {
            return Ok(dentry);
        }
        if self.dentries.len() >= INODE_LIMIT {
            return Err(TarFault::TooLarge);
        }
        let dentry = u32::try_from(self.dentries.len()).map_err(|_| TarFault::TooLarge)?;
        self.dentries.push(Binding {
            directory,
            name,
            inode: NONE,
            is_whiteout: false,
        });
        let (dentries, hasher) = (&self.dentries, &self.hasher);
        let hash = hasher.hash_one((directory, name.offset));
        self.known.insert_unique(hash, dentry, |dentry| {
            let dentry = &dentries[*dentry as usize];
            hasher.hash_one((dentry.directory, dentry.name.offset))
        });
        Ok(dentry)
    }

    fn find(&self, directory: u32, name: StringRef) -> Option<u32> {
        let hash = self.hasher.hash_one((directory, name.offset));
        let is_same = |dentry: &u32| {
            let dentry = &self.dentries[*dentry as usize];
            dentry.directory == directory && dentry.name == name
        };
        self.known.find(hash, is_same).copied()
    }
}

impl Node {
    /// Returns a directory that no entry names.
    fn implied(parent: u32, dentry: u32) -> Self {
        Self {
            mode: 0o755,
            is_implied: true,
            is_opaque: false,
            uid: 0,
            gid: 0,
            nanoseconds: 0,
            seconds: 0,
            xattrs: 0,
            content: Content::Directory { parent, dentry },
        }
    }
}

impl Content {
    pub(super) fn is_directory(self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

/// Returns the time that is shown: 0 for what lies before 1970 or after the last
/// nanosecond of 64 bits, as containerd has it.
fn shown_time(time: Timestamp) -> Timestamp {
    let last = Timestamp {
        seconds: 9_223_372_036,
        nanoseconds: 854_775_807,
    };
    if time < Timestamp::default() || time > last {
        Timestamp::default()
    } else {
        time
    }
}

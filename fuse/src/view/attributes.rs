//! What `stat` shows of the nodes of a view.

use rustix::io::Errno;

use super::View;
use super::directory::Directory;
use super::stack::Place;
use crate::layer::directory::RealAttr;
use crate::layer::packed::{Inode, InodeIndex};
use crate::{Attr, Error, Ino, NodeId, Reply, Result};

/// Permission bits of a mode, set-id and sticky bits included.
const PERMISSIONS: u32 = 0o7777;
/// Bytes in a block of `st_blocks`.
const BLOCK: u64 = 512;

impl View {
    /// Answers `stat`.
    pub(super) fn get_attr(&self, node: NodeId) -> Result<Reply<'_>> {
        let attr = if let Some(directory) = self.directory_if_any(node)? {
            self.directory_attr(&directory)?
        } else {
            match self.place(node)? {
                Place::Packed(layer, index) => self.packed_attr(layer, index)?,
                Place::Real(layer, path) => {
                    let real = self.stack.directory(layer)?.attr(&path)?;
                    self.real_attr(&real)?
                }
            }
        };
        Ok(Reply::Attr(attr))
    }

    /// Returns the attributes of a directory: those of the layer that names it
    /// explicitly, with the number of the uppermost (rules 6, 8, 9).
    pub(super) fn directory_attr(&self, directory: &Directory) -> Result<Attr> {
        let attr = match directory.shown()? {
            Place::Packed(layer, index) => {
                attr_of(&self.stack.packed(layer)?.inode(index)?, Ino(0))
            }
            Place::Real(layer, path) => self.stack.directory(layer)?.attr(&path)?.attr,
        };
        let nlink = directory.nlink(&self.stack)?;
        Ok(Attr {
            ino: directory.ino(&self.stack),
            nlink,
            ..attr
        })
    }

    /// Returns the attributes of an inode of a packed layer that is no directory.
    pub(super) fn packed_attr(&self, layer: u32, index: InodeIndex) -> Result<Attr> {
        let inode = self.stack.packed(layer)?.inode(index)?;
        self.with_links(attr_of(&inode, self.stack.identity.packed(layer, index)))
    }

    /// Returns the attributes of an inode of a directory layer.
    pub(super) fn real_attr(&self, real: &RealAttr) -> Result<Attr> {
        self.with_links(Attr {
            ino: self.stack.identity.real(real),
            ..real.attr
        })
    }

    /// Answers `access(2)` for the one user who can reach the mount, who may do
    /// everything but what the file itself rules out (rule 12).
    pub(super) fn check_access(&self, node: NodeId, mask: u32) -> Result<Reply<'_>> {
        const WRITE: u32 = 2;
        const EXECUTE: u32 = 1;
        let Reply::Attr(attr) = self.get_attr(node)? else {
            return Err(Error::Refused(Errno::IO));
        };
        let is_kind = |kind| attr.mode & libc::S_IFMT == kind;
        if mask & WRITE != 0
            && [libc::S_IFREG, libc::S_IFDIR, libc::S_IFLNK]
                .into_iter()
                .any(is_kind)
        {
            return Err(Error::Refused(Errno::ROFS));
        }
        if mask & EXECUTE != 0 && is_kind(libc::S_IFREG) && attr.mode & 0o111 == 0 {
            return Err(Error::Refused(Errno::ACCESS));
        }
        Ok(Reply::Done)
    }

    /// Applies what hard links from upper layers change (rule 7).
    fn with_links(&self, attr: Attr) -> Result<Attr> {
        let Some(shared) = self.links.shared(attr.ino) else {
            return Ok(attr);
        };
        let header = self.stack.packed(shared.layer)?.inode(shared.header)?;
        Ok(Attr {
            mode: attr.mode & !PERMISSIONS | header.mode & PERMISSIONS,
            uid: header.uid,
            gid: header.gid,
            atime: header.mtime,
            mtime: header.mtime,
            ctime: header.mtime,
            nlink: attr.nlink.saturating_add(shared.links),
            ..attr
        })
    }
}

fn attr_of(inode: &Inode, ino: Ino) -> Attr {
    Attr {
        ino,
        size: inode.size,
        blocks: inode.size.div_ceil(BLOCK),
        atime: inode.mtime,
        mtime: inode.mtime,
        ctime: inode.mtime,
        mode: inode.mode,
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
    }
}

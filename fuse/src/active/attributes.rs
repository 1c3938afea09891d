//! What `stat` shows, and what `chmod`, `chown`, `truncate` and `utimensat` change.

use rustix::io::Errno;

use super::copy_up::Contents;
use super::node::{Node, Presence};
use super::{ActiveView, asked};
use crate::{Attr, Caller, Error, NodeId, Operation, Reply, Request, Result, SetAttr, SetTime};

/// What a write by somebody else than a privileged owner takes away.
const SET_UID: u32 = libc::S_ISUID;
const SET_GID: u32 = libc::S_ISGID;
const GROUP_EXECUTE: u32 = libc::S_IXGRP;

impl ActiveView {
    /// Returns what `stat` shows of a node.
    pub(super) fn attr(&self, node: &Node) -> Result<Attr> {
        let (presence, lower, ino, is_kept) = {
            let state = node.state();
            if let Some(gone) = state.gone() {
                return Ok(*gone);
            }
            (
                state.presence,
                state.lower(),
                state.ino,
                state.kept().is_some(),
            )
        };
        if let (Presence::Lower, Some(lower), false) = (presence, lower, is_kept) {
            let attr = self.lower_attr(lower)?;
            return Ok(Attr { ino, ..attr });
        }
        Ok(shown(node, self.upper_attr(node)?))
    }

    /// Answers a change of attributes.
    pub(super) fn set_attr(&self, request: &Request<'_>, set: &SetAttr) -> Result<Reply<'_>> {
        let node = self.node(request.node)?;
        let remembered = || set_remembered(&node, set).map(Reply::Attr);
        if let Some(reply) = remembered() {
            return Ok(reply);
        }
        match self.set_present(&node, set, request.caller) {
            // It was removed meanwhile.
            Err(Error::Refused(Errno::STALE)) => remembered().ok_or(Error::Refused(Errno::STALE)),
            other => other.map(Reply::Attr),
        }
    }

    /// Sets the attributes of a node that has an inode, or gets one by it.
    fn set_present(&self, node: &Node, set: &SetAttr, caller: Caller) -> Result<Attr> {
        let inode = if let Some(size) = set.size {
            self.truncate(node, size)?;
            self.inode(node)?
        } else {
            self.inode_to_change(node)?
        };
        // This clears set-id bits by itself.
        let changes_owner = set.uid.is_some() || set.gid.is_some();
        if changes_owner {
            self.upper.set_owner(&inode, set.uid, set.gid)?;
        }
        if let Some(mode) = set.mode {
            self.upper.set_mode(&inode, mode)?;
        } else if set.kill_privileges && !changes_owner {
            self.kill_privileges(node, caller)?;
        }
        if set.atime.is_some() || set.mtime.is_some() {
            inode.set_times(set.atime, set.mtime)?;
        }
        let attr = self.upper.attr(&inode)?.attr;
        Ok(shown(node, attr))
    }

    /// Sets the size of a file; what is cut off is not copied up before.
    pub(super) fn truncate(&self, node: &Node, size: u64) -> Result<()> {
        if node.is_directory() {
            return Err(Error::Refused(Errno::ISDIR));
        }
        self.copy_up(node, Contents::Until(size))?;
        let file = self.file(node)?;
        Ok(rustix::fs::ftruncate(file.fd(), size)?)
    }

    /// Clears the set-id bits, as a write by somebody without privilege does.
    /// The kernel does not learn it from the answer.
    pub(super) fn kill_privileges(&self, node: &Node, caller: Caller) -> Result<()> {
        let inode = self.inode(node)?;
        self.upper.drop_stored_capability(&inode)?;
        let attr = self.upper.attr(&inode)?.attr;
        let mode = attr.mode;
        let mut kept = mode & !SET_UID;
        // Of the groups that the caller is in only one is known.
        if mode & GROUP_EXECUTE != 0 || caller.gid != attr.gid {
            kept &= !SET_GID;
        }
        if kept == mode {
            return Ok(());
        }
        self.upper.set_mode(&inode, kept)?;
        if let Some(notifier) = self.notifier.get() {
            notifier.attributes_changed(node.id);
        }
        Ok(())
    }

    /// Answers the target of a symbolic link.
    pub(super) fn read_link(&self, id: NodeId) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        match node.lower_alone() {
            Some(lower) => self.lower.answer(&asked(lower, Operation::ReadLink)),
            None => Ok(Reply::Bytes(self.inode(&node)?.link_target()?.into())),
        }
    }

    /// Answers `access(2)` for the one user who can reach the mount, who may do
    /// everything but execute what nobody may (rule 12).
    pub(super) fn check_access(&self, id: NodeId, mask: u32) -> Result<Reply<'_>> {
        const EXECUTE: u32 = 1;
        let attr = self.attr(&*self.node(id)?)?;
        let is_regular = attr.mode & libc::S_IFMT == libc::S_IFREG;
        if mask & EXECUTE != 0 && is_regular && attr.mode & 0o111 == 0 {
            return Err(Error::Refused(Errno::ACCESS));
        }
        Ok(Reply::Done)
    }
}

/// Sets the attributes of a file that is gone from the upper for good, of which nothing else is
/// left. The kernel sets the times of a file right after it was removed, and takes a refusal for
/// a failure to write the whole file system back.
fn set_remembered(node: &Node, set: &SetAttr) -> Option<Attr> {
    let mut state = node.state();
    if state.presence == Presence::Lower {
        return None;
    }
    let attr = state.gone_mut()?;
    attr.mode = set.mode.map_or(attr.mode, |mode| {
        attr.mode & libc::S_IFMT | mode & !libc::S_IFMT
    });
    attr.uid = set.uid.unwrap_or(attr.uid);
    attr.gid = set.gid.unwrap_or(attr.gid);
    attr.atime = set.atime.map_or(attr.atime, SetTime::timestamp);
    attr.mtime = set.mtime.map_or(attr.mtime, SetTime::timestamp);
    Some(*attr)
}

/// Returns what is shown of the attributes that a node has in the upper.
fn shown(node: &Node, attr: Attr) -> Attr {
    let state = node.state();
    // As the kernel's overlayfs shows it: nobody counts the subdirectories of several
    // layers.
    let nlink = if node.is_directory() && state.lower().is_some() && attr.nlink > 0 {
        1
    } else {
        attr.nlink
    };
    let blocks = match state.presence {
        Presence::Metadata(_) => attr.size.div_ceil(512),
        _ => attr.blocks,
    };
    Attr {
        ino: state.ino,
        blocks,
        nlink,
        ..attr
    }
}

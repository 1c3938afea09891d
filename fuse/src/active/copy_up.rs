//! Copy-up: an inode of the layers below gets one in the upper, built in the work
//! directory with all that belongs to it and then put into place.
//!
//! Contents are copied only when somebody will read or change them; until then the file
//! in the upper has the size and the mark `metacopy`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::names::Kind;
use super::node::{Node, Presence};
use super::upper::{Inode, Staged, XattrSpace};
use super::{ActiveView, asked};
use crate::{Attr, Error, FileType, Ino, NodeId, Operation, Reply, Result, SetTime};

/// What of a file's contents has to be in the upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// Nothing: only attributes change.
    Later,
    /// All before this offset.
    Until(u64),
}

impl Contents {
    /// Everything.
    pub(super) const ALL: Self = Self::Until(u64::MAX);
}

/// How many copies of contents are under way: those who wait for one wait long.
#[derive(Debug, Default)]
pub(super) struct Copies(AtomicUsize);

/// One copy, from before the wait for others of the same node to its end.
#[derive(Debug)]
struct Copy<'c>(&'c Copies);

impl Copies {
    pub(super) fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn begin(&self) -> Copy<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Copy(self)
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ActiveView {
    /// Sees to it that the upper has a node. Threads that come together copy once.
    pub(super) fn copy_up(&self, node: &Node, contents: Contents) -> Result<()> {
        self.copied_up(node, contents).map(drop)
    }

    /// Opens the inode that the upper has for a node, which it gets for that.
    pub(super) fn inode_to_change(&self, node: &Node) -> Result<Inode> {
        match self.copied_up(node, Contents::Later)? {
            Some(inode) => Ok(inode),
            None => self.inode(node),
        }
    }

    /// Sees to it that the upper has a node, and returns the inode if it is a new copy.
    fn copied_up(&self, node: &Node, contents: Contents) -> Result<Option<Inode>> {
        if node.is_directory() {
            return self.copy_up_directory(node).map(|()| None);
        }
        let is_done = |presence| match presence {
            Presence::Upper(_) => true,
            Presence::Metadata(_) => contents == Contents::Later,
            Presence::Lower => false,
        };
        if is_done(node.state().presence) {
            return Ok(None);
        }
        if let Some(place) = self.nodes.place(node.id) {
            self.copy_up_directory(&*self.node(place.parent)?)?;
        }
        let _long = (contents != Contents::Later).then(|| self.copies.begin());
        let _copying = node.copying();
        let presence = node.state().presence;
        match (presence, contents) {
            _ if is_done(presence) => Ok(None),
            (Presence::Lower, _) => self.copy_up_file(node, contents).map(Some),
            (_, Contents::Until(limit)) => self.complete(node, limit).map(|()| None),
            (_, Contents::Later) => Ok(None),
        }
    }

    /// Sees to it that the upper has a directory and all above it.
    pub(super) fn copy_up_directory(&self, node: &Node) -> Result<()> {
        if node.state().presence != Presence::Lower {
            return Ok(());
        }
        // A directory of the layers below moves only after it was copied up.
        if let Some(place) = self.nodes.place(node.id) {
            self.copy_up_directory(&*self.node(place.parent)?)?;
        }
        let _copying = node.copying();
        let Some(lower) = node.lower_alone() else {
            return Ok(());
        };
        let (staged, inode) = self.upper.work.stage(|work, name| {
            rustix::fs::mkdirat(work, name, Mode::RWXU)?;
            Inode::at(work, name)
        })?;
        let ino = self.dress(&inode, lower, &self.lower_attr(lower)?)?;
        self.put_into_place(node, staged, &inode, Presence::Upper(ino))
    }

    fn copy_up_file(&self, node: &Node, contents: Contents) -> Result<Inode> {
        let lower = node.state().lower().ok_or(Error::Refused(Errno::STALE))?;
        let attr = self.lower_attr(lower)?;
        let is_regular = node.file_type == FileType::Regular;
        let without_contents = is_regular && contents == Contents::Later && attr.size > 0;
        let (staged, inode) = self.stage_copy(node, lower, &attr, contents)?;
        let ino = self.dress(&inode, lower, &attr)?;
        if matches!(contents, Contents::Until(limit) if limit < attr.size) {
            // What is put into place is the file as it is after the cut.
            inode.set_times(None, Some(SetTime::Now))?;
        }
        // Nothing but a file or a directory takes attributes of users.
        let is_file = is_regular
            || self.upper.links_are_files()
            || self.upper.overrides() && node.file_type != FileType::Symlink;
        if attr.nlink == 1
            && !without_contents
            && (is_file || self.upper.options.xattrs == XattrSpace::Trusted)
        {
            self.upper.set_number(&inode, node.state().ino)?;
        }
        if without_contents {
            self.upper.set_metacopy(&inode)?;
        }
        let presence = if without_contents {
            Presence::Metadata(ino)
        } else {
            Presence::Upper(ino)
        };
        if attr.nlink == 1 {
            self.put_into_place(node, staged, &inode, presence)?;
            return Ok(inode);
        }
        // This name leaves the others, and takes a number of its own.
        let own = self.derived_ino(&inode.attr()?);
        let shared = std::mem::replace(&mut node.state().ino, own);
        self.put_into_place(node, staged, &inode, presence)
            .inspect_err(|_| {
                let mut state = node.state();
                if state.presence == Presence::Lower {
                    state.ino = shared;
                }
            })?;
        if let (Some(notifier), Some(place)) = (self.notifier.get(), self.nodes.place(node.id)) {
            // The listing has the old one, and its names are fewer.
            notifier.changed(place.parent);
            notifier.attributes_changed(node.id);
        }
        Ok(inode)
    }

    /// Makes the copy of an inode in the work directory.
    fn stage_copy(
        &self,
        node: &Node,
        lower: NodeId,
        attr: &Attr,
        contents: Contents,
    ) -> Result<(Staged<'_>, Inode)> {
        let work = &self.upper.work;
        match node.file_type {
            FileType::Regular => {
                let (staged, file) = work.stage(|work, name| {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                    // Mostly it is the right one already; nobody else gets to this directory.
                    let mode = if self.upper.overrides() {
                        Mode::RUSR | Mode::WUSR
                    } else {
                        Mode::from_raw_mode(attr.mode & 0o777)
                    };
                    Ok(rustix::fs::openat(work, name, flags, mode)?)
                })?;
                match contents {
                    Contents::Later => rustix::fs::ftruncate(&file, attr.size)?,
                    Contents::Until(limit) => {
                        self.copy_contents(lower, &file, limit.min(attr.size))?;
                        self.sync_file(&file)?;
                    }
                }
                Ok((staged, Inode(Arc::new(file))))
            }
            FileType::Symlink => {
                let target = self.lower_link_target(lower)?;
                work.stage(|work, name| {
                    if self.upper.links_are_files() {
                        let link = Inode::make_link_file(work, name, &target)?;
                        self.sync_file(&link.0)?;
                        return Ok(link);
                    }
                    rustix::fs::symlinkat(&target[..], work, name)?;
                    Inode::at(work, name)
                })
            }
            file_type => work.stage(|work, name| {
                if self.upper.overrides() {
                    return Inode::make_file(work, name, Mode::RUSR | Mode::WUSR);
                }
                let (kind, mode) = (file_type.for_mknod(), Mode::RUSR | Mode::WUSR);
                rustix::fs::mknodat(work, name, kind, mode, u64::from(attr.rdev))?;
                Inode::at(work, name)
            }),
        }
    }

    /// Gives an inode in the work directory everything but contents: owner, attributes,
    /// mode and times, in the order in which none takes away what another set. Returns its
    /// number in the upper.
    fn dress(&self, inode: &Inode, lower: NodeId, attr: &Attr) -> Result<Ino> {
        let made = inode.attr()?.attr;
        let is_plain = !self.upper.overrides();
        if !is_plain || (made.uid, made.gid) != (attr.uid, attr.gid) {
            self.upper
                .set_owner(inode, Some(attr.uid), Some(attr.gid))?;
        }
        let xattrs = self.lower.xattrs(lower)?;
        for (name, value) in &xattrs {
            self.upper.carry_xattr(inode, name, value)?;
        }
        // An access list changes the mode.
        if !is_plain || !xattrs.is_empty() || made.mode != attr.mode {
            self.upper.set_permissions(inode, attr)?;
        }
        inode.set_times(Some(SetTime::At(attr.atime)), Some(SetTime::At(attr.mtime)))?;
        Ok(made.ino)
    }

    /// Puts a copy where the node is in the view; the times of the directory stay. A node
    /// without a name keeps its copy open instead.
    fn put_into_place(
        &self,
        node: &Node,
        staged: Staged<'_>,
        inode: &Inode,
        presence: Presence,
    ) -> Result<()> {
        let _tree = self.still_tree();
        if let Some(place) = self.nodes.place(node.id) {
            let above = self.node(place.parent)?;
            let above_fd = self.directory_fd(&above)?;
            let mut inside = above.directory_mut();
            // It may have been removed before the lock was taken.
            if self
                .nodes
                .place(node.id)
                .is_some_and(|now| now.name == place.name)
            {
                self.load(&above, &mut inside)?;
                let before = Inode(Arc::clone(&above_fd)).attr()?.attr;
                staged.place_new(&above_fd, &place.name)?;
                if let Some(names) = inside.names.as_mut() {
                    names.set(&place.name, Kind::Entry(node.file_type), true);
                }
                self.arrived(node, presence, None);
                let times = (SetTime::At(before.atime), SetTime::At(before.mtime));
                return Inode(above_fd).set_times(Some(times.0), Some(times.1));
            }
        }
        self.arrived(node, presence, Some(inode.clone()));
        Ok(())
    }

    fn arrived(&self, node: &Node, presence: Presence, kept: Option<Inode>) {
        let mut state = node.state();
        state.presence = presence;
        if let Some(kept) = kept {
            let used = state.used();
            used.kept = Some(kept);
            used.is_file = node.file_type == FileType::Regular;
        }
        drop(state);
        if let Some(ino) = presence.upper_ino() {
            self.nodes.copied_up(node, ino);
        }
    }

    /// Gives a file that is in the upper without its contents those before `limit`. The
    /// mark goes last: until then the contents below are the true ones.
    fn complete(&self, node: &Node, limit: u64) -> Result<()> {
        const CAPABILITY: &[u8] = b"security.capability";
        let (lower, presence) = {
            let state = node.state();
            (state.lower(), state.presence)
        };
        let (Some(lower), Some(ino)) = (lower, presence.upper_ino()) else {
            return Err(Error::Refused(Errno::STALE));
        };
        let inode = self.inode(node)?;
        let file = inode.open()?;
        let before = inode.attr()?.attr;
        // A write takes it away.
        let capability = inode.stored_xattr(CAPABILITY)?;
        let copied = self.copy_contents(lower, &file, limit.min(before.size));
        let copied = copied.and_then(|()| self.sync_file(&file));
        let copied = copied.and_then(|()| match capability {
            Some(capability) => inode.set_stored_xattr(CAPABILITY, &capability, 0),
            None => Ok(()),
        });
        // The copy modifies nothing, also one that failed; the cut does.
        let times = inode.set_times(
            Some(SetTime::At(before.atime)),
            Some(SetTime::At(before.mtime)),
        );
        copied.and(times)?;
        self.upper.set_number(&inode, node.state().ino)?;
        if limit < before.size {
            rustix::fs::ftruncate(&file, limit)?;
        }
        self.upper.clear_metacopy(&inode)?;
        node.state().presence = Presence::Upper(ino);
        Ok(())
    }

    fn sync_file(&self, file: &OwnedFd) -> Result<()> {
        if !self.upper.options.volatile {
            rustix::fs::fsync(file.as_fd())?;
        }
        Ok(())
    }

    /// Returns the attributes of a node of the layers below.
    pub(super) fn lower_attr(&self, lower: NodeId) -> Result<Attr> {
        match self.lower.answer(&asked(lower, Operation::GetAttr))? {
            Reply::Attr(attr) => Ok(attr),
            _ => Err(Error::Refused(Errno::IO)),
        }
    }

    pub(super) fn lower_link_target(&self, lower: NodeId) -> Result<Vec<u8>> {
        match self.lower.answer(&asked(lower, Operation::ReadLink))? {
            Reply::Bytes(target) => Ok(target.into_owned()),
            _ => Err(Error::Refused(Errno::IO)),
        }
    }
}

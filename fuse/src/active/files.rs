//! Open files: opened, closed, and made to last.

use rustix::io::Errno;

use super::ActiveView;
use super::copy_up::Contents;
use super::flags::refuse_where_flags_do;
use super::node::{Node, Presence};
use super::upper::Inode;
use super::upper::entry;
use crate::kernel::backing::Backing;
use crate::{Caller, Error, FileType, Ino, NodeId, Opened, Reply, Result};

impl ActiveView {
    /// Answers the opening of a file. One that is opened to be written is copied up
    /// first; one that is cut to nothing needs no contents for that, and may lose its set-id
    /// bits to `killer`.
    pub(super) fn open_file(
        &self,
        id: NodeId,
        flags: u32,
        killer: Option<Caller>,
    ) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        refuse_unless_regular(&node)?;
        let writes = writes(flags);
        if flags & libc::O_TRUNC.cast_unsigned() != 0 {
            self.truncate(&node, 0)?;
            if let Some(caller) = killer {
                self.kill_privileges(&node, caller)?;
            }
        } else if writes {
            self.copy_up(&node, Contents::ALL)?;
        }
        let opened = self.opened(&node)?;
        if writes && let Err(error) = refuse_where_flags_do(&node, flags) {
            drop(self.release(id));
            return Err(error);
        }
        Ok(Reply::Opened(opened))
    }

    /// Counts one more handle. The kernel reads and writes by itself where it may: all
    /// handles of an inode do or none, so never while one is open that does not.
    pub(super) fn opened(&self, node: &Node) -> Result<Opened> {
        let presence = node.state().presence;
        let file = match (self.backings.get(), presence) {
            (Some(_), Presence::Upper(ino)) => match self.file_by_name(node, ino)? {
                Some(file) => Some(file),
                None => Some(self.file(node)?),
            },
            _ => None,
        };
        let has_privileges = match &file {
            // The kernel writes with the rights of this process, which would leave them.
            Some(file) => self.upper.has_privileges(file)?,
            None => false,
        };
        let mut state = node.state();
        let used = state.used();
        let is_first = used.opens == 0;
        used.opens += 1;
        if let (Some(backings), Some(file), true, false) =
            (self.backings.get(), file, is_first, has_privileges)
            && let Ok(backing) = backings.register(file.fd())
        {
            used.backing = Some(backing);
            used.kept = Some(file);
            used.is_file = true;
            // What the kernel's own writes change, its cache of the node does not see.
            used.is_cache_stale = true;
        }
        Ok(Opened {
            keep_cache: !used.is_cache_stale,
            backing: used.backing.as_ref().map(Backing::id),
        })
    }

    /// Answers that a handle is closed for good.
    pub(super) fn release(&self, id: NodeId) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        let has_name = self.nodes.place(id).is_some();
        let mut state = node.state();
        let used = state.used();
        used.opens = used.opens.saturating_sub(1);
        let mut closed = (None, None);
        if used.opens == 0 {
            closed.0 = used.backing.take();
            if has_name {
                closed.1 = used.kept.take();
                used.is_file = false;
            }
        }
        state.tidy();
        drop(state);
        drop(closed);
        Ok(Reply::Done)
    }

    /// Returns the file that the upper has for a node, open. It stays open while a
    /// handle of the node is.
    pub(super) fn file(&self, node: &Node) -> Result<Inode> {
        if let Some(kept) = node.state().kept_file() {
            return Ok(kept.clone());
        }
        let file = Inode(std::sync::Arc::new(self.inode(node)?.open()?));
        let mut state = node.state();
        if let Some(kept) = state.kept_file() {
            return Ok(kept.clone());
        }
        if state.opens() > 0 || state.kept().is_some() {
            state.keep_file(file.clone());
        }
        Ok(file)
    }

    /// Opens the file that the upper has for a node by its name, unless it is open already or
    /// has none. Names of its directory are locked meanwhile: nothing else, a device perhaps,
    /// comes to have that name.
    fn file_by_name(&self, node: &Node, ino: Ino) -> Result<Option<Inode>> {
        let Some(place) = self.nodes.place(node.id) else {
            return Ok(None);
        };
        let above = self.node(place.parent)?;
        let directory = self.directory_fd(&above)?;
        let _names = above.directory();
        let is_there = || {
            let now = self.nodes.place(node.id);
            now.is_some_and(|now| now.parent == place.parent && now.name == place.name)
        };
        if node.state().kept().is_some() || !is_there() {
            return Ok(None);
        }
        let file = Inode::open_at(&directory, &place.name)?;
        Ok((file.attr()?.attr.ino == ino).then_some(file))
    }

    /// Answers `fsync`.
    pub(super) fn fsync(&self, id: NodeId, data_only: bool) -> Result<Reply<'_>> {
        if self.upper.options.volatile {
            return Err(Error::Refused(Errno::NOSYS));
        }
        let node = self.node(id)?;
        if node.state().presence != Presence::Lower {
            let file = self.file(&node)?;
            if data_only {
                rustix::fs::fdatasync(file.fd())?;
            } else {
                rustix::fs::fsync(file.fd())?;
            }
        }
        Ok(Reply::Done)
    }

    /// Answers `fsync` of a directory.
    pub(super) fn fsync_directory(&self, id: NodeId) -> Result<Reply<'_>> {
        if self.upper.options.volatile {
            return Err(Error::Refused(Errno::NOSYS));
        }
        let node = self.directory(id)?;
        if self.upper.links_are_files() {
            // Nobody can sync a link: its contents last when its name does.
            self.upper.sync()?;
        } else if node.state().presence != Presence::Lower && !node.directory().is_removed {
            entry::sync_directory(self.directory_fd(&node)?)?;
        }
        Ok(Reply::Done)
    }
}

/// Refuses what has no contents.
pub(super) fn refuse_unless_regular(node: &Node) -> Result<()> {
    match node.file_type {
        FileType::Regular => Ok(()),
        FileType::Directory => Err(Error::Refused(Errno::ISDIR)),
        _ => Err(Error::Refused(Errno::INVAL)),
    }
}

/// Returns whether a file opened with these flags can be written.
pub(super) fn writes(flags: u32) -> bool {
    flags & libc::O_ACCMODE.cast_unsigned() != libc::O_RDONLY.cast_unsigned()
}

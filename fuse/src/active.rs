//! The writable view: an upper over the read-only view of the layers below.
//!
//! The layers below are one [`View`], asked by its node numbers; whiteouts and opaque
//! directories of the upper cut all of it at once. What is changed is first copied up.
//! A node is one content at any time: all that is open of it belongs to the node, and
//! after copy-up every handle of any age reads and writes the file in the upper. A lower
//! file of several names is a node for each name, so that one name copied up leaves the
//! others as they are.
//!
//! Locks, in the order in which a thread may take them: the `copying` of nodes, a
//! directory's before that of what is in it; `tree`, for writing only where names move
//! between directories; directories, two of them in the order of their numbers; the state
//! of a node; the table of nodes. No contents are copied under any but `copying`.

mod attributes;
mod contents;
mod copy_up;
mod create;
mod files;
mod flags;
mod listing;
mod lookup;
mod names;
mod node;
mod nodes;
mod remove;
mod rename;
mod upper;
mod xattrs;

pub use upper::{Ownership, Upper, UpperOptions, Whiteouts, XattrSpace};

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rustix::io::Errno;

use crate::kernel::backing::Backings;
use crate::kernel::notify::Notifier;
use crate::layer::directory::RealAttr;
use crate::view::OpenFiles;
use crate::{
    Access, Attr, Error, FileType, Ino, Layer, NodeId, Operation, Reply, Request, Result, View,
    ViewOptions,
};
use copy_up::Copies;
use node::{Found, Node, Presence};
use nodes::Nodes;
use upper::{Inode, UpperMarks, entry};

/// The merged tree of a chain of layers and an upper.
#[derive(Debug)]
pub struct ActiveView {
    lower: View,
    upper: Upper,
    nodes: Nodes,
    /// Directories of the upper that were used last.
    directories: OpenFiles,
    tree: RwLock<()>,
    copies: Copies,
    backings: OnceLock<Backings>,
    notifier: OnceLock<Notifier>,
    /// Set where the kernel keeps what is written for a while.
    is_behind: OnceLock<()>,
    access: Access,
}

impl ActiveView {
    /// Makes the view of an upper over layers, the uppermost layer first.
    pub fn open(layers: Vec<Layer>, upper: Upper, options: ViewOptions) -> Result<Self> {
        let lower = View::open(layers, options)?;
        let root = Inode::at(upper.root(), b".")?;
        let is_opaque = UpperMarks::read(&root)?.opaque || entry::list(upper.root())?.opaque;
        let Reply::Attr(below) = lower.answer(&asked(NodeId::ROOT, Operation::GetAttr))? else {
            return Err(Error::Refused(Errno::IO));
        };
        upper.mark_root(&below)?;
        let found = Found {
            ino: below.ino,
            presence: Presence::Upper(root.attr()?.attr.ino),
            lower: (!is_opaque).then_some(NodeId::ROOT),
        };
        Ok(Self {
            lower,
            nodes: Nodes::new(Arc::new(Node::new(
                NodeId::ROOT,
                FileType::Directory,
                found,
            ))),
            directories: OpenFiles::default(),
            tree: RwLock::default(),
            copies: Copies::default(),
            backings: OnceLock::new(),
            notifier: OnceLock::new(),
            is_behind: OnceLock::new(),
            access: options.access,
            upper,
        })
    }

    /// Lets the kernel read and write files of the upper by itself.
    pub(crate) fn set_backings(&self, backings: Backings) {
        drop(self.backings.set(backings));
    }

    /// Lets the view tell the kernel what is no longer as it was told.
    pub(crate) fn set_notifier(&self, notifier: Notifier) {
        drop(self.notifier.set(notifier));
    }

    /// Says that the kernel keeps what is written for a while (`FUSE_WRITEBACK_CACHE`).
    pub(crate) fn set_behind(&self) {
        self.is_behind.get_or_init(|| ());
    }

    /// Returns where a node lies, for messages.
    pub fn describe(&self, node: NodeId) -> String {
        let upper = self.upper.label().display();
        let state = self.nodes.get(node).map(|node| {
            let state = node.state();
            (state.presence, state.lower())
        });
        match state {
            Some((Presence::Lower | Presence::Metadata(_), Some(lower))) => {
                self.lower.describe(lower)
            }
            _ => format!("upper {upper}: node {}", node.0),
        }
    }

    /// Returns whether the answer may wait for a disk for long: for what is to be written
    /// there, or for contents to be copied up.
    pub(crate) fn may_wait(&self, request: &Request<'_>) -> bool {
        match request.operation {
            Operation::Read { .. }
            | Operation::Fsync { .. }
            | Operation::FsyncDir
            | Operation::SyncFs
            | Operation::Allocate { .. }
            | Operation::CopyFileRange { .. } => true,
            Operation::SetAttr(set) => {
                set.size.is_some() && !self.is_in_upper(request.node) || self.copies.is_under_way()
            }
            Operation::Ioctl { .. } => !self.is_in_upper(request.node),
            Operation::Open { flags, .. } => {
                files::writes(flags) && !self.is_in_upper(request.node)
            }
            // What changes an inode waits until its contents are copied.
            Operation::Write { .. }
            | Operation::SetXattr { .. }
            | Operation::RemoveXattr { .. }
            | Operation::Link { .. }
            | Operation::Rename { .. } => self.copies.is_under_way(),
            _ => false,
        }
    }

    fn is_in_upper(&self, node: NodeId) -> bool {
        let node = self.nodes.get(node);
        node.is_some_and(|node| matches!(node.state().presence, Presence::Upper(_)))
    }

    /// Answers a request, as [`View::answer`].
    pub fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        let node = request.node;
        match request.operation {
            Operation::Lookup { name } => self.look_up(request, name),
            Operation::Forget { lookups } => {
                self.forget(node, lookups);
                Ok(Reply::Silent)
            }
            Operation::GetAttr => Ok(Reply::Attr(self.attr(&*self.node(node)?)?)),
            Operation::SetAttr(attributes) => self.set_attr(request, &attributes),
            Operation::ReadLink => self.read_link(node),
            Operation::ReadDir { offset } => self.list(request, offset, false),
            Operation::ReadDirPlus { offset } => self.list(request, offset, true),
            Operation::StatFs => Ok(Reply::StatFs(self.upper.stat_fs()?)),
            Operation::GetXattr { name, size } => self.get_xattr(node, name, size),
            Operation::ListXattr { size } => self.list_xattr(request, size),
            Operation::Access { mask } if self.access == Access::Owner => {
                self.check_access(node, mask)
            }
            Operation::Symlink { .. }
            | Operation::MkNod { .. }
            | Operation::MkDir { .. }
            | Operation::Create { .. }
            | Operation::TmpFile { .. }
            | Operation::Link { .. }
            | Operation::Unlink { .. }
            | Operation::RmDir { .. }
            | Operation::Rename { .. } => self.answer_name(request),
            _ => self.answer_file(request),
        }
    }

    /// Answers what is about names.
    fn answer_name(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        let node = request.node;
        match request.operation {
            Operation::Link { file, name } => self.link(file, node, name),
            Operation::Unlink { name } => self.unlink(node, name),
            Operation::RmDir { name } => self.rmdir(node, name),
            Operation::Rename {
                name,
                to,
                new_name,
                flags,
            } => self.rename((node, name), (to, new_name), flags),
            _ => self.make(request),
        }
    }

    /// Answers what is about contents.
    fn answer_file(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        let node = request.node;
        match request.operation {
            Operation::Open {
                flags,
                kill_privileges,
            } => self.open_file(node, flags, kill_privileges.then_some(request.caller)),
            Operation::Release => self.release(node),
            Operation::Read { offset, size } => self.read(node, offset, size),
            Operation::Write {
                offset,
                data,
                kill_privileges,
            } => self.write(request, offset, data, kill_privileges),
            Operation::Fsync { data_only } => self.fsync(node, data_only),
            Operation::FsyncDir => self.fsync_directory(node),
            Operation::SyncFs => self.upper.sync().map(|()| Reply::Done),
            Operation::Allocate {
                offset,
                length,
                mode,
            } => self.allocate(node, offset, length, mode, request.caller),
            Operation::CopyFileRange {
                offset,
                to,
                to_offset,
                length,
            } => self.copy_range((node, offset), (to, to_offset), length, request.caller),
            // The file may have holes where the kernel has data to write: all is data then.
            Operation::Seek { .. } if self.is_behind.get().is_some() => {
                Err(Error::Refused(Errno::NOSYS))
            }
            Operation::Seek { offset, whence } => self.seek(node, offset, whence),
            Operation::SetXattr {
                name,
                value,
                flags,
                kill_sgid,
            } => self.set_xattr(node, name, value, flags, kill_sgid),
            Operation::RemoveXattr { name } => self.remove_xattr(node, name),
            Operation::Ioctl { command, input, .. } => self.ioctl(node, command, input),
            // The kernel does these by itself from then on.
            _ => Err(Error::Refused(Errno::NOSYS)),
        }
    }

    fn forget(&self, node: NodeId, lookups: u64) {
        for node in self.nodes.forget(node, lookups) {
            self.directories.remove(node.id);
            if let Some(lower) = node.state().lower().filter(|lower| *lower != NodeId::ROOT) {
                self.give_back(lower);
            }
        }
    }

    /// Gives a reference to a node of the layers below back.
    fn give_back(&self, lower: NodeId) {
        let forget = asked(lower, Operation::Forget { lookups: 1 });
        if let Err(error) = self.lower.answer(&forget) {
            tracing::debug!(node = lower.0, "forget: {error}");
        }
    }

    fn node(&self, id: NodeId) -> Result<Arc<Node>> {
        self.nodes.get(id).ok_or(Error::Refused(Errno::STALE))
    }

    /// Returns a node that is a directory, or `ENOTDIR`.
    fn directory(&self, id: NodeId) -> Result<Arc<Node>> {
        let node = self.node(id)?;
        if node.is_directory() {
            Ok(node)
        } else {
            Err(Error::Refused(Errno::NOTDIR))
        }
    }

    /// Opens the directory of the upper that a node stands for.
    fn directory_fd(&self, node: &Node) -> Result<Arc<OwnedFd>> {
        self.directories.get(node.id, || {
            let Some(place) = self.nodes.place(node.id) else {
                if node.id == NodeId::ROOT {
                    return entry::subdirectory(self.upper.root(), b".");
                }
                return Err(Error::Refused(Errno::STALE));
            };
            let above = self.directory_fd(&*self.node(place.parent)?)?;
            entry::subdirectory(&above, &place.name)
        })
    }

    /// Opens the inode that the upper has for a node.
    fn inode(&self, node: &Node) -> Result<Inode> {
        if node.is_directory() {
            return self.directory_inode(node);
        }
        self.reach(node, Ok, |above, name| {
            let inode = Inode::at(above, name)?;
            let ino = inode.attr()?.attr.ino;
            Ok((inode, ino))
        })
    }

    /// Returns the attributes of the inode that the upper has for a node.
    fn upper_attr(&self, node: &Node) -> Result<Attr> {
        if node.is_directory() {
            return Ok(self.upper.attr(&self.directory_inode(node)?)?.attr);
        }
        self.reach(
            node,
            |inode| Ok(self.upper.attr(&inode)?.attr),
            |above, name| {
                let attr = if self.upper.overrides() {
                    self.upper.attr(&Inode::at(above, name)?)?.attr
                } else {
                    RealAttr::at(above, name)?.attr
                };
                Ok((attr, attr.ino))
            },
        )
    }

    /// Opens a directory of the upper, also one that was taken away.
    fn directory_inode(&self, node: &Node) -> Result<Inode> {
        let kept = node.state().kept().cloned();
        kept.map_or_else(|| self.directory_fd(node).map(Inode), Ok)
    }

    /// Reaches the inode that the upper has for a node: the one that is kept open, or the
    /// one that its name leads to, whose number `by_name` gives too.
    fn reach<T>(
        &self,
        node: &Node,
        kept: impl Fn(Inode) -> Result<T>,
        by_name: impl Fn(&OwnedFd, &[u8]) -> Result<(T, Ino)>,
    ) -> Result<T> {
        const ATTEMPTS: u32 = 12;
        for attempt in 0..ATTEMPTS {
            let (inode, expected) = {
                let state = node.state();
                (state.kept().cloned(), state.presence.upper_ino())
            };
            if let Some(inode) = inode {
                return kept(inode);
            }
            let Some(place) = self.nodes.place(node.id) else {
                continue;
            };
            let above = self.directory_fd(&*self.node(place.parent)?)?;
            // Another thread may have moved the name, made something else there, and be about
            // to say so.
            match by_name(&above, &place.name) {
                Ok((found, ino)) if Some(ino) == expected => return Ok(found),
                Ok(_) | Err(Error::Refused(Errno::NOENT)) => {
                    std::thread::sleep(Duration::from_micros(10 << attempt));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Refused(Errno::STALE))
    }

    /// Returns the number of an inode of the upper.
    fn derived_ino(&self, inode: &RealAttr) -> Ino {
        self.lower.real_ino(inode)
    }

    /// Keeps names from moving between directories.
    fn still_tree(&self) -> RwLockReadGuard<'_, ()> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets names move between directories.
    fn moving_tree(&self) -> RwLockWriteGuard<'_, ()> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a question to the view below.
fn asked(node: NodeId, operation: Operation<'_>) -> Request<'_> {
    Request {
        node,
        caller: crate::Caller::default(),
        operation,
    }
}

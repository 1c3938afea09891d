//! New names: files, directories, devices, links.
//!
//! What belongs to the process that serves is made where it is to be, with the mask of
//! the caller; anything else is made in the work directory and put into place complete.

mod new;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::ActiveView;
use super::copy_up::Contents;
use super::names::Kind;
use super::node::{Directory, Found, Node, Presence};
use super::upper::{Inode, Staged, entry, with_umask};
use crate::layer::marks::{NameMark, name_mark};
use crate::view::LONGEST_NAME;
use crate::{Entry, Error, FileType, NodeId, Operation, Reply, Request, Result};
use new::{New, What, is_own, what_of};

/// A directory in the work directory that gives what is made in it what the directory
/// would where it is to be.
struct Nest<'w> {
    inode: Inode,
    /// The group, where it is inherited.
    gid: Option<u32>,
    _staged: Staged<'w>,
}

/// How a name stands before something is made there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vacancy {
    /// A whiteout hides what the layers below have.
    pub(super) is_whiteout: bool,
    /// The layers below have the name.
    pub(super) is_over_lower: bool,
}

impl ActiveView {
    /// Answers the making of a name.
    pub(super) fn make(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        let (name, umask, mode, what) = match request.operation {
            Operation::Symlink { name, target } => (name, 0, 0o777, What::Symlink { target }),
            Operation::MkDir { name, mode, umask } => (name, umask, mode, What::Directory),
            Operation::MkNod {
                name,
                mode,
                rdev,
                umask,
            } => (name, umask, mode, what_of(mode, rdev)?),
            Operation::Create {
                name,
                flags,
                mode,
                umask,
            } => return self.create(request, name, flags, (mode, umask)),
            Operation::TmpFile { mode, umask, .. } => {
                return self.make_unnamed(request, mode, umask);
            }
            _ => return Err(Error::Refused(Errno::NOSYS)),
        };
        let new = New {
            caller: request.caller,
            umask,
            mode,
            what,
        };
        let (node, _) = self.make_name(request.node, name, new)?;
        Ok(Reply::Entry(self.entry(&node)?))
    }

    /// Answers `open` with `O_CREAT` of a name that was absent when the kernel looked.
    fn create(
        &self,
        request: &Request<'_>,
        name: &[u8],
        flags: u32,
        (mode, umask): (u32, u32),
    ) -> Result<Reply<'_>> {
        let new = New {
            caller: request.caller,
            umask,
            mode,
            what: What::File,
        };
        let (node, file) = match self.make_name(request.node, name, new) {
            Err(Error::Refused(Errno::EXIST)) if flags & libc::O_EXCL.cast_unsigned() == 0 => {
                let directory = self.directory(request.node)?;
                let node = self.child(&directory, name)?;
                let node = node.ok_or(Error::Refused(Errno::NOENT))?;
                let opened = self.open_file(node.id, flags, None);
                let Reply::Opened(opened) = opened.inspect_err(|_| self.forget(node.id, 1))? else {
                    return Err(Error::Refused(Errno::IO));
                };
                // What fails from here on, the kernel closes no handle for.
                let attr = self.attr(&node).inspect_err(|_| {
                    drop(self.release(node.id));
                    self.forget(node.id, 1);
                })?;
                let node = node.id;
                return Ok(Reply::Created(Entry { node, attr }, opened));
            }
            other => other?,
        };
        self.answer_created(&node, file)
    }

    fn answer_created(&self, node: &Node, file: Inode) -> Result<Reply<'_>> {
        node.state().keep_file(file);
        let entry = self.entry(node)?;
        match self.opened(node) {
            Ok(opened) => Ok(Reply::Created(entry, opened)),
            Err(error) => {
                self.forget(node.id, 1);
                Err(error)
            }
        }
    }

    /// Answers `open` with `O_TMPFILE`.
    fn make_unnamed(&self, request: &Request<'_>, mode: u32, umask: u32) -> Result<Reply<'_>> {
        let directory = self.directory(request.node)?;
        self.copy_up_directory(&directory)?;
        let nest = self.nest(&self.inode(&directory)?)?;
        let file = with_umask(umask, || {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let mode = self.mode_on_disk(mode);
            let place = nest
                .as_ref()
                .map_or(self.upper.work.fd(), |nest| nest.inode.fd());
            Ok(rustix::fs::openat(place, c".", flags, mode)?)
        })?;
        let inode = Inode(Arc::new(file));
        if self.upper.overrides() || !is_own(request.caller) {
            let new = New {
                caller: request.caller,
                umask,
                mode,
                what: What::File,
            };
            self.give(&inode, &new, nest.and_then(|nest| nest.gid))?;
        }
        let found = self.found(&inode)?;
        let (node, _) = self.nodes.adopt(None, FileType::Regular, found);
        self.answer_created(&node, inode)
    }

    /// Makes a name, whose node gets a reference.
    fn make_name(
        &self,
        directory: NodeId,
        name: &[u8],
        new: New<'_>,
    ) -> Result<(Arc<Node>, Inode)> {
        refuse_reserved(name)?;
        let directory = self.directory(directory)?;
        self.copy_up_directory(&directory)?;
        let _tree = self.still_tree();
        let mut inside = directory.directory_mut();
        let vacancy = self.vacancy(&directory, &mut inside, name)?;
        let above = self.directory_fd(&directory)?;
        let is_ready = is_own(new.caller) && !self.upper.overrides();
        let inode = if is_ready && !vacancy.is_whiteout {
            self.make_at(&new, above.as_fd(), name)?
        } else {
            let (staged, inode) = self.stage_new(&Inode(Arc::clone(&above)), &new)?;
            if matches!(new.what, What::Directory) && vacancy.is_over_lower {
                self.upper.set_opaque(&inode)?;
            }
            self.fill(
                &inside,
                vacancy,
                staged,
                (above.as_fd(), name),
                new.what.is_directory(),
            )?;
            inode
        };
        let file_type = new.file_type();
        // It is there from now on, whatever else fails.
        if let Some(names) = inside.names.as_mut() {
            names.set(name, Kind::Entry(file_type), vacancy.is_over_lower);
        }
        let found = self.found(&inode)?;
        let (node, _) = self
            .nodes
            .adopt(Some((directory.id, name)), file_type, found);
        if new.what.is_directory() {
            node.directory_mut().names = Some(Box::default());
        }
        Ok((node, inode))
    }

    /// Makes something in the work directory, with the owner that it would have where it
    /// is to be, and what it would inherit there.
    fn stage_new(&self, above: &Inode, new: &New<'_>) -> Result<(Staged<'_>, Inode)> {
        let nest = self.nest(above)?;
        let work = &self.upper.work;
        let (staged, inode) = match &nest {
            Some(nest) => work.stage(|work, name| {
                let inode = self.make_at(new, nest.inode.fd(), name)?;
                rustix::fs::renameat(nest.inode.fd(), name, work, name)?;
                Ok(inode)
            })?,
            None => work.stage(|work, name| self.make_at(new, work, name))?,
        };
        self.give(&inode, new, nest.and_then(|nest| nest.gid))?;
        Ok((staged, inode))
    }

    /// Makes a nest, where a directory has something to pass on.
    fn nest(&self, above: &Inode) -> Result<Option<Nest<'_>>> {
        const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
        let parent = self.upper.attr(above)?.attr;
        let gid = (parent.mode & libc::S_ISGID != 0).then_some(parent.gid);
        let default_acl = above.stored_xattr(DEFAULT_ACL)?;
        if gid.is_none() && default_acl.is_none() {
            return Ok(None);
        }
        let (staged, inode) = self.upper.work.stage(|work, name| {
            rustix::fs::mkdirat(work, name, Mode::RWXU)?;
            Inode::at(work, name)
        })?;
        if let Some(acl) = default_acl {
            inode.set_stored_xattr(DEFAULT_ACL, &acl, 0)?;
        }
        if gid.is_some() && !self.upper.overrides() {
            self.upper.set_owner(&inode, None, gid)?;
            inode.chmod(0o2700)?;
        }
        Ok(Some(Nest {
            inode,
            gid,
            _staged: staged,
        }))
    }

    /// Returns how a name stands, or `EEXIST`.
    pub(super) fn vacancy(
        &self,
        node: &Node,
        inside: &mut Directory,
        name: &[u8],
    ) -> Result<Vacancy> {
        if inside.is_removed {
            return Err(Error::Refused(Errno::NOENT));
        }
        self.load(node, inside)?;
        match inside.name(name) {
            Some(found) if found.kind == Kind::Whiteout => Ok(Vacancy {
                is_whiteout: true,
                is_over_lower: found.is_over_lower,
            }),
            Some(_) => Err(Error::Refused(Errno::EXIST)),
            None => match inside.lower {
                Some(lower) if self.lower.has_name(lower, name)? => {
                    Err(Error::Refused(Errno::EXIST))
                }
                _ => Ok(Vacancy {
                    is_whiteout: false,
                    is_over_lower: false,
                }),
            },
        }
    }

    /// Answers `link`.
    pub(super) fn link(&self, file: NodeId, directory: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        refuse_reserved(name)?;
        let node = self.node(file)?;
        if node.is_directory() {
            return Err(Error::Refused(Errno::PERM));
        }
        let directory = self.directory(directory)?;
        self.copy_up(&node, Contents::Later)?;
        self.point_below(&node, None)?;
        self.copy_up_directory(&directory)?;
        let inode = self.inode(&node)?;
        {
            let _tree = self.still_tree();
            let mut inside = directory.directory_mut();
            let vacancy = self.vacancy(&directory, &mut inside, name)?;
            let above = self.directory_fd(&directory)?;
            if vacancy.is_whiteout {
                let (staged, ()) = self.upper.work.stage(|work, name| inode.link(work, name))?;
                self.fill(&inside, vacancy, staged, (above.as_fd(), name), false)?;
            } else {
                inode.link(&above, name)?;
            }
            if let Some(names) = inside.names.as_mut() {
                names.set(name, Kind::Entry(node.file_type), vacancy.is_over_lower);
            }
            if self.nodes.place(node.id).is_none() {
                self.nodes.set_place(node.id, Some((directory.id, name)));
            }
        }
        self.nodes.refer(node.id);
        Ok(Reply::Entry(self.entry(&node)?))
    }

    /// Puts what was staged where a name is free, over a whiteout if there is one.
    pub(super) fn fill(
        &self,
        inside: &Directory,
        vacancy: Vacancy,
        staged: Staged<'_>,
        (above, name): (BorrowedFd<'_>, &[u8]),
        is_directory: bool,
    ) -> Result<()> {
        if !vacancy.is_whiteout {
            return staged.place_new(above, name);
        }
        if !is_directory {
            staged.place(above, name)?;
        } else if entry::has(above, name)? {
            staged.swap(above, name)?;
        } else {
            staged.place_new(above, name)?;
        }
        self.clear_whiteout_file(inside, above, name)
    }

    /// Takes a whiteout of the form `.wh.NAME` away, where the directory has such.
    pub(super) fn clear_whiteout_file(
        &self,
        inside: &Directory,
        above: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<()> {
        let names = inside.names.as_ref();
        let has_files = names.is_some_and(|names| names.has_whiteout_files);
        if !has_files && !self.upper.work.makes_files() {
            return Ok(());
        }
        match entry::unlink(above, &[b".wh.", name].concat()) {
            Err(Error::Refused(Errno::NOENT)) => Ok(()),
            cleared => cleared,
        }
    }

    fn found(&self, inode: &Inode) -> Result<Found> {
        let real = inode.attr()?;
        Ok(Found {
            ino: self.derived_ino(&real),
            presence: Presence::Upper(real.attr.ino),
            lower: None,
        })
    }
}

/// Refuses names that are too long, or would be marks.
pub(super) fn refuse_reserved(name: &[u8]) -> Result<()> {
    if name.len() > LONGEST_NAME {
        return Err(Error::Refused(Errno::NAMETOOLONG));
    }
    if name_mark(name) != NameMark::None {
        return Err(Error::Refused(Errno::INVAL));
    }
    Ok(())
}

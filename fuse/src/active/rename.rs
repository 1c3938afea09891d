//! Names that move, directories of the layers below included: where they continue is
//! recorded as a redirect, so that the kernel's overlayfs can follow it too.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::ActiveView;
use super::copy_up::Contents;
use super::create::refuse_reserved;
use super::names::Kind;
use super::node::{Directory, Node, Presence};
use super::upper::entry;
use crate::{Error, NodeId, Reply, Result};

/// The longest redirect that the kernel's overlayfs writes, in bytes.
const LONGEST_REDIRECT: usize = 256;

/// One end of a rename.
struct End<'a> {
    directory: &'a Node,
    fd: Arc<OwnedFd>,
    name: &'a [u8],
}

impl ActiveView {
    /// Answers `renameat2`.
    pub(super) fn rename(
        &self,
        (from, name): (NodeId, &[u8]),
        (to, new_name): (NodeId, &[u8]),
        flags: u32,
    ) -> Result<Reply<'_>> {
        let flags = RenameFlags::from_bits(flags).ok_or(Error::Refused(Errno::INVAL))?;
        refuse_reserved(new_name)?;
        let (from, to) = (self.directory(from)?, self.directory(to)?);
        let source = self.child(&from, name)?;
        let source = source.ok_or(Error::Refused(Errno::NOENT))?;
        let target = self.child(&to, new_name);
        let target = target.inspect_err(|_| self.forget(source.id, 1))?;
        let renamed = self.rename_nodes(
            (&from, name, &source),
            (&to, new_name, target.as_deref()),
            flags,
        );
        self.forget(source.id, 1);
        if let Some(target) = target {
            self.forget(target.id, 1);
        }
        renamed.map(|()| Reply::Done)
    }

    fn rename_nodes(
        &self,
        (from, name, source): (&Node, &[u8], &Node),
        (to, new_name, target): (&Node, &[u8], Option<&Node>),
        flags: RenameFlags,
    ) -> Result<()> {
        if flags.contains(RenameFlags::NOREPLACE) && target.is_some() {
            return Err(Error::Refused(Errno::EXIST));
        }
        let beside = (from.id == to.id).then_some(from);
        let replaced = target.filter(|target| target.is_directory() && source.is_directory());
        if let (Some(target), false) = (replaced, flags.contains(RenameFlags::EXCHANGE)) {
            self.refuse_unless_empty(target, &mut target.directory_mut())?;
        }
        self.prepare(source, beside)?;
        self.copy_up_directory(from)?;
        self.copy_up_directory(to)?;
        let is_exchange = flags.contains(RenameFlags::EXCHANGE);
        if let (true, Some(target)) = (is_exchange, target) {
            self.prepare(target, beside)?;
        }
        let _tree = self.moving_tree();
        let from = End {
            directory: from,
            fd: self.directory_fd(from)?,
            name,
        };
        let to = End {
            directory: to,
            fd: self.directory_fd(to)?,
            name: new_name,
        };
        match (is_exchange, target) {
            (true, Some(target)) => self.exchange((&from, source), (&to, target)),
            (true, None) => Err(Error::Refused(Errno::NOENT)),
            (false, target) => self.move_over((&from, source), (&to, target)),
        }
    }

    /// Copies up what is to move, and records where it continues below.
    fn prepare(&self, node: &Node, beside: Option<&Node>) -> Result<()> {
        self.copy_up(node, Contents::Later)?;
        self.point_below(node, beside)
    }

    /// Records the path by which the layers below know what an inode of the upper goes
    /// on with, before it is found under another name. One that stays in its directory can
    /// do with its old name there, where the path is too long.
    pub(super) fn point_below(&self, node: &Node, beside: Option<&Node>) -> Result<()> {
        let (presence, lower) = {
            let state = node.state();
            (state.presence, state.lower())
        };
        let goes_on = node.is_directory() || matches!(presence, Presence::Metadata(_));
        let Some(lower) = lower.filter(|_| goes_on) else {
            return Ok(());
        };
        let path = match self.lower.path_of(lower) {
            Ok(path) => Some([b"/", &path[..]].concat()),
            // It is shown under no path of its own.
            Err(Error::Refused(Errno::NOENT)) => None,
            Err(error) => return Err(error),
        };
        match path {
            Some(path) if path.len() <= LONGEST_REDIRECT => {
                self.upper.set_redirect(&self.inode(node)?, &path)
            }
            Some(path) if self.is_below(&path, beside)? => {
                let name = path.rsplit(|byte| *byte == b'/').next();
                let name = name.unwrap_or_default();
                self.upper.set_redirect(&self.inode(node)?, name)
            }
            _ if node.is_directory() => Err(Error::Refused(Errno::XDEV)),
            _ => self.copy_up(node, Contents::ALL),
        }
    }

    /// Returns whether a path of the layers below is that of a name in what a directory
    /// goes on with there.
    fn is_below(&self, path: &[u8], directory: Option<&Node>) -> Result<bool> {
        let Some(lower) = directory.and_then(|directory| directory.directory().lower) else {
            return Ok(false);
        };
        let above = path.iter().rposition(|byte| *byte == b'/');
        let above = above.and_then(|end| path.get(1..end.max(1)));
        Ok(above == Some(&self.lower.path_of(lower)?[..]))
    }

    fn exchange(
        &self,
        (from, source): (&End<'_>, &Node),
        (to, target): (&End<'_>, &Node),
    ) -> Result<()> {
        let there = self.is_over_lower(to.directory, to.name)?;
        let here = self.is_over_lower(from.directory, from.name)?;
        self.cut_below(source, there)?;
        self.cut_below(target, here)?;
        entry::rename(
            (&from.fd, from.name),
            (&to.fd, to.name),
            RenameFlags::EXCHANGE,
        )?;
        set(from, Kind::Entry(target.file_type), here);
        set(to, Kind::Entry(source.file_type), there);
        self.nodes.set_place(source.id, None);
        self.nodes
            .set_place(target.id, Some((from.directory.id, from.name)));
        self.nodes
            .set_place(source.id, Some((to.directory.id, to.name)));
        Ok(())
    }

    fn move_over(
        &self,
        (from, source): (&End<'_>, &Node),
        (to, target): (&End<'_>, Option<&Node>),
    ) -> Result<()> {
        if let Some(target) = target {
            self.make_way(source, target, to)?;
        }
        let there = self.is_over_lower(to.directory, to.name)?;
        let leaves_whiteout = self.is_over_lower(from.directory, from.name)?;
        self.cut_below(source, there)?;
        let is_whiteout = {
            let inside = self.loaded(to.directory)?;
            inside
                .names
                .as_ref()
                .is_some_and(|names| names.is_whiteout(to.name))
        };
        if source.is_directory() && is_whiteout && entry::has(&to.fd, to.name)? {
            let ends = ((&from.fd, from.name), (&to.fd, to.name));
            entry::rename(ends.0, ends.1, RenameFlags::EXCHANGE)?;
            if !leaves_whiteout {
                entry::unlink(&from.fd, from.name)?;
            }
        } else if leaves_whiteout {
            self.leave_whiteout(from, to, source.is_directory())?;
        } else {
            let ends = ((&from.fd, from.name), (&to.fd, to.name));
            entry::rename(ends.0, ends.1, RenameFlags::empty())?;
        }
        if is_whiteout {
            let inside = to.directory.directory();
            self.clear_whiteout_file(&inside, to.fd.as_fd(), to.name)?;
        }
        self.moved((from, source), (to, target), there, leaves_whiteout);
        Ok(())
    }

    /// Records a move in the tables.
    fn moved(
        &self,
        (from, source): (&End<'_>, &Node),
        (to, target): (&End<'_>, Option<&Node>),
        there: bool,
        leaves_whiteout: bool,
    ) {
        if leaves_whiteout {
            set(from, Kind::Whiteout, true);
        } else if let Some(names) = from.directory.directory_mut().names.as_mut() {
            names.remove(from.name);
        }
        set(to, Kind::Entry(source.file_type), there);
        if let Some(target) = target {
            if target.is_directory() {
                target.directory_mut().is_removed = true;
                self.directories.remove(target.id);
            }
            self.unplace(to.directory.id, to.name, target);
        }
        self.nodes
            .set_place(source.id, Some((to.directory.id, to.name)));
    }

    /// Checks that a name can be taken, and keeps of its node what is still needed.
    fn make_way(&self, source: &Node, target: &Node, to: &End<'_>) -> Result<()> {
        match (source.is_directory(), target.is_directory()) {
            (false, true) => return Err(Error::Refused(Errno::ISDIR)),
            (true, false) => return Err(Error::Refused(Errno::NOTDIR)),
            (true, true) => {
                let mut inside = target.directory_mut();
                self.refuse_unless_empty(target, &mut inside)?;
                self.keep(target)?;
                if target.state().presence != Presence::Lower {
                    self.clear_whiteouts(&inside, &to.fd, to.name)?;
                }
            }
            (false, false) => {}
        }
        self.keep(target)
    }

    /// Hides what a directory of the upper would merge with at its new place.
    fn cut_below(&self, node: &Node, is_over_lower: bool) -> Result<()> {
        if is_over_lower && node.is_directory() && node.directory().lower.is_none() {
            self.upper.set_opaque(&self.inode(node)?)?;
        }
        Ok(())
    }

    /// Renames and leaves a whiteout at the old name, in one step where the file system
    /// and the rights of this process allow it.
    fn leave_whiteout(&self, from: &End<'_>, to: &End<'_>, is_directory: bool) -> Result<()> {
        let work = &self.upper.work;
        let rename = |flags| entry::rename((&from.fd, from.name), (&to.fd, to.name), flags);
        if !work.makes_files() {
            match rename(RenameFlags::WHITEOUT) {
                Err(Error::Refused(Errno::PERM | Errno::INVAL)) => {}
                renamed => return renamed,
            }
        } else if !is_directory {
            // Beside what has the name it hides nothing; a directory it would make opaque.
            work.hide(&from.fd, from.name)?;
            return rename(RenameFlags::empty());
        }
        rename(RenameFlags::empty())?;
        work.hide(&from.fd, from.name)
    }

    /// Returns whether the layers below have a name of a directory.
    fn is_over_lower(&self, directory: &Node, name: &[u8]) -> Result<bool> {
        let inside = self.loaded(directory)?;
        match (inside.name(name), inside.lower) {
            (Some(found), _) => Ok(found.is_over_lower),
            (None, Some(lower)) => self.lower.has_name(lower, name),
            (None, None) => Ok(false),
        }
    }
}

/// Sets what the upper has for the name of an end.
fn set(end: &End<'_>, kind: Kind, is_over_lower: bool) {
    let mut inside = end.directory.directory_mut();
    let Directory { names, .. } = &mut *inside;
    if let Some(names) = names.as_mut() {
        names.set(end.name, kind, is_over_lower);
    }
}

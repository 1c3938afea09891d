//! Names that go: a whiteout is left only where something below is hidden by it.

use std::os::fd::AsFd;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::names::Kind;
use super::node::{Directory, Node, Presence};
use super::upper::{Inode, entry};
use super::{ActiveView, asked};
use crate::{Attr, Error, FileType, NodeId, Operation, Reply, Result};

impl ActiveView {
    /// Answers `unlink`. Nothing is copied up for it.
    pub(super) fn unlink(&self, directory: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        self.take_away(directory, name, |victim| {
            if victim.is_directory() {
                return Err(Error::Refused(Errno::ISDIR));
            }
            Ok(())
        })
    }

    /// Answers `rmdir`.
    pub(super) fn rmdir(&self, directory: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        self.take_away(directory, name, |victim| {
            if !victim.is_directory() {
                return Err(Error::Refused(Errno::NOTDIR));
            }
            Ok(())
        })
    }

    /// Removes the node of a name, to which there is a reference meanwhile, if it is of the
    /// right type.
    fn take_away(
        &self,
        directory: NodeId,
        name: &[u8],
        check: impl FnOnce(&Node) -> Result<()>,
    ) -> Result<Reply<'_>> {
        let directory = self.directory(directory)?;
        let victim = self.child(&directory, name)?;
        let victim = victim.ok_or(Error::Refused(Errno::NOENT))?;
        let removed = check(&victim).and_then(|()| self.remove_node(&directory, name, &victim));
        self.forget(victim.id, 1);
        removed.map(|()| Reply::Done)
    }

    fn remove_node(&self, directory: &Node, name: &[u8], victim: &Node) -> Result<()> {
        // What is refused copies nothing up.
        if victim.is_directory() && directory.state().presence == Presence::Lower {
            self.refuse_unless_empty(victim, &mut victim.directory_mut())?;
        }
        self.copy_up_directory(directory)?;
        let _tree = self.still_tree();
        let mut inside = directory.directory_mut();
        self.load(directory, &mut inside)?;
        let mut within = victim.is_directory().then(|| victim.directory_mut());
        if let Some(within) = &mut within {
            self.refuse_unless_empty(victim, within)?;
        }
        let above = self.directory_fd(directory)?;
        self.keep(victim)?;
        let found = inside
            .name(name)
            .map(|found| (found.kind, found.is_over_lower));
        match found {
            Some((Kind::Whiteout, _)) => return Err(Error::Refused(Errno::NOENT)),
            Some((Kind::Entry(_), true)) => {
                let work = &self.upper.work;
                work.hide_instead(&above, name, victim.is_directory())?;
            }
            Some((Kind::Entry(_), false)) if victim.is_directory() => {
                match entry::rmdir(&above, name) {
                    // Whiteouts are in it.
                    Err(Error::Refused(Errno::NOTEMPTY)) => {
                        self.upper.work.take_away(&above, name)?;
                    }
                    removed => removed?,
                }
            }
            Some((Kind::Entry(_), false)) => entry::unlink(&above, name)?,
            None => self.upper.work.hide(&above, name)?,
        }
        if let Some(within) = &mut within {
            within.is_removed = true;
            self.directories.remove(victim.id);
        }
        drop(within);
        self.removed(directory, &mut inside, name, victim);
        Ok(())
    }

    /// Records that a name went.
    fn removed(&self, directory: &Node, inside: &mut Directory, name: &[u8], victim: &Node) {
        let is_lower = inside.lower.is_some();
        if let Some(names) = inside.names.as_mut() {
            match names.get(name).map(|found| found.is_over_lower) {
                Some(false) => names.remove(name),
                Some(true) => names.set(name, Kind::Whiteout, true),
                None if is_lower => names.set(name, Kind::Whiteout, true),
                None => {}
            }
        }
        self.unplace(directory.id, name, victim);
    }

    /// Takes a node from its place, if it is this one: it may have others.
    pub(super) fn unplace(&self, directory: NodeId, name: &[u8], victim: &Node) {
        let place = self.nodes.place(victim.id);
        if place.is_some_and(|place| place.parent == directory && *place.name == *name) {
            self.nodes.set_place(victim.id, None);
        }
    }

    /// Keeps of a node what can be asked for after its name is gone: the inode of the
    /// upper, or the attributes that the layers below do not give.
    pub(super) fn keep(&self, victim: &Node) -> Result<()> {
        let (presence, opens, is_kept) = {
            let state = victim.state();
            (state.presence, state.opens(), state.kept().is_some())
        };
        if is_kept {
            return Ok(());
        }
        let is_regular = victim.file_type == FileType::Regular;
        let attr = if is_regular || presence == Presence::Lower {
            Some(self.attr(victim)?)
        } else {
            None
        };
        // A file that nobody has open is most often not asked about again, and to hold its
        // inode open makes the file system take more trouble over its end.
        let is_over = is_regular && opens == 0 && attr.is_some_and(|attr| attr.nlink <= 1);
        if presence != Presence::Lower && !is_over {
            let inode = if is_regular && opens > 0 {
                self.file(victim)?
            } else {
                self.inode(victim)?
            };
            victim.state().used().kept.get_or_insert(inode);
            return Ok(());
        }
        let attr = attr.ok_or(Error::Refused(Errno::STALE))?;
        let nlink = if victim.is_directory() {
            0
        } else {
            attr.nlink.saturating_sub(1)
        };
        victim.state().used().gone = Some(Box::new(Attr { nlink, ..attr }));
        self.nodes.departed(victim);
        Ok(())
    }

    /// Refuses a directory that shows names.
    pub(super) fn refuse_unless_empty(&self, node: &Node, inside: &mut Directory) -> Result<()> {
        self.load(node, inside)?;
        let not_empty = Error::Refused(Errno::NOTEMPTY);
        let Some(names) = inside.names.as_ref() else {
            return Err(not_empty);
        };
        if names.iter().any(|name| name.kind != Kind::Whiteout) {
            return Err(not_empty);
        }
        let Some(lower) = inside.lower else {
            return Ok(());
        };
        let operation = Operation::ReadDir { offset: 2 };
        let Reply::Listing(listing) = self.lower.answer(&asked(lower, operation))? else {
            return Err(Error::Refused(Errno::IO));
        };
        for entry in listing.entries {
            if !names.is_whiteout(&entry?.name) {
                return Err(not_empty);
            }
        }
        Ok(())
    }

    /// Makes an empty directory of the upper truly empty, that something can be renamed
    /// over it.
    pub(super) fn clear_whiteouts(
        &self,
        inside: &Directory,
        above: impl AsFd,
        name: &[u8],
    ) -> Result<()> {
        let has_any = inside
            .names
            .as_ref()
            .is_some_and(|names| names.iter().next().is_some());
        if !has_any {
            return Ok(());
        }
        let (staged, inode) = self.upper.work.stage(|work, name| {
            rustix::fs::mkdirat(work, name, Mode::RWXU)?;
            Inode::at(work, name)
        })?;
        self.upper.set_opaque(&inode)?;
        staged.swap(above, name)
    }
}

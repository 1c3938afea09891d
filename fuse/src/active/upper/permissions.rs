//! Owner, mode and type of what is in an upper: those of the inodes, or what an
//! attribute of them says (rule 17).
//!
//! Where an attribute says it, an inode on disk belongs to this process, which can always
//! read and write it, and it is a file, a directory or a symbolic link. Of a symbolic
//! link nothing can be kept: it is root's. A file that stands for a link has its target as
//! contents.

use rustix::io::Errno;

use super::{Inode, Ownership, Upper, XattrSpace};
use crate::layer::directory::RealAttr;
use crate::layer::marks;
use crate::layer::override_stat::{self, OverrideKind, OverrideName, OverrideStat};
use crate::{Attr, Error, FileType, Result};

/// The permission bits that are no privilege of whoever runs the file.
const PLAIN: u32 = 0o777;
const PERMISSIONS: u32 = 0o7777;
/// The attribute that is a privilege of a file.
const CAPABILITY: &[u8] = b"security.capability";

impl Upper {
    /// Returns whether attributes say what inodes are.
    pub(in crate::active) fn overrides(&self) -> bool {
        self.override_name.is_some()
    }

    /// Returns whether what is made as a symbolic link is a file on disk, so that an attribute
    /// can say whose it is.
    pub(in crate::active) fn links_are_files(&self) -> bool {
        self.overrides() && self.options.links_are_files
    }

    /// Sees to it that the root says that attributes say what inodes are; it is shown as
    /// `below`, if it does not say yet as what.
    pub(in crate::active) fn mark_root(&self, below: &Attr) -> Result<()> {
        let root = Inode::at(self.root(), b".")?;
        match self.override_name {
            Some(name) if root.stored_xattr(name.as_bytes())?.is_none() => {
                let stat = stat_of(below, None);
                root.set_stored_xattr(name.as_bytes(), &stat.to_value(), 0)
            }
            _ => Ok(()),
        }
    }

    /// Returns the attributes that an inode is shown with.
    pub(in crate::active) fn attr(&self, inode: &Inode) -> Result<RealAttr> {
        let real = inode.attr()?;
        match self.said(inode, &real)? {
            Some(stat) => Ok(RealAttr {
                attr: stat.apply(real.attr).ok_or_else(|| self.no_sense())?,
                ..real
            }),
            None if self.overrides() => Ok(RealAttr {
                attr: override_stat::without_value(real.attr),
                ..real
            }),
            None => Ok(real),
        }
    }

    /// Sets the owner of an inode.
    pub(in crate::active) fn set_owner(
        &self,
        inode: &Inode,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<()> {
        if !self.overrides() {
            return self.set_real_owner(inode, uid, gid);
        }
        self.change(inode, |stat, file_type| {
            stat.uid = uid.unwrap_or(stat.uid);
            stat.gid = gid.unwrap_or(stat.gid);
            // As chown(2) does.
            if file_type != FileType::Directory {
                stat.permissions &= !libc::S_ISUID;
                if stat.permissions & libc::S_IXGRP != 0 {
                    stat.permissions &= !libc::S_ISGID;
                }
            }
        })?;
        self.drop_stored_capability(inode)
    }

    /// Sets the permission bits of an inode.
    pub(in crate::active) fn set_mode(&self, inode: &Inode, mode: u32) -> Result<()> {
        if !self.overrides() {
            return inode.chmod(mode);
        }
        self.change(inode, |stat, _| stat.permissions = mode & PERMISSIONS)
    }

    /// Sets what of `attr` a new inode with its owner has not: the mode and, where
    /// attributes say them, owner and type.
    pub(in crate::active) fn set_permissions(&self, inode: &Inode, attr: &Attr) -> Result<()> {
        let file_type = FileType::of_mode(attr.mode);
        if !self.overrides() {
            return match file_type {
                Some(FileType::Symlink) => Ok(()),
                _ => inode.chmod(attr.mode),
            };
        }
        let kind = match file_type {
            Some(FileType::CharDevice) => Some(OverrideKind::Char(attr.rdev)),
            Some(FileType::BlockDevice) => Some(OverrideKind::Block(attr.rdev)),
            // A link on disk has no attribute to say it.
            Some(other @ (FileType::Fifo | FileType::Socket | FileType::Symlink)) => {
                Some(OverrideKind::Plain(other))
            }
            _ => None,
        };
        self.change(inode, |stat, _| *stat = stat_of(attr, kind))
    }

    /// Takes the mode over that an access list has given the inode.
    pub(in crate::active) fn follow_access_list(&self, inode: &Inode) -> Result<()> {
        let real = inode.attr()?.attr.mode & PLAIN;
        self.change(inode, |stat, _| {
            stat.permissions = stat.permissions & !PLAIN | real;
        })
    }

    /// Returns whether a file has privileges that the file system would leave where this
    /// process writes, or the kernel for it.
    pub(in crate::active) fn has_privileges(&self, inode: &Inode) -> Result<bool> {
        const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
        if self.attr(inode)?.attr.mode & SET_ID != 0 {
            return Ok(true);
        }
        match self.stored_xattr(CAPABILITY) {
            Some(name) if name != CAPABILITY => Ok(inode.stored_xattr(&name)?.is_some()),
            _ => Ok(false),
        }
    }

    /// Takes the privileges of a file away that its mode does not show, as a write does.
    pub(in crate::active) fn drop_stored_capability(&self, inode: &Inode) -> Result<()> {
        let stored = self.stored_xattr(CAPABILITY);
        match stored {
            // The file system does it.
            Some(name) if name == CAPABILITY => Ok(()),
            Some(name) => match inode.remove_stored_xattr(&name) {
                // EPERM: a link or a device on disk, which has none of users' attributes.
                Err(Error::Refused(Errno::NODATA | Errno::PERM)) => Ok(()),
                removed => removed,
            },
            None => Ok(()),
        }
    }

    /// Returns the name that the upper has for a shown attribute, or `None` where there
    /// can be none.
    pub(in crate::active) fn stored_xattr(&self, shown: &[u8]) -> Option<Vec<u8>> {
        let name = match self.override_name {
            Some(own) => own.stored_xattr(shown)?,
            None => shown.into(),
        };
        marks::stored_xattr(&name).map(std::borrow::Cow::into_owned)
    }

    /// Returns the value of the attribute that is shown as `name`.
    pub(in crate::active) fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.stored_xattr(name) {
            // Whatever is wrong is for the caller to know.
            Some(stored) => inode.value(&stored),
            None => Ok(None),
        }
    }

    /// Returns the names of the attributes that are shown.
    pub(in crate::active) fn xattr_names(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let names = inode.xattr_names()?;
        let Some(own) = self.override_name else {
            return Ok(names);
        };
        let shown = names.iter().filter_map(|name| own.shown_xattr(name));
        Ok(shown.map(std::borrow::Cow::into_owned).collect())
    }

    /// Changes what the attribute of an inode says, and gives the inode the bits of it
    /// that are no privilege.
    fn change(
        &self,
        inode: &Inode,
        change: impl FnOnce(&mut OverrideStat, FileType),
    ) -> Result<()> {
        let real = inode.attr()?;
        let (Some(name), Some(own)) = (self.override_name, own_bits(real.file_type())) else {
            return Ok(());
        };
        let mut stat = match self.said(inode, &real)? {
            Some(stat) => stat,
            None => stat_of(&real.attr, None),
        };
        change(&mut stat, real.file_type());
        inode.set_stored_xattr(name.as_bytes(), &stat.to_value(), 0)?;
        let bits = stat.permissions & PLAIN | own;
        if real.attr.mode & PERMISSIONS == bits {
            return Ok(());
        }
        inode.chmod(bits)
    }

    /// Returns what the attribute of an inode says, where it has one that counts.
    fn said(&self, inode: &Inode, real: &RealAttr) -> Result<Option<OverrideStat>> {
        let (Some(name), Some(_)) = (self.override_name, own_bits(real.file_type())) else {
            return Ok(None);
        };
        let value = inode.stored_xattr(name.as_bytes())?;
        value
            .map(|value| OverrideStat::of_value(&value).ok_or_else(|| self.no_sense()))
            .transpose()
    }

    fn set_real_owner(&self, inode: &Inode, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        match inode.chown(uid, gid) {
            // EINVAL: no user of this process's namespace.
            Err(Error::Refused(Errno::PERM | Errno::INVAL))
                if self.options.ownership == Ownership::Attempted =>
            {
                Ok(())
            }
            // Without privilege everything belongs to the one user.
            Err(Error::Refused(Errno::PERM)) if self.options.xattrs == XattrSpace::User => Ok(()),
            set => set,
        }
    }

    fn no_sense(&self) -> Error {
        Error::Corrupt {
            layer: self.label().display().to_string(),
            reason: "an override_stat makes no sense".to_owned(),
        }
    }
}

/// Returns the name that an upper is to use: the one that its root has, if any.
pub(super) fn override_name(ownership: Ownership, root: &[Vec<u8>]) -> Option<OverrideName> {
    let wanted = match ownership {
        Ownership::Real | Ownership::Attempted => return None,
        Ownership::Privileged => OverrideName::Privileged,
        Ownership::Containers => OverrideName::Containers,
    };
    Some(OverrideName::of_root(root).unwrap_or(wanted))
}

fn stat_of(attr: &Attr, kind: Option<OverrideKind>) -> OverrideStat {
    OverrideStat {
        uid: attr.uid,
        gid: attr.gid,
        permissions: attr.mode & PERMISSIONS,
        kind,
    }
}

/// Returns the bits without which this process could not use an inode of a type; `None`
/// for those that have no attribute.
fn own_bits(file_type: FileType) -> Option<u32> {
    match file_type {
        FileType::Regular => Some(0o600),
        FileType::Directory => Some(0o700),
        _ => None,
    }
}

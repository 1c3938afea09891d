//! What an inode of a directory layer is shown as: mostly as the file system has it.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;

use super::listing::RawEntry;
use super::xattr;
use super::{DirectoryLayer, LONGEST_TARGET, RealAttr};
use crate::layer::marks::{NameMark, name_mark};
use crate::layer::override_stat::{OverrideStat, without_value};
use crate::{Attr, FileType, Result};

/// Bytes in a block of `st_blocks`.
const BLOCK: u64 = 512;

impl DirectoryLayer {
    /// Returns whether an inode may be shown with other attributes than it has.
    pub(super) fn may_differ(&self, real: &RealAttr) -> bool {
        self.may_stand_for_others(real.file_type())
            || may_be_metacopy(real)
            || self.override_name.is_some() && real.file_type() == FileType::Symlink
    }

    /// Returns whether an attribute of an inode may say what it is.
    fn may_stand_for_others(&self, file_type: FileType) -> bool {
        self.override_name.is_some() && matches!(file_type, FileType::Regular | FileType::Directory)
    }

    /// Returns the attributes that an inode is shown with.
    pub(super) fn shown(&self, real: RealAttr, inode: &OwnedFd, path: &[u8]) -> Result<RealAttr> {
        let mut attr = real.attr;
        if may_be_metacopy(&real) && self.marks(inode, path)?.metacopy {
            // Its own have no blocks, by which some take it for zeros.
            attr.blocks = attr.size.div_ceil(BLOCK);
        }
        if self.may_stand_for_others(real.file_type()) {
            attr = self.overridden(attr, inode, path)?;
        } else if self.override_name.is_some() {
            attr = without_value(attr);
        }
        Ok(RealAttr { attr, ..real })
    }

    /// Returns what the attribute of an inode makes of its attributes (rule 17).
    fn overridden(&self, attr: Attr, inode: &OwnedFd, path: &[u8]) -> Result<Attr> {
        let Some(name) = self.override_name else {
            return Ok(attr);
        };
        let value = xattr::stored_value(inode, name.as_bytes());
        let Some(value) = value.map_err(self.failed("read attribute of", path))? else {
            return Ok(attr);
        };
        OverrideStat::of_value(&value)
            .and_then(|stat| stat.apply(attr))
            .ok_or_else(|| {
                let reason = format!("override_stat {} makes no sense", value.escape_ascii());
                self.corrupt(path, &reason)
            })
    }

    /// Gives the entries of a directory the types that they are shown with.
    pub(super) fn correct_types(
        &self,
        directory: &OwnedFd,
        entries: &mut [RawEntry],
    ) -> Result<()> {
        let differs = |entry: &&mut RawEntry| {
            entry.file_type == Some(FileType::Regular) && name_mark(&entry.name) == NameMark::None
        };
        if self.override_name.is_some() {
            for entry in entries.iter_mut().filter(differs) {
                let shown = self.attr_in(directory, &entry.name)?;
                entry.file_type = Some(shown.file_type());
            }
        }
        Ok(())
    }

    /// Returns the name under which an attribute is shown, or `None` where it is hidden.
    pub(super) fn shown_xattr<'a>(&self, stored: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self.override_name {
            Some(name) => name.shown_xattr(stored),
            None => Some(Cow::Borrowed(stored)),
        }
    }

    /// Returns the name that the layer has for a shown attribute, the inverse.
    pub(super) fn stored_xattr<'a>(&self, shown: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self.override_name {
            Some(name) => name.stored_xattr(shown),
            None => Some(Cow::Borrowed(shown)),
        }
    }

    /// Returns the target of a symbolic link that is the contents of a regular file.
    pub(super) fn target_in_file(&self, path: &[u8]) -> Result<Vec<u8>> {
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        target_in_file(&file)
            .map_err(self.failed("read", path))?
            .ok_or_else(|| self.corrupt(path, "no symbolic link has such a target"))
    }
}

/// Returns the target of a symbolic link that is the contents of a regular file; `None` where
/// no link has such a one.
pub(crate) fn target_in_file(file: &OwnedFd) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut target = vec![0; LONGEST_TARGET + 1];
    let length = rustix::io::pread(file, &mut target, 0)?;
    target.truncate(length);
    Ok((1..=LONGEST_TARGET).contains(&length).then_some(target))
}

/// Returns whether a file has fewer blocks than bytes, as all metadata-only copies that
/// the kernel made.
fn may_be_metacopy(real: &RealAttr) -> bool {
    let blocks = real.attr.size.div_ceil(BLOCK);
    real.file_type() == FileType::Regular && real.attr.blocks < blocks
}

//! The marks that tie an inode of the upper to the layers below.

use std::os::fd::OwnedFd;

use crate::layer::directory::{RealAttr, xattr};
use crate::layer::marks::{self, XattrMark};
use crate::{Ino, Result};

use super::{Inode, Upper};

/// The mark that keeps the number of a file that was copied up. It is this crate's own;
/// the kernel's overlayfs hides it and takes no notice.
const NUMBER: &str = "mica.ino";

/// What the marks of an inode say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::active) struct UpperMarks {
    /// The directory hides what the layers below hold in it.
    pub(in crate::active) opaque: bool,
    /// The contents of the file are still in the layers below.
    pub(in crate::active) metacopy: bool,
    /// The path by which the layers below know it, from their root, or a name beside it.
    pub(in crate::active) redirect: Option<Vec<u8>>,
    /// The number under which it was known before it was copied up.
    pub(in crate::active) number: Option<Ino>,
}

impl UpperMarks {
    /// Reads the marks of an inode; most have none, which one call shows.
    pub(in crate::active) fn read(inode: &Inode) -> Result<Self> {
        let mut found = Self::default();
        for name in xattr::stored_names(&inode.0)? {
            let value = || inode.stored_xattr(&name);
            match marks::xattr_mark(&name) {
                Some(XattrMark::Opaque) => {
                    found.opaque |= value()?.is_some_and(|value| value.first() == Some(&b'y'));
                }
                Some(XattrMark::Metacopy) => found.metacopy = true,
                Some(XattrMark::Redirect) => found.redirect = value()?,
                None if name.ends_with(NUMBER.as_bytes()) && is_own(&name) => {
                    found.number = value()?.and_then(|value| number(&value));
                }
                Some(XattrMark::Whiteout) | None => {}
            }
        }
        Ok(found)
    }
}

impl Upper {
    /// Returns what a name is shown as, and its marks. The names of the directory are locked.
    pub(in crate::active) fn look_at(
        &self,
        directory: &OwnedFd,
        name: &[u8],
    ) -> Result<(RealAttr, UpperMarks)> {
        if !self.overrides()
            && let Some(names) = xattr::stored_names_at(directory, name)
            && !names?.iter().any(|name| is_mark(name))
        {
            return Ok((RealAttr::at(directory, name)?, UpperMarks::default()));
        }
        let inode = Inode::at(directory, name)?;
        Ok((self.attr(&inode)?, UpperMarks::read(&inode)?))
    }

    /// Marks a directory as hiding what the layers below hold in it.
    pub(in crate::active) fn set_opaque(&self, inode: &Inode) -> Result<()> {
        self.set_mark(inode, "opaque", b"y")
    }

    /// Marks a file whose contents are in the layers below.
    pub(in crate::active) fn set_metacopy(&self, inode: &Inode) -> Result<()> {
        self.set_mark(inode, "metacopy", b"")
    }

    /// Takes the mark of [`Self::set_metacopy`] away.
    pub(in crate::active) fn clear_metacopy(&self, inode: &Inode) -> Result<()> {
        inode.remove_stored_xattr(self.options.xattrs.name("metacopy").as_bytes())
    }

    /// Records the path by which the layers below know an inode.
    pub(in crate::active) fn set_redirect(&self, inode: &Inode, path: &[u8]) -> Result<()> {
        self.set_mark(inode, "redirect", path)
    }

    /// Records the number under which an inode was known.
    pub(in crate::active) fn set_number(&self, inode: &Inode, ino: Ino) -> Result<()> {
        self.set_mark(inode, NUMBER, ino.0.to_string().as_bytes())
    }

    fn set_mark(&self, inode: &Inode, mark: &str, value: &[u8]) -> Result<()> {
        inode.set_stored_xattr(self.options.xattrs.name(mark).as_bytes(), value, 0)
    }
}

fn is_mark(name: &[u8]) -> bool {
    marks::xattr_mark(name).is_some() || is_own(name)
}

fn is_own(name: &[u8]) -> bool {
    [super::XattrSpace::Trusted, super::XattrSpace::User]
        .iter()
        .any(|space| space.name(NUMBER).as_bytes() == name)
}

fn number(value: &[u8]) -> Option<Ino> {
    std::str::from_utf8(value).ok()?.parse().ok().map(Ino)
}

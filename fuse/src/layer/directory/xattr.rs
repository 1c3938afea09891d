//! Extended attributes in a directory layer.
//!
//! They are read by the name of the inode in its directory, where the kernel can, or through
//! a descriptor. One opened with `O_PATH` reaches every type of inode; the attributes behind
//! it are read through its name in `/proc/self/fd`, which is no link that a layer could have
//! made.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;

use crate::layer::marks::{self, Redirect, XattrMark};
use crate::sys::xattrs as calls;

/// The longest value and the longest list of names that Linux has (`XATTR_SIZE_MAX`,
/// `XATTR_LIST_MAX`), in bytes.
const LONGEST: usize = 65536;

/// The marks of overlayfs on one inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// What a directory says of the layers below.
    pub(crate) opacity: Opacity,
    /// The file is a whiteout, if it is empty and its directory allows such.
    pub(crate) whiteout: bool,
    /// The contents of the file are in a layer below.
    pub(super) metacopy: bool,
    /// Where the layers below have it, as the mark says.
    redirect: Option<Vec<u8>>,
}

/// The value of a redirect that makes no sense.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadRedirect<'a>(pub(super) &'a [u8]);

/// What the opaque mark of a directory says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Opacity {
    /// Nothing.
    #[default]
    None,
    /// The directory hides what the layers below hold in it.
    Opaque,
    /// The directory may hold whiteouts that are files with an attribute.
    WhiteoutFiles,
}

impl Opacity {
    fn of_value(value: &[u8]) -> Self {
        match value {
            [b'y', ..] => Self::Opaque,
            b"x" => Self::WhiteoutFiles,
            _ => Self::None,
        }
    }
}

impl Marks {
    /// Reads the marks of an inode; a file system without attributes has none.
    pub(crate) fn read(inode: &OwnedFd) -> rustix::io::Result<Self> {
        let mut marks = Self::default();
        for name in stored_names(inode)? {
            match marks::xattr_mark(&name) {
                Some(XattrMark::Opaque) if marks.opacity != Opacity::Opaque => {
                    let value = stored_value(inode, &name)?.unwrap_or_default();
                    marks.opacity = Opacity::of_value(&value);
                }
                Some(XattrMark::Whiteout) => marks.whiteout = true,
                Some(XattrMark::Redirect) if marks.redirect.is_none() || is_trusted(&name) => {
                    marks.redirect = stored_value(inode, &name)?;
                }
                Some(XattrMark::Metacopy) => marks.metacopy = true,
                Some(XattrMark::Opaque | XattrMark::Redirect) | None => {}
            }
        }
        Ok(marks)
    }

    /// Returns where the layers below have it, if not where they should; an error where
    /// the mark makes no sense.
    pub(super) fn redirect(&self) -> std::result::Result<Option<Redirect>, BadRedirect<'_>> {
        self.redirect
            .as_deref()
            .map(|value| Redirect::of_value(value).ok_or(BadRedirect(value)))
            .transpose()
    }

    /// Returns whether the layers below have it elsewhere.
    pub(super) fn has_redirect(&self) -> bool {
        self.redirect.is_some()
    }
}

/// Where both kinds of a mark say something, the one that only root can write is right.
fn is_trusted(name: &[u8]) -> bool {
    name.starts_with(b"trusted.")
}

/// Returns the names of the attributes that are shown.
pub(crate) fn names(inode: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    Ok(shown_names(&stored_names(inode)?))
}

/// Returns whether there are marks of overlayfs among the names of attributes.
pub(super) fn may_have_marks(stored: &[Vec<u8>]) -> bool {
    stored.iter().any(|name| marks::xattr_mark(name).is_some())
}

/// Returns the names in a list of attributes that are shown.
pub(crate) fn shown_names(stored: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let shown = stored.iter().filter_map(|name| marks::shown_xattr(name));
    shown.map(std::borrow::Cow::into_owned).collect()
}

/// Returns the value of an attribute by the name that is on disk.
pub(crate) fn stored_value(inode: &OwnedFd, name: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
    of_value(read(|buffer| {
        match rustix::fs::fgetxattr(inode, name, &mut *buffer) {
            Err(Errno::BADF) => rustix::fs::getxattr(magic_link(inode), name, buffer),
            read => read,
        }
    }))
}

/// Returns the same of what a name in a directory stands for; `None` if the kernel cannot.
pub(super) fn stored_value_at(
    directory: impl AsFd,
    name: &[u8],
    attribute: &[u8],
) -> Option<rustix::io::Result<Option<Vec<u8>>>> {
    let (name, attribute) = (CString::new(name).ok()?, CString::new(attribute).ok()?);
    can(read(|buffer| {
        calls::value_at(directory.as_fd(), &name, &attribute, buffer)
    }))
    .map(of_value)
}

/// Returns the names of all attributes; a file system without them has none.
pub(crate) fn stored_names(inode: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    of_list(read(|buffer| {
        match rustix::fs::flistxattr(inode, &mut *buffer) {
            Err(Errno::BADF) => rustix::fs::listxattr(magic_link(inode), buffer),
            read => read,
        }
    }))
}

/// Returns the same of what a name in a directory stands for; `None` if the kernel cannot.
pub(crate) fn stored_names_at(
    directory: impl AsFd,
    name: &[u8],
) -> Option<rustix::io::Result<Vec<Vec<u8>>>> {
    let name = CString::new(name).ok()?;
    can(read(|buffer| {
        calls::list_at(directory.as_fd(), &name, buffer)
    }))
    .map(of_list)
}

/// Returns `None` for a call that the kernel has not, or a filter does not let through.
fn can<T>(result: rustix::io::Result<T>) -> Option<rustix::io::Result<T>> {
    match result {
        Err(Errno::NOSYS | Errno::PERM) => None,
        result => Some(result),
    }
}

fn of_value(read: rustix::io::Result<Vec<u8>>) -> rustix::io::Result<Option<Vec<u8>>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn of_list(read: rustix::io::Result<Vec<u8>>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let list = match read {
        Ok(list) => list,
        // The file system has no attributes.
        Err(Errno::OPNOTSUPP) => Vec::new(),
        Err(errno) => return Err(errno),
    };
    Ok(list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

/// Reads with a small buffer first, since nearly all values and lists are short.
fn read(
    mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; 256];
    match call(&mut small) {
        Ok(length) => Ok(small.get(..length).unwrap_or(&small).to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LONGEST];
            let length = call(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(errno) => Err(errno),
    }
}

fn magic_link(inode: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", inode.as_raw_fd())
}

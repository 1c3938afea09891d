//! Extended attributes (rule 10).

use std::borrow::Cow;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::View;
use super::stack::Place;
use crate::layer::marks;
use crate::layer::packed::InodeIndex;
use crate::{Access, Caller, Error, NodeId, Reply, Request, Result};

impl View {
    /// Answers the value of an attribute.
    pub(super) fn get_xattr(&self, node: NodeId, name: &[u8], size: u32) -> Result<Reply<'_>> {
        self.refuse_without_xattrs()?;
        let value = self.xattr(node, name)?;
        sized(value.ok_or_else(|| missing(name))?, size)
    }

    /// Answers the names of the attributes.
    pub(super) fn list_xattr(&self, request: &Request<'_>, size: u32) -> Result<Reply<'_>> {
        self.refuse_without_xattrs()?;
        let names = self.xattr_names(request.node)?;
        sized(Cow::Owned(listed(names, self.access, request.caller)), size)
    }

    /// Returns the value of the attribute that a node shows as `name`.
    pub(super) fn xattr(&self, node: NodeId, name: &[u8]) -> Result<Option<Cow<'_, [u8]>>> {
        if let Some((layer, index)) = self.override_of(node)?
            && let Some(value) = self.packed_xattr(layer, index, name)?
        {
            return Ok(Some(Cow::Borrowed(value)));
        }
        self.place_xattr(&self.attributes_place(node)?, name)
    }

    /// Returns the names of the attributes that a node shows.
    pub(crate) fn xattr_names(&self, node: NodeId) -> Result<Vec<Vec<u8>>> {
        let mut names = match self.attributes_place(node)? {
            Place::Packed(layer, index) => self.packed_names(layer, index)?,
            Place::Real(layer, path) => self.stack.directory(layer)?.xattr_names(&path)?,
        };
        if let Some((layer, index)) = self.override_of(node)? {
            for name in self.packed_names(layer, index)? {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// Tells the kernel, where no layer has attributes, never to ask again.
    fn refuse_without_xattrs(&self) -> Result<()> {
        if self.has_xattrs {
            Ok(())
        } else {
            Err(Error::Refused(Errno::NOSYS))
        }
    }

    /// Returns where the attributes of a node are: for a directory, in the layer that
    /// names it explicitly.
    fn attributes_place(&self, node: NodeId) -> Result<Place> {
        match self.directory_if_any(node)? {
            Some(directory) => directory.shown(),
            None => self.place(node),
        }
    }

    /// Returns the hard link from an upper layer whose attributes are laid over those
    /// of the file itself (rule 7).
    fn override_of(&self, node: NodeId) -> Result<Option<(u32, InodeIndex)>> {
        if !self.links.any() {
            return Ok(None);
        }
        let Reply::Attr(attr) = self.get_attr(node)? else {
            return Ok(None);
        };
        Ok(self
            .links
            .shared(attr.ino)
            .map(|shared| (shared.layer, shared.header)))
    }

    fn place_xattr(&self, place: &Place, name: &[u8]) -> Result<Option<Cow<'_, [u8]>>> {
        Ok(match place {
            Place::Packed(layer, index) => {
                self.packed_xattr(*layer, *index, name)?.map(Cow::Borrowed)
            }
            Place::Real(layer, path) => self
                .stack
                .directory(*layer)?
                .xattr(path, name)?
                .map(Cow::Owned),
        })
    }

    fn packed_xattr(&self, layer: u32, index: InodeIndex, name: &[u8]) -> Result<Option<&[u8]>> {
        let Some(stored) = marks::stored_xattr(name) else {
            return Ok(None);
        };
        self.stack.packed(layer)?.xattr(index, &stored)
    }

    fn packed_names(&self, layer: u32, index: InodeIndex) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for xattr in self.stack.packed(layer)?.xattrs(index)? {
            names.extend(marks::shown_xattr(xattr?.0).map(Cow::into_owned));
        }
        Ok(names)
    }
}

/// Returns what is said of an attribute that is not there (rule 10).
///
/// `ls -l` asks for the label of each file, and of no further file of a file system that
/// has no labels. The kernel caches neither answer.
pub(crate) fn missing(name: &[u8]) -> Error {
    const LABEL: &[u8] = b"security.selinux";
    static HAS_SELINUX: OnceLock<bool> = OnceLock::new();
    let has_selinux = || {
        let known = std::fs::read_to_string("/proc/filesystems");
        known.map_or(true, |known| known.contains("selinuxfs"))
    };
    Error::Refused(if name == LABEL && !HAS_SELINUX.get_or_init(has_selinux) {
        Errno::OPNOTSUPP
    } else {
        Errno::NODATA
    })
}

/// Returns names of attributes as `listxattr(2)` gives them. Where the kernel checks what
/// callers may do, only root sees those that only root can read.
pub(crate) fn listed(names: Vec<Vec<u8>>, access: Access, caller: Caller) -> Vec<u8> {
    let shows_all = access == Access::Owner || caller.uid == 0;
    let shown = names
        .into_iter()
        .filter(|name| shows_all || !name.starts_with(b"trusted."));
    shown.flat_map(|name| name.into_iter().chain([0])).collect()
}

/// Answers bytes as `getxattr(2)` and `listxattr(2)` do: their length for a buffer of
/// no size, `ERANGE` for one that is too small.
pub(crate) fn sized(bytes: Cow<'_, [u8]>, size: u32) -> Result<Reply<'_>> {
    let length = u32::try_from(bytes.len()).map_err(|_| Error::Refused(Errno::TOOBIG))?;
    match size {
        0 => Ok(Reply::Length(length)),
        size if length > size => Err(Error::Refused(Errno::RANGE)),
        _ => Ok(Reply::Bytes(bytes)),
    }
}

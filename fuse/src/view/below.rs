//! What a writable view asks of the view below its upper: nodes by path, the path of a
//! node, and all that a copy-up takes along.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::View;
use super::source::Source;
use super::stack::Place;
use crate::layer::Kind;
use crate::layer::directory::RealAttr;
use crate::layer::packed::Extent;
use crate::{Entry, Error, Ino, NodeId, Reply, Result};

/// Where the contents of a regular file lie. The file has as many bytes as its
/// attributes say.
#[derive(Debug)]
pub(crate) enum Data {
    /// A file of its own, open for reading, with the same offsets.
    File(Arc<OwnedFd>),
    /// Pieces of a larger file.
    Extents {
        /// The larger file, open for reading.
        file: OwnedFd,
        /// The pieces in the order of the contents; what is between and after them is
        /// zeros.
        extents: Vec<Extent>,
    },
}

impl View {
    /// Returns whether a directory shows a name.
    pub(crate) fn has_name(&self, directory: NodeId, name: &[u8]) -> Result<bool> {
        let directory = self.directory(directory)?;
        let Some(position) = directory.position(&self.stack, name)? else {
            return Ok(false);
        };
        let named = directory.at(&self.stack, position)?;
        Ok(named.is_some_and(|named| named.found.kind != Kind::Whiteout))
    }

    /// Returns the number of an inode of a file system, as a directory layer would have it.
    pub(crate) fn real_ino(&self, real: &RealAttr) -> Ino {
        self.stack.identity.real(real)
    }

    /// Returns the entry at a path from the root, `None` where there is none. No
    /// symbolic link is followed, and a leading `/` says nothing. It counts as one
    /// reference to the node.
    pub(crate) fn node_at(&self, path: &[u8]) -> Result<Option<Entry>> {
        let Reply::Attr(attr) = self.get_attr(NodeId::ROOT)? else {
            return Err(Error::Refused(Errno::IO));
        };
        let mut entry = Entry {
            node: NodeId::ROOT,
            attr,
        };
        for name in path.split(|byte| *byte == b'/') {
            if name.is_empty() {
                continue;
            }
            let found = self.lookup(entry.node, name);
            self.forget(entry.node, 1);
            entry = match found {
                Ok(Reply::Entry(found)) => found,
                Err(error) if error.errno() != Errno::NOTDIR => return Err(error),
                Ok(_) | Err(_) => return Ok(None),
            };
        }
        Ok(Some(entry))
    }

    /// Opens the file that has the contents of a node, where they are a file of their own:
    /// not in a packed layer.
    pub(crate) fn file_of(&self, node: NodeId) -> Result<Option<Arc<OwnedFd>>> {
        match self.place(node)? {
            Place::Packed(..) => Ok(None),
            Place::Real(layer, path) => Ok(match &*self.open_file(node, layer, &path)? {
                Source::File(file) => Some(Arc::clone(file)),
                Source::Packed(..) => None,
            }),
        }
    }

    /// Opens the contents of a regular file; `EISDIR` for a directory, `EINVAL` for
    /// other nodes.
    pub(crate) fn open_data(&self, node: NodeId) -> Result<Data> {
        let (layer, index) = match self.regular(node)? {
            Place::Packed(layer, index) => (layer, index),
            Place::Real(layer, path) => match &*self.open_file(node, layer, &path)? {
                Source::Packed(layer, index) => (*layer, *index),
                Source::File(file) => return Ok(Data::File(Arc::clone(file))),
            },
        };
        let layer = self.stack.packed(layer)?;
        Ok(Data::Extents {
            extents: layer.extents(index)?,
            file: layer.open_data(index)?,
        })
    }

    /// Returns the extended attributes of a node as they are shown.
    pub fn xattrs(&self, node: NodeId) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if !self.has_xattrs {
            return Ok(Vec::new());
        }
        let mut xattrs = Vec::new();
        for name in self.xattr_names(node)? {
            if let Some(value) = self.xattr(node, &name)? {
                let value = value.into_owned();
                xattrs.push((name, value));
            }
        }
        Ok(xattrs)
    }

    /// Returns a path of a node in this view, from the root and without a leading `/`.
    ///
    /// A directory has one. A file may have more, of which this is one. It is `ENOENT`
    /// where nobody knows: of a file of a packed layer the view shows no name at the place
    /// that the layer has it at, since a redirect leads there or a link from a layer above.
    pub(crate) fn path_of(&self, node: NodeId) -> Result<Vec<u8>> {
        if self.directory_if_any(node)?.is_some() {
            return Ok(self.path(node)?.to_vec());
        }
        match self.place(node)? {
            Place::Packed(layer, index) => {
                for path in self.stack.packed(layer)?.paths(index) {
                    if self.shows(&path, node)? {
                        return Ok(path);
                    }
                }
            }
            Place::Real(..) => {
                let path = self.path(node)?;
                if self.shows(&path, node)? {
                    return Ok(path.to_vec());
                }
            }
        }
        Err(Error::Refused(Errno::NOENT))
    }

    /// Returns whether a path leads to a node.
    fn shows(&self, path: &[u8], node: NodeId) -> Result<bool> {
        let found = self.node_at(path)?;
        if let Some(found) = found {
            self.forget(found.node, 1);
        }
        Ok(found.is_some_and(|found| found.node == node))
    }
}

#[cfg(test)]
mod tests;

//! What a writable view asks of the view below it.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::View;
use super::links::Place;
use super::stack::join;
use crate::layer::Kind;
use crate::layer::directory::RealAttr;
use crate::{Entry, Error, Ino, NodeId, Operation, Reply, Request, Result};

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

    /// Returns what is at a path from the root, with one reference to it. No symbolic link
    /// is followed.
    pub(crate) fn node_at(&self, path: &[u8]) -> Result<Option<Entry>> {
        let mut at: Option<Entry> = None;
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            let directory = at.map_or(NodeId::ROOT, |entry| entry.node);
            let next = self.answer(&Request {
                node: directory,
                caller: crate::Caller::default(),
                operation: Operation::Lookup { name },
            });
            if let Some(entry) = at.take() {
                self.forget(entry.node, 1);
            }
            match next {
                Ok(Reply::Entry(entry)) => at = Some(entry),
                Ok(_) | Err(Error::Refused(Errno::NOTDIR)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }

    /// Returns a path of a node from the root.
    pub(crate) fn path_of(&self, node: NodeId) -> Result<Vec<u8>> {
        match self.place(node)? {
            Place::Packed(layer, index) => Ok(self.stack.packed(layer)?.path(index)),
            Place::Real(_, path) => Ok(join(b"", &path)),
        }
    }

    /// Returns all attributes that a node shows, with their values.
    pub(crate) fn xattrs(&self, node: NodeId) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if !self.has_xattrs() {
            return Ok(Vec::new());
        }
        let Reply::Bytes(names) = self.list_xattr(node, u32::MAX)? else {
            return Err(Error::Refused(Errno::IO));
        };
        let mut found = Vec::new();
        for name in names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let Reply::Bytes(value) = self.get_xattr(node, name, u32::MAX)? else {
                return Err(Error::Refused(Errno::IO));
            };
            found.push((name.to_vec(), Cow::into_owned(value)));
        }
        Ok(found)
    }

    /// Opens the file that has the contents of a node, where they are a file of their own:
    /// not in a packed layer.
    pub(crate) fn file_of(&self, node: NodeId) -> Result<Option<Arc<OwnedFd>>> {
        match self.place(node)? {
            Place::Packed(..) => Ok(None),
            Place::Real(layer, path) => self.open_file(node, layer, &path).map(Some),
        }
    }
}

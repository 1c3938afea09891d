//! Extended attributes (rule 10). Access lists are among them.

use std::borrow::Cow;

use rustix::io::Errno;

use super::copy_up::Contents;
use super::{ActiveView, asked};
use crate::layer::marks;
use crate::view::sized;
use crate::{Error, NodeId, Operation, Reply, Result};

impl ActiveView {
    /// Answers the value of an attribute.
    pub(super) fn get_xattr(&self, id: NodeId, name: &[u8], size: u32) -> Result<Reply<'_>> {
        if let Some(lower) = self.lower_of(id)? {
            let operation = Operation::GetXattr { name, size };
            return or_none(self.lower.answer(&asked(lower, operation)), Errno::NODATA);
        }
        let value = self.inode(&*self.node(id)?)?.xattr(name)?;
        sized(
            Cow::Owned(value.ok_or(Error::Refused(Errno::NODATA))?),
            size,
        )
    }

    /// Answers the names of the attributes.
    pub(super) fn list_xattr(&self, id: NodeId, size: u32) -> Result<Reply<'_>> {
        if let Some(lower) = self.lower_of(id)? {
            let operation = Operation::ListXattr { size };
            return match self.lower.answer(&asked(lower, operation)) {
                Err(Error::Refused(Errno::NOSYS)) => sized(Cow::Borrowed(b""), size),
                answer => answer,
            };
        }
        let mut list = Vec::new();
        for name in self.inode(&*self.node(id)?)?.xattr_names()? {
            list.extend(name);
            list.push(0);
        }
        sized(Cow::Owned(list), size)
    }

    /// Sets an attribute.
    pub(super) fn set_xattr(
        &self,
        id: NodeId,
        name: &[u8],
        value: &[u8],
        flags: u32,
        kill_sgid: bool,
    ) -> Result<Reply<'_>> {
        let stored = marks::stored_xattr(name).ok_or(Error::Refused(Errno::PERM))?;
        let node = self.node(id)?;
        self.copy_up(&node, Contents::Later)?;
        let inode = self.inode(&node)?;
        inode.set_stored_xattr(&stored, value, flags)?;
        if kill_sgid {
            let mode = inode.attr()?.attr.mode;
            inode.chmod(mode & !libc::S_ISGID)?;
        }
        Ok(Reply::Done)
    }

    /// Takes an attribute away.
    pub(super) fn remove_xattr(&self, id: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        let stored = marks::stored_xattr(name).ok_or(Error::Refused(Errno::PERM))?;
        // What is not there is not worth a copy.
        drop(self.get_xattr(id, name, 0)?);
        let node = self.node(id)?;
        self.copy_up(&node, Contents::Later)?;
        self.inode(&node)?.remove_stored_xattr(&stored)?;
        Ok(Reply::Done)
    }

    /// Returns the node below where the upper has nothing of a node.
    pub(super) fn lower_of(&self, id: NodeId) -> Result<Option<NodeId>> {
        Ok(self.node(id)?.lower_alone())
    }
}

/// A view of layers without attributes says that it never has any; here they can be set.
fn or_none(answer: Result<Reply<'_>>, none: Errno) -> Result<Reply<'_>> {
    match answer {
        Err(Error::Refused(Errno::NOSYS)) => Err(Error::Refused(none)),
        answer => answer,
    }
}

//! Extended attributes (rule 10). Access lists are among them.

use std::borrow::Cow;

use rustix::io::Errno;

use super::{ActiveView, asked};
use crate::view::{listed, missing, sized};
use crate::{Error, NodeId, Operation, Reply, Request, Result};

impl ActiveView {
    /// Answers the value of an attribute.
    pub(super) fn get_xattr(&self, id: NodeId, name: &[u8], size: u32) -> Result<Reply<'_>> {
        if let Some(lower) = self.lower_of(id)? {
            let operation = Operation::GetXattr { name, size };
            return or_missing(self.lower.answer(&asked(lower, operation)), name);
        }
        let inode = self.inode(&*self.node(id)?)?;
        let value = self.upper.xattr(&inode, name)?;
        sized(Cow::Owned(value.ok_or_else(|| missing(name))?), size)
    }

    /// Answers the names of the attributes.
    pub(super) fn list_xattr(&self, request: &Request<'_>, size: u32) -> Result<Reply<'_>> {
        let id = request.node;
        let node = self.node(id)?;
        let names = match node.lower_alone() {
            Some(lower) => self.lower.xattr_names(lower)?,
            None => self.upper.xattr_names(&self.inode(&node)?)?,
        };
        sized(Cow::Owned(listed(names, self.access, request.caller)), size)
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
        let stored = self
            .upper
            .stored_xattr(name)
            .ok_or(Error::Refused(Errno::PERM))?;
        let node = self.node(id)?;
        let inode = self.inode_to_change(&node)?;
        inode.set_stored_xattr(&stored, value, flags)?;
        if name == b"system.posix_acl_access" && self.upper.overrides() {
            self.upper.follow_access_list(&inode)?;
        }
        if kill_sgid {
            let mode = self.upper.attr(&inode)?.attr.mode;
            self.upper.set_mode(&inode, mode & !libc::S_ISGID)?;
        }
        Ok(Reply::Done)
    }

    /// Takes an attribute away.
    pub(super) fn remove_xattr(&self, id: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        let stored = self
            .upper
            .stored_xattr(name)
            .ok_or(Error::Refused(Errno::PERM))?;
        let node = self.node(id)?;
        let is_acl = name.starts_with(b"system.posix_acl_");
        // What is not there is not worth a copy; to take an access list away that is not
        // there is no error in the upper.
        match self.get_xattr(id, name, 0) {
            Err(Error::Refused(Errno::NODATA)) if is_acl && node.lower_alone().is_none() => {
                return Ok(Reply::Done);
            }
            Err(Error::Refused(Errno::OPNOTSUPP)) => return Err(Error::Refused(Errno::NODATA)),
            value => drop(value?),
        }
        self.inode_to_change(&node)?.remove_stored_xattr(&stored)?;
        Ok(Reply::Done)
    }

    /// Returns the node below where the upper has nothing of a node.
    pub(super) fn lower_of(&self, id: NodeId) -> Result<Option<NodeId>> {
        Ok(self.node(id)?.lower_alone())
    }
}

/// A view of layers without attributes says that it never has any; here they can be set.
fn or_missing<'r>(answer: Result<Reply<'r>>, name: &[u8]) -> Result<Reply<'r>> {
    match answer {
        Err(Error::Refused(Errno::NOSYS)) => Err(missing(name)),
        answer => answer,
    }
}

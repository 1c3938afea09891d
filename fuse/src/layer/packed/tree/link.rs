//! Hard links: a further name of an inode of this layer, or of one that is still
//! to come or lies in a lower layer.

use super::{Content, NONE, Node, Tree, Unresolved};
use crate::tar::{Entry, TarFault};

impl Tree {
    pub(super) fn place_link(
        &mut self,
        directory: u32,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), TarFault> {
        if entry.link.is_empty() {
            return Err(TarFault::EmptyLink);
        }
        let (known, path) = self.link_target(&entry.link)?;
        if known
            .as_ref()
            .is_some_and(|known| (known.0, &known.1[..]) == (directory, name))
        {
            return Err(TarFault::LinkToItself);
        }
        let target = known.map_or(NONE, |(directory, name)| self.child(directory, &name));
        let dentry = self.dentry(directory, name)?;
        let Some(node) = self.inodes.get(target as usize) else {
            return self.place_unresolved(dentry, &path, entry);
        };
        if node.content.is_directory() {
            return Err(TarFault::LinkToDirectory);
        }
        self.set_attributes(target, entry)?;
        if self.dentries[dentry as usize].inode != target {
            self.set_target(dentry, target);
        }
        Ok(())
    }

    fn place_unresolved(
        &mut self,
        dentry: u32,
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), TarFault> {
        let path = self.strings.add(path)?;
        let mut node = Node::implied(NONE, dentry);
        node.content = Content::Link { path };
        let inode = self.add_inode(node)?;
        self.set_attributes(inode, entry)?;
        self.set_target(dentry, inode);
        self.unresolved.push(Unresolved {
            inode,
            dentry,
            offset: entry.offset,
        });
        Ok(())
    }
}

//! Paths through the tree: symbolic links of the layer are followed inside the
//! root, never outside.

use super::{Content, NONE, Node, ROOT, Tree};
use crate::layer::packed::name::{PATH_LIMIT, components};
use crate::tar::{EntryName, TarFault};

/// The symbolic links that one path may lead through, as containerd has it.
const LINK_LIMIT: usize = 255;

/// Where a walk ended.
enum Walk {
    Directory(u32),
    /// A component is not there; the rest of the path, in reverse, begins with it.
    Absent {
        directory: u32,
        rest: Vec<Vec<u8>>,
    },
}

/// The target of a hard link: its directory and name as far as this layer knows the
/// directory.
type Known = Option<(u32, Vec<u8>)>;

impl Tree {
    /// Returns the directory of a path, making what is missing.
    pub(super) fn make_directories(&mut self, path: &[&[u8]]) -> Result<u32, TarFault> {
        let mut links = LINK_LIMIT;
        let mut rest: Vec<Vec<u8>> = path.iter().rev().map(|name| name.to_vec()).collect();
        let mut directory = ROOT;
        loop {
            match self.walk(directory, rest, &mut links)? {
                Walk::Directory(directory) => return Ok(directory),
                Walk::Absent {
                    directory: parent,
                    rest: mut absent,
                } => {
                    if let Some(name) = absent.pop() {
                        directory = self.make_directory(parent, &name)?;
                    }
                    rest = absent;
                }
            }
        }
    }

    /// Finds what a hard link points at. Returns the directory and the name if this
    /// layer has the directory, and the whole path with the links of this layer
    /// resolved.
    pub(in super::super) fn link_target(&self, link: &[u8]) -> Result<(Known, Vec<u8>), TarFault> {
        let path = components(link)?;
        let Some((last, parents)) = path.split_last() else {
            return Err(TarFault::LinkToDirectory);
        };
        let rest = parents.iter().rev().map(|name| name.to_vec()).collect();
        let (known, path) = match self.walk(ROOT, rest, &mut LINK_LIMIT.clone())? {
            Walk::Directory(directory) => {
                let path = [&self.path(directory), *last].concat();
                (Some((directory, last.to_vec())), path)
            }
            Walk::Absent { directory, rest } => {
                let mut path = self.path(directory);
                for name in rest.iter().rev() {
                    path.extend_from_slice(name);
                    path.push(b'/');
                }
                path.extend_from_slice(last);
                (None, path)
            }
        };
        if path.len() > PATH_LIMIT {
            return Err(TarFault::NameTooLong);
        }
        Ok((known, components(&path)?.join(&b'/')))
    }

    /// Goes down a path, given in reverse, until a component is missing.
    fn walk(
        &self,
        mut directory: u32,
        mut rest: Vec<Vec<u8>>,
        links: &mut usize,
    ) -> Result<Walk, TarFault> {
        while let Some(name) = rest.pop() {
            if name == b".." {
                directory = self.parent_of(directory);
                continue;
            }
            let inode = self.child(directory, &name);
            let Some(node) = self.inodes.get(inode as usize) else {
                rest.push(name);
                return Ok(Walk::Absent { directory, rest });
            };
            match node.content {
                Content::Directory { .. } => directory = inode,
                Content::Symlink(target) => {
                    *links = links.checked_sub(1).ok_or(TarFault::TooManyLinks)?;
                    let target = self.strings.bytes_of(target);
                    if target.starts_with(b"/") {
                        directory = ROOT;
                    }
                    let names = target.split(|byte| *byte == b'/').rev();
                    let names = names.filter(|name| !matches!(*name, b"" | b"."));
                    rest.extend(names.map(<[u8]>::to_vec));
                }
                _ => return Err(self.not_a_directory(directory, &name)),
            }
        }
        Ok(Walk::Directory(directory))
    }

    fn make_directory(&mut self, parent: u32, name: &[u8]) -> Result<u32, TarFault> {
        // A name in the target of a symbolic link can be anything.
        components(name)?;
        let dentry = self.dentry(parent, name)?;
        let inode = self.add_inode(Node::implied(parent, dentry))?;
        debug_assert_eq!(self.dentries[dentry as usize].inode, NONE);
        self.set_target(dentry, inode);
        Ok(inode)
    }

    fn parent_of(&self, directory: u32) -> u32 {
        match self.inodes[directory as usize].content {
            Content::Directory { parent, .. } => parent,
            _ => ROOT,
        }
    }

    fn not_a_directory(&self, directory: u32, name: &[u8]) -> TarFault {
        let mut path = self.path(directory);
        path.extend_from_slice(name);
        TarFault::NotADirectory {
            parent: EntryName(path),
        }
    }

    /// Returns the path of a name.
    pub(in super::super) fn name_path(&self, dentry: u32) -> Vec<u8> {
        let Some(name) = self.dentries.get(dentry as usize) else {
            return Vec::new();
        };
        [&self.path(name.directory), self.strings.bytes_of(name.name)].concat()
    }

    /// Returns the path of a directory, with a slash at its end unless it is the root.
    fn path(&self, mut directory: u32) -> Vec<u8> {
        let mut names = Vec::new();
        while let Content::Directory { parent, dentry } = self.inodes[directory as usize].content {
            let Some(name) = self.dentries.get(dentry as usize) else {
                break;
            };
            names.push(name.name);
            directory = parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.extend_from_slice(self.strings.bytes_of(*name));
            path.push(b'/');
        }
        path
    }
}

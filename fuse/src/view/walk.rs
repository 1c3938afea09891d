//! Walks of whole paths through a part of the stack, for what is not at hand by a
//! name in a directory: targets of hard links into lower layers, and directories
//! whose node is asked for after its memory was given back.

use std::collections::HashMap;
use std::sync::Arc;

use super::stack::{Contributor, Located, Stack, join};
use crate::layer::Kind;
use crate::merge::{Resolution, resolve};
use crate::{FileType, Result};

/// The most symbolic links in one path, as for the kernel (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// A walker through the layers from one position downwards. It remembers the
/// directories it came through.
pub(super) struct Walker<'a> {
    stack: &'a Stack,
    from: u32,
    opened: HashMap<Vec<u8>, Arc<[Contributor]>>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(stack: &'a Stack, from: u32) -> Self {
        Self {
            stack,
            from,
            opened: HashMap::new(),
        }
    }

    /// Returns the contributors of the directory at a path, uppermost first, or `None`
    /// where there is no directory.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Option<Arc<[Contributor]>>> {
        let roots = || {
            self.stack
                .contributors(self.stack.roots(self.from), &[], b"")
        };
        let mut here = match self.opened.get(&[][..]) {
            Some(opened) => Arc::clone(opened),
            None => roots()?,
        };
        self.opened.insert(Vec::new(), Arc::clone(&here));
        let mut walked = Vec::new();
        for name in components(path) {
            walked = join(&walked, name);
            if let Some(opened) = self.opened.get(&walked) {
                here = Arc::clone(opened);
                continue;
            }
            let Resolution::Directory(parts) = self.resolve(&here, name)? else {
                return Ok(None);
            };
            here = self.stack.contributors(parts, &here, name)?;
            self.opened.insert(walked.clone(), Arc::clone(&here));
        }
        Ok(Some(here))
    }

    /// Returns the file that a hard link names, with its path. Symbolic links on the
    /// way are followed within the tree, as where the layer is unpacked onto the ones
    /// below; the last name is taken as it is.
    pub(super) fn file(&mut self, path: &[u8]) -> Result<Option<Located>> {
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut walked: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                walked.truncate(walked.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let Some(here) = self.directory(&walked)? else {
                return Ok(None);
            };
            match self.resolve(&here, &name)? {
                Resolution::NonDirectory(found) if pending.is_empty() => {
                    return Ok(Some(found));
                }
                Resolution::Directory(_) => walked = join(&walked, &name),
                Resolution::NonDirectory(found) if links < MOST_LINKS => {
                    let Some(target) = self.link_target(&found)? else {
                        return Ok(None);
                    };
                    links += 1;
                    if target.starts_with(b"/") {
                        walked.clear();
                    }
                    pending.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                Resolution::NonDirectory(_) | Resolution::Absent => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns what a name of a directory is, given the directory's contributors.
    fn resolve(&self, directory: &[Contributor], name: &[u8]) -> Result<Resolution<Located>> {
        let mut held = Vec::new();
        for contributor in directory {
            if let Some(found) = contributor.find(self.stack, name)? {
                let what = found.kind.held();
                held.push((found, what));
            }
        }
        Ok(resolve(held))
    }

    fn link_target(&self, found: &Located) -> Result<Option<Vec<u8>>> {
        Ok(match found.kind {
            Kind::Packed(index, FileType::Symlink) => {
                Some(self.stack.packed(found.layer)?.link_target(index)?.to_vec())
            }
            Kind::Real(FileType::Symlink) => {
                let layer = self.stack.directory(found.layer)?;
                Some(layer.link_target(&found.path)?)
            }
            _ => None,
        })
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

//! Walks of whole paths through a part of the stack, for what is not at hand by a
//! name in a directory: targets of hard links into lower layers, and directories
//! whose node is asked for after its memory was given back.

use std::collections::HashMap;
use std::rc::Rc;

use super::stack::{Contributor, Found, Stack, join};
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
    opened: HashMap<Vec<u8>, Rc<[Contributor]>>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(stack: &'a Stack, from: u32) -> Self {
        Self {
            stack,
            from,
            opened: HashMap::new(),
        }
    }

    /// Returns what the layers that may contribute to the directory at a path hold for
    /// it, uppermost first, or `None` where there is no directory.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Option<Vec<Found>>> {
        let mut parts = self.stack.roots(self.from);
        let mut walked = Vec::new();
        for name in components(path) {
            let Resolution::Directory(found) = self.resolve(&walked, &parts, name)? else {
                return Ok(None);
            };
            walked = join(&walked, name);
            parts = found;
        }
        Ok(Some(parts))
    }

    /// Returns the file that a hard link names, with its path. Symbolic links on the
    /// way are followed within the tree, as where the layer is unpacked onto the ones
    /// below; the last name is taken as it is.
    pub(super) fn file(&mut self, path: &[u8]) -> Result<Option<(Vec<u8>, Found)>> {
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut walked: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                walked.truncate(walked.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let Some(parts) = self.directory(&walked)? else {
                return Ok(None);
            };
            let here = join(&walked, &name);
            match self.resolve(&walked, &parts, &name)? {
                Resolution::NonDirectory(found) if pending.is_empty() => {
                    return Ok(Some((here, found)));
                }
                Resolution::Directory(_) => walked = here,
                Resolution::NonDirectory(found) if links < MOST_LINKS => {
                    let Some(target) = self.link_target(found, &here)? else {
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

    fn resolve(
        &mut self,
        directory: &[u8],
        parts: &[Found],
        name: &[u8],
    ) -> Result<Resolution<Found>> {
        let contributors = self.contributors(directory, parts)?;
        let mut held = Vec::new();
        for contributor in contributors.iter() {
            let dentries = contributor.dentries(self.stack)?;
            if let Some(position) = dentries.position(name)? {
                let (_, kind) = dentries.at(position)?;
                held.push((
                    Found {
                        layer: contributor.layer,
                        kind,
                    },
                    kind.held(),
                ));
            }
        }
        Ok(resolve(held))
    }

    fn contributors(&mut self, directory: &[u8], parts: &[Found]) -> Result<Rc<[Contributor]>> {
        if let Some(opened) = self.opened.get(directory) {
            return Ok(Rc::clone(opened));
        }
        let opened: Rc<[Contributor]> = self.stack.contributors(directory, parts)?.into();
        self.opened.insert(directory.to_vec(), Rc::clone(&opened));
        Ok(opened)
    }

    fn link_target(&self, found: Found, path: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(match found.kind {
            Kind::Packed(index, FileType::Symlink) => {
                Some(self.stack.packed(found.layer)?.link_target(index)?.to_vec())
            }
            Kind::Real(FileType::Symlink) => {
                Some(self.stack.directory(found.layer)?.link_target(path)?)
            }
            _ => None,
        })
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

//! Where the contents of a regular file of a directory layer are: in the file, or in a
//! layer below where the mark of a metadata-only copy says so (rule 16).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::View;
use super::stack::{Contributor, Place, split};
use super::trail::Trail;
use super::walk::Walker;
use crate::layer::Kind;
use crate::layer::directory::Contents;
use crate::layer::packed::InodeIndex;
use crate::{Error, FileType, Result};

/// What is read for a regular file.
#[derive(Debug)]
pub(super) enum Source {
    /// A file that is open for reading.
    File(Arc<OwnedFd>),
    /// An inode of the packed layer at a position.
    Packed(u32, InodeIndex),
}

impl View {
    /// Opens the contents of the regular file at a path of a directory layer. `seen_at` is
    /// a path that it probably has in the view.
    pub(super) fn open_source(&self, layer: u32, path: &[u8], seen_at: &[u8]) -> Result<Source> {
        let directory = self.stack.directory(layer)?;
        match directory.attr(path)?.file_type() {
            FileType::Regular => {}
            FileType::Directory => return Err(Error::Refused(Errno::ISDIR)),
            // Opening a device or a pipe has effects; the kernel never asks for it.
            _ => return Err(Error::Refused(Errno::INVAL)),
        }
        let (size, mut redirect) = match directory.open_file(path)? {
            Contents::Here(file) => return Ok(Source::File(Arc::new(file))),
            Contents::Below { size, redirect } => (size, redirect),
        };
        let (above, name) = split(path);
        let siblings = self.siblings(layer, above, split(seen_at).0)?;
        let mut trail = Trail::below(layer, &self.stack, &siblings, name);
        let source = loop {
            if let Some(redirect) = redirect.take() {
                trail.follow(&redirect);
            }
            let Some(found) = trail.next()? else {
                break None;
            };
            match found.kind {
                Kind::Real(FileType::Regular) => {
                    let directory = self.stack.directory(found.layer)?;
                    match directory.open_file(&found.path)? {
                        Contents::Here(file) => break Some(Source::File(Arc::new(file))),
                        Contents::Below { redirect: next, .. } => redirect = next,
                    }
                }
                Kind::Packed(index, FileType::Regular) => {
                    break Some(Source::Packed(found.layer, index));
                }
                Kind::LowerLink(link) => break self.link_source(found.layer, link)?,
                _ => break None,
            }
        };
        let source = source.ok_or_else(|| {
            directory.corrupt(
                path,
                "no layer below has the contents of a metadata-only copy",
            )
        })?;
        if self.size_of(&source)? == size {
            Ok(source)
        } else {
            let reason = "a metadata-only copy has another size than its contents";
            Err(directory.corrupt(path, reason))
        }
    }

    fn link_source(&self, layer: u32, link: InodeIndex) -> Result<Option<Source>> {
        Ok(
            match self.links.target(layer, link).map(|target| &target.place) {
                Some(Place::Packed(layer, index)) => Some(Source::Packed(*layer, *index)),
                Some(Place::Real(layer, path)) => Some(self.open_source(*layer, path, path)?),
                None => None,
            },
        )
    }

    fn size_of(&self, source: &Source) -> Result<u64> {
        match source {
            Source::File(file) => {
                let size = rustix::fs::fstat(file)?.st_size;
                u64::try_from(size).map_err(|_| Error::Refused(Errno::OVERFLOW))
            }
            Source::Packed(layer, index) => Ok(self.stack.packed(*layer)?.inode(*index)?.size),
        }
    }

    /// Returns the contributors of the directory of which one is at a path of a layer;
    /// those from that layer downwards are right. The view mostly has the directory
    /// already.
    fn siblings(&self, layer: u32, path: &[u8], seen_at: &[u8]) -> Result<Arc<[Contributor]>> {
        let is_right = |contributors: &Arc<[Contributor]>| {
            let mut contributors = contributors.iter();
            contributors.any(|found| found.layer == layer && *found.path == *path)
        };
        if let Some(entry) = self.node_at(seen_at)? {
            let directory = self.directory(entry.node);
            self.forget(entry.node, 1);
            if let Some(contributors) = directory?.shared_contributors().filter(is_right) {
                return Ok(contributors);
            }
        }
        let walked = Walker::new(&self.stack, layer).directory(path)?;
        let walked = walked.filter(is_right);
        walked.ok_or(Error::Refused(Errno::STALE))
    }
}

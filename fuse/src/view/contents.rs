//! What is inside of files: bytes, holes, targets of links.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::View;
use super::source::Source;
use super::stack::Place;
use crate::{Error, FileType, NodeId, Reply, Result, Segment, Whence};

impl View {
    /// Answers a read.
    pub(super) fn read(&self, node: NodeId, offset: u64, size: u32) -> Result<Reply<'_>> {
        let (layer, index) = match self.regular(node)? {
            Place::Packed(layer, index) => (layer, index),
            Place::Real(layer, path) => match &*self.open_file(node, layer, &path)? {
                Source::Packed(layer, index) => (*layer, *index),
                Source::File(file) => {
                    let bytes = read_fully(file, offset, size as usize);
                    let bytes =
                        bytes.map_err(Error::system("read", self.message_path(layer, &path)))?;
                    return Ok(Reply::Data(if bytes.is_empty() {
                        Vec::new()
                    } else {
                        vec![Segment::Owned(bytes)]
                    }));
                }
            },
        };
        let layer = self.stack.packed(layer)?;
        Ok(Reply::Data(layer.read(index, offset, size as usize)?))
    }

    /// Answers a search for data or a hole.
    pub(super) fn seek(&self, node: NodeId, offset: u64, whence: Whence) -> Result<Reply<'_>> {
        let (layer, index) = match self.regular(node)? {
            Place::Packed(layer, index) => (layer, index),
            Place::Real(layer, path) => match &*self.open_file(node, layer, &path)? {
                Source::Packed(layer, index) => (*layer, *index),
                Source::File(file) => {
                    // Reads say where they read, so the file's own position is nobody's.
                    let from = match whence {
                        Whence::Data => SeekFrom::Data(offset),
                        Whence::Hole => SeekFrom::Hole(offset),
                    };
                    return Ok(Reply::Offset(rustix::fs::seek(file, from)?));
                }
            },
        };
        let found = self.stack.packed(layer)?.seek(index, offset, whence)?;
        Ok(Reply::Offset(found))
    }

    /// Answers the target of a symbolic link.
    pub(super) fn read_link(&self, node: NodeId) -> Result<Reply<'_>> {
        let place = self.place(node)?;
        if self.file_type(&place)? != FileType::Symlink {
            return Err(Error::Refused(Errno::INVAL));
        }
        Ok(Reply::Bytes(match place {
            Place::Packed(layer, index) => {
                Cow::Borrowed(self.stack.packed(layer)?.link_target(index)?)
            }
            Place::Real(layer, path) => {
                Cow::Owned(self.stack.directory(layer)?.link_target(&path)?)
            }
        }))
    }

    /// Returns where a regular file lies; of a directory layer it may be anything yet.
    pub(super) fn regular(&self, node: NodeId) -> Result<Place> {
        let place = self.place(node)?;
        match &place {
            // Type and existence show when it is opened, once for many reads.
            Place::Real(..) => Ok(place),
            Place::Packed(..) => match self.file_type(&place)? {
                FileType::Regular => Ok(place),
                FileType::Directory => Err(Error::Refused(Errno::ISDIR)),
                _ => Err(Error::Refused(Errno::INVAL)),
            },
        }
    }

    pub(super) fn open_file(&self, node: NodeId, layer: u32, path: &[u8]) -> Result<Arc<Source>> {
        self.files.get(node, || {
            let seen_at = self.path(node)?;
            self.open_source(layer, path, &seen_at)
        })
    }

    fn message_path(&self, layer: u32, path: &[u8]) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let label = self
            .stack
            .layers
            .get(layer as usize)
            .map_or("", crate::layer::Layer::label);
        std::path::Path::new(label).join(std::ffi::OsStr::from_bytes(path))
    }
}

/// Reads `size` bytes from an offset, or all up to the end of the file.
pub(crate) fn read_fully(file: &OwnedFd, offset: u64, size: usize) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let at = offset.checked_add(bytes.len() as u64).ok_or(Errno::INVAL)?;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(size);
    Ok(bytes)
}

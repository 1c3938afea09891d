//! Reads a packed layer.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use memmap2::{Mmap, MmapMut};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tracing::debug;

use super::directory::Dentries;
use super::format::{
    DENTRY_LOWER_LINK, DENTRY_WHITEOUT, DentryRecord, InodeRecord, SectionKind, XattrRecord, flag,
    split,
};
use super::inode::{Inode, InodeIndex, InodeKind};
use super::map::{IndexBytes, IndexMap};
use super::{DATA, INDEX};
use crate::{Error, FileType, Result};

mod content;
mod path;
mod verify;

pub(crate) use content::Extent;

/// Larger indexes get a map of their own, which goes back to the system with the layer.
const LARGEST_ON_HEAP: usize = 64 << 10;

/// A packed layer: its index in memory and checked, its data mapped when it is first
/// read.
///
/// The index is a copy rather than a map of the file: what happens
/// to the file later, be it changed, cut short or unreadable, cannot change what was
/// checked, nor end the process by `SIGBUS`.
#[derive(Debug)]
pub struct PackedLayer {
    label: String,
    dir: OwnedFd,
    map: IndexMap,
    data: OnceLock<Mmap>,
}

/// The extended attributes of an inode, sorted by name.
#[derive(Clone, Debug)]
pub struct Xattrs<'a> {
    layer: &'a PackedLayer,
    inode: InodeIndex,
    records: std::slice::Iter<'a, XattrRecord>,
}

impl PackedLayer {
    /// The root of every layer.
    pub const ROOT: InodeIndex = InodeIndex(0);

    /// Opens the layer in a directory. All of its index is read and every checksum
    /// verified: a changed index is [`Error::Corrupt`]. The label, the layer's diff
    /// ID, is for messages.
    pub fn open(dir: OwnedFd, label: impl Into<String>) -> Result<Self> {
        let label = label.into();
        let file = open(dir.as_fd(), &label, INDEX)?;
        let failed = |operation| Error::system(operation, Path::new(&label).join(INDEX));
        let map = read_index(&file).map_err(failed("read"))?;
        let map = IndexMap::check(map).map_err(|reason| Error::Corrupt {
            layer: label.clone(),
            reason,
        })?;
        let layer = Self {
            label,
            dir,
            map,
            data: OnceLock::new(),
        };
        if layer.inode(Self::ROOT)?.kind != InodeKind::Node(FileType::Directory) {
            return Err(layer.corrupt(Self::ROOT, "root is not a directory"));
        }
        Ok(layer)
    }

    /// Returns the label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the bytes of `data`.
    pub fn size(&self) -> u64 {
        self.map.data_size()
    }

    /// Returns the number of inodes; they are numbered from 0.
    pub fn inodes(&self) -> u32 {
        let inodes = self.map.records::<InodeRecord>(SectionKind::Inodes).len();
        u32::try_from(inodes).unwrap_or(u32::MAX)
    }

    /// Returns the attributes of an inode.
    pub fn inode(&self, index: InodeIndex) -> Result<Inode> {
        let record = self.record(index)?;
        Inode::of(record).ok_or_else(|| self.corrupt(index, "inode makes no sense"))
    }

    /// Returns whether an inode is a directory that hides what lower layers have in its
    /// place.
    pub(crate) fn is_opaque(&self, index: InodeIndex) -> Result<bool> {
        self.is_directory_with(index, flag::OPAQUE)
    }

    /// Returns whether an inode is a directory that no entry of the archive names.
    pub(crate) fn is_implied(&self, index: InodeIndex) -> Result<bool> {
        self.is_directory_with(index, flag::IMPLIED)
    }

    /// Returns the names of a directory; `ENOTDIR` for other inodes.
    pub fn directory(&self, index: InodeIndex) -> Result<Dentries<'_>> {
        let record = self.typed(index, FileType::Directory, Errno::NOTDIR)?;
        let (first, count) = split(record.place);
        let records = self
            .map
            .slice::<DentryRecord>(SectionKind::Dentries, first, count);
        let records =
            records.ok_or_else(|| self.corrupt(index, "directory lies outside the index"))?;
        Ok(Dentries::new(self, index, records))
    }

    /// Returns the directory that a directory lies in; the root lies in itself.
    pub fn parent(&self, index: InodeIndex) -> Result<InodeIndex> {
        let record = self.typed(index, FileType::Directory, Errno::NOTDIR)?;
        let parent = InodeIndex(split(record.size).0);
        self.typed(parent, FileType::Directory, Errno::IO)?;
        Ok(parent)
    }

    /// Returns the target of a symbolic link; `EINVAL` for other inodes.
    pub fn link_target(&self, index: InodeIndex) -> Result<&[u8]> {
        let record = self.typed(index, FileType::Symlink, Errno::INVAL)?;
        let (offset, length) = split(record.place);
        let target = self.map.string(offset, length);
        let target = target.filter(|target| target.len() as u64 == record.size.get());
        target.ok_or_else(|| self.corrupt(index, "link target lies outside the index"))
    }

    /// Returns the path, relative to the root and cleaned, of what a lower link points
    /// at; `EINVAL` for other inodes.
    pub fn lower_link(&self, index: InodeIndex) -> Result<&[u8]> {
        if self.inode(index)?.kind != InodeKind::LowerLink {
            return Err(Errno::INVAL.into());
        }
        let (offset, length) = split(self.record(index)?.place);
        let path = self.map.string(offset, length);
        path.ok_or_else(|| self.corrupt(index, "link target lies outside the index"))
    }

    /// Returns all lower links, ascending.
    pub fn lower_links(&self) -> impl Iterator<Item = InodeIndex> {
        let records = self
            .map
            .records::<zerocopy::little_endian::U32>(SectionKind::LowerLinks);
        records.iter().map(|record| InodeIndex(record.get()))
    }

    /// Returns whether any inode has extended attributes.
    pub fn has_xattrs(&self) -> bool {
        !self.map.section(SectionKind::Xattrs).is_empty()
    }

    /// Returns whether any file has both data and holes.
    pub fn has_holes(&self) -> bool {
        !self.map.section(SectionKind::Extents).is_empty()
    }

    /// Returns the extended attributes of an inode.
    pub fn xattrs(&self, index: InodeIndex) -> Result<Xattrs<'_>> {
        let corrupt = || self.corrupt(index, "extended attributes lie outside the index");
        let records = match self.record(index)?.xattrs.get() {
            0 => &[],
            first => {
                let all = self.map.records::<XattrRecord>(SectionKind::Xattrs);
                let rest = all.get(first as usize - 1..).ok_or_else(corrupt)?;
                let last = rest.iter().position(|record| record.is_last != 0);
                rest.get(..=last.ok_or_else(corrupt)?).unwrap_or_default()
            }
        };
        Ok(Xattrs {
            layer: self,
            inode: index,
            records: records.iter(),
        })
    }

    /// Returns the value of an extended attribute, `None` if there is none.
    pub fn xattr(&self, index: InodeIndex, name: &[u8]) -> Result<Option<&[u8]>> {
        for xattr in self.xattrs(index)? {
            let (known, value) = xattr?;
            if known == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    pub(super) fn map(&self) -> &IndexMap {
        &self.map
    }

    pub(super) fn has_inode(&self, index: InodeIndex) -> bool {
        index.0 < self.inodes()
    }

    /// Returns the error for damage at an inode, with its path where that can be found.
    pub(super) fn corrupt(&self, index: InodeIndex, reason: &str) -> Error {
        let path = self.path(index);
        let reason = format!("{reason}: /{}", path.escape_ascii());
        Error::Corrupt {
            layer: self.label.clone(),
            reason,
        }
    }

    fn record(&self, index: InodeIndex) -> Result<&InodeRecord> {
        let records = self.map.records::<InodeRecord>(SectionKind::Inodes);
        records.get(index.0 as usize).ok_or_else(|| {
            let reason = format!("inode {} lies outside the index", index.0);
            Error::Corrupt {
                layer: self.label.clone(),
                reason,
            }
        })
    }

    fn is_directory_with(&self, index: InodeIndex, flag: u16) -> Result<bool> {
        let record = self.record(index)?;
        let is_directory =
            FileType::of_mode(u32::from(record.mode.get())) == Some(FileType::Directory);
        Ok(is_directory && record.flags.get() & flag != 0)
    }

    /// Returns the record of an inode that must have a type.
    fn typed(
        &self,
        index: InodeIndex,
        file_type: FileType,
        otherwise: Errno,
    ) -> Result<&InodeRecord> {
        let record = self.record(index)?;
        match FileType::of_mode(u32::from(record.mode.get())) {
            Some(found) if found == file_type => Ok(record),
            _ => Err(otherwise.into()),
        }
    }
}

impl<'a> Iterator for Xattrs<'a> {
    type Item = Result<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        let map = self.layer.map();
        let name = map.string(record.name.get(), u32::from(record.name_length));
        let value = map.string(record.value.get(), record.value_length.get());
        let is_name = |name: &&[u8]| !name.is_empty() && !name.contains(&0);
        Some(name.filter(is_name).zip(value).ok_or_else(|| {
            self.layer
                .corrupt(self.inode, "extended attribute lies outside the index")
        }))
    }
}

/// Opens one of the files of a layer.
fn open(dir: BorrowedFd<'_>, label: &str, name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, name, flags, Mode::empty())
        .map_err(Error::system("open", Path::new(label).join(name)))
}

/// Reads an index into memory; what a shorter file does not have is zero, which the
/// checksums do not let pass.
///
/// A chain of hundreds of layers has small ones, for which a map of their own costs more
/// than the reading.
fn read_index(file: &OwnedFd) -> std::result::Result<IndexBytes, Errno> {
    // Offsets in an index have 32 bits, so none is larger.
    let size = rustix::fs::fstat(file)?.st_size;
    let size = u32::try_from(size).map_err(|_| Errno::FBIG)? as usize;
    if size <= LARGEST_ON_HEAP {
        let mut bytes = vec![0; size];
        fill(file, &mut bytes)?;
        return Ok(IndexBytes::Heap(bytes.into()));
    }
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::NOMEM);
    let mut map = MmapMut::map_anon(size).map_err(errno)?;
    if let Err(error) = map.advise(memmap2::Advice::HugePage) {
        debug!("huge pages for an index: {error}");
    }
    fill(file, &mut map)?;
    map.make_read_only().map(IndexBytes::Map).map_err(errno)
}

fn fill(file: &OwnedFd, bytes: &mut [u8]) -> std::result::Result<(), Errno> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

//! The names of one directory of a directory layer, sorted, with their marks applied.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, OFlags, RawDir};
use rustix::io::Errno;

use super::xattr::{Marks, Opacity};
use super::{stat, walk};
use crate::layer::Kind;
use crate::layer::marks::{NameMark, Redirect, name_mark};
use crate::{Error, FileType, Ino, Result};

/// Bytes of directory entries read at once.
const BUFFER: usize = 32 * 1024;

/// The sorted names of a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    names: Box<[u8]>,
    records: Box<[Record]>,
    /// The `st_dev` of what is no directory, where the numbers of the records are those
    /// that `stat` gives too.
    pub(super) device: Option<u64>,
    /// Whether the directory hides what the layers below hold in it.
    pub(crate) opaque: bool,
    /// Whether some whiteouts are files `.wh.NAME`.
    pub(crate) has_whiteout_files: bool,
    /// Where the layers below have the directory, if not where they should.
    pub(crate) redirect: Option<Redirect>,
}

/// One name: where it stands in `names`, and what it is.
#[derive(Clone, Copy, Debug)]
struct Record {
    ino: u64,
    start: u32,
    length: u16,
    kind: RecordKind,
}

/// [`Kind`] without what only packed layers have.
#[derive(Clone, Copy, Debug)]
enum RecordKind {
    Whiteout,
    Other(FileType),
    Directory { opaque: bool },
}

/// One entry as the file system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawEntry {
    /// Its name.
    pub(super) name: Vec<u8>,
    /// Its type, or `None` for a whiteout in the form of an inode.
    pub(super) file_type: Option<FileType>,
    /// Its `d_ino`.
    pub(super) ino: u64,
}

impl Listing {
    /// Reads a directory that is open for reading, with its marks.
    pub(crate) fn of_open(directory: &OwnedFd) -> rustix::io::Result<Self> {
        let opacity = Marks::read(directory)?.opacity;
        Self::of_entries(raw_entries(directory, opacity)?, opacity)
    }

    /// Makes the listing of what a directory holds: whiteout files become whiteouts
    /// of the names they hide, unless the layer has that name itself; then they make
    /// a directory opaque and mean nothing for anything else (rules 2 and 4).
    pub(super) fn of_entries(entries: Vec<RawEntry>, opacity: Opacity) -> rustix::io::Result<Self> {
        let mut kinds = BTreeMap::new();
        let mut hidden = Vec::new();
        let mut opaque = opacity == Opacity::Opaque;
        for entry in entries {
            match name_mark(&entry.name) {
                NameMark::Opaque => opaque = true,
                NameMark::Whiteout(name) => hidden.push(name.to_vec()),
                NameMark::None => {
                    let kind = match entry.file_type {
                        None => RecordKind::Whiteout,
                        Some(FileType::Directory) => RecordKind::Directory { opaque: false },
                        Some(file_type) => RecordKind::Other(file_type),
                    };
                    kinds.insert(entry.name, (kind, entry.ino));
                }
            }
        }
        let has_whiteout_files = !hidden.is_empty();
        for name in hidden {
            let (kind, _) = kinds.entry(name).or_insert((RecordKind::Whiteout, 0));
            if let RecordKind::Directory { opaque } = kind {
                *opaque = true;
            }
        }
        Ok(Self {
            has_whiteout_files,
            ..Self::of_kinds(&kinds, opaque)?
        })
    }

    fn of_kinds(
        kinds: &BTreeMap<Vec<u8>, (RecordKind, u64)>,
        opaque: bool,
    ) -> rustix::io::Result<Self> {
        let mut names = Vec::with_capacity(kinds.keys().map(Vec::len).sum());
        let mut records = Vec::with_capacity(kinds.len());
        for (name, (kind, ino)) in kinds {
            let start = u32::try_from(names.len()).map_err(|_| Errno::FBIG)?;
            let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
            names.extend_from_slice(name);
            records.push(Record {
                ino: *ino,
                start,
                length,
                kind: *kind,
            });
        }
        Ok(Self {
            names: names.into(),
            records: records.into(),
            device: None,
            opaque,
            has_whiteout_files: false,
            redirect: None,
        })
    }

    /// Returns the number of names, whiteouts included.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns the `st_dev` and number of the inode at a position, where they are known; of
    /// a directory they never are.
    pub(crate) fn inode(&self, position: usize) -> Option<(u64, Ino)> {
        let record = self.records.get(position)?;
        match record.kind {
            RecordKind::Other(_) => Some((self.device?, Ino(record.ino))),
            RecordKind::Whiteout | RecordKind::Directory { .. } => None,
        }
    }

    /// Returns the name at a position, and what it is.
    pub(crate) fn at(&self, position: usize) -> Result<(&[u8], Kind)> {
        let record = self
            .records
            .get(position)
            .ok_or(Error::Refused(Errno::NOENT))?;
        let start = record.start as usize;
        let name = self.names.get(start..start + usize::from(record.length));
        let kind = match record.kind {
            RecordKind::Whiteout => Kind::Whiteout,
            RecordKind::Other(file_type) => Kind::Real(file_type),
            RecordKind::Directory { opaque } => Kind::RealDirectory { opaque },
        };
        Ok((name.unwrap_or_default(), kind))
    }
}

/// Reads the entries of a directory that is open for reading.
pub(super) fn raw_entries(
    directory: &OwnedFd,
    opacity: Opacity,
) -> rustix::io::Result<Vec<RawEntry>> {
    let mut entries = Vec::new();
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut directory_entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = directory_entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let file_type = file_type(directory, name, entry.file_type(), opacity)?;
            entries.push(RawEntry {
                name: name.to_vec(),
                file_type,
                ino: entry.ino(),
            });
        }
    }
    Ok(entries)
}

/// Returns the type of an entry, or `None` for a whiteout: a character device 0:0,
/// or an empty file with the attribute in a directory that says it may hold such.
fn file_type(
    directory: &OwnedFd,
    name: &[u8],
    listed: rustix::fs::FileType,
    opacity: Opacity,
) -> rustix::io::Result<Option<FileType>> {
    let listed = FileType::of_mode(listed.as_raw_mode());
    let may_be_whiteout = match listed {
        None | Some(FileType::CharDevice) => true,
        Some(FileType::Regular) => opacity == Opacity::WhiteoutFiles,
        Some(_) => false,
    };
    if !may_be_whiteout {
        return Ok(listed);
    }
    let real = stat(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
    )?;
    let is_whiteout = match real.file_type() {
        FileType::CharDevice => real.attr.rdev == 0,
        FileType::Regular if opacity == Opacity::WhiteoutFiles && real.attr.size == 0 => {
            Marks::read(&walk(directory, name, OFlags::PATH)?)?.whiteout
        }
        _ => false,
    };
    Ok((!is_whiteout).then(|| real.file_type()))
}

//! What the catalogue of a forest describes: directories, small files, links.
//!
//! All of it is read-only and belongs to the user who serves.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::lone;
use crate::view::LONGEST_NAME;
use crate::{
    Attr, Catalog, DirEntry, Error, FileType, Ino, Listing, Opened, Operation, Reply, Result,
    Segment, StatFs, Timestamp, Whence,
};

/// A node that is no tree's. A file is another node when it has another content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    path: Arc<[u8]>,
    file_type: FileType,
    content: Content,
}

/// What is in a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Content {
    /// The content of a file, or the target of a link.
    Here(Arc<[u8]>),
    /// The first bytes of another file.
    Stored { path: Arc<Path>, size: u64 },
}

/// Returns the directory that a path is in, and its last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            let (above, name) = path.split_at(slash);
            (above, name.get(1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

impl Branch {
    pub(super) fn directory(path: &[u8]) -> Self {
        Self::new(path, FileType::Directory, Content::here(b""))
    }

    pub(super) fn file(path: &[u8], bytes: &[u8]) -> Self {
        Self::new(path, FileType::Regular, Content::here(bytes))
    }

    pub(super) fn stored(path: &[u8], place: &Path, size: u64) -> Self {
        let content = Content::Stored {
            path: place.into(),
            size,
        };
        Self::new(path, FileType::Regular, content)
    }

    pub(super) fn symlink(path: &[u8], target: &[u8]) -> Self {
        Self::new(path, FileType::Symlink, Content::here(target))
    }

    fn new(path: &[u8], file_type: FileType, content: Content) -> Self {
        Self {
            path: path.into(),
            file_type,
            content,
        }
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Returns the path of a name in this directory, or `ENOTDIR`, `ENAMETOOLONG`.
    pub(super) fn below(&self, name: &[u8]) -> Result<Vec<u8>> {
        if self.file_type != FileType::Directory {
            return Err(Error::Refused(Errno::NOTDIR));
        }
        if name.len() > LONGEST_NAME {
            return Err(Error::Refused(Errno::NAMETOOLONG));
        }
        Ok(join(&self.path, name))
    }

    pub(super) fn attr(&self) -> Attr {
        let (permissions, nlink) = match self.file_type {
            FileType::Directory => (0o555, 2),
            FileType::Symlink => (0o777, 1),
            _ => (0o444, 1),
        };
        let size = self.content.size();
        let never = Timestamp::default();
        Attr {
            ino: ino(&self.path),
            size,
            blocks: size.div_ceil(512),
            atime: never,
            mtime: never,
            ctime: never,
            mode: self.file_type.mode_bits() | permissions,
            nlink,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
        }
    }

    /// Answers all that asks neither for names nor for nodes.
    pub(super) fn answer(&self, operation: Operation<'_>) -> Result<Reply<'_>> {
        let is_file = self.file_type == FileType::Regular;
        match operation {
            change if lone::changes(&change) => Err(Error::Refused(Errno::ROFS)),
            Operation::GetAttr => Ok(Reply::Attr(self.attr())),
            Operation::ReadLink if self.file_type == FileType::Symlink => {
                Ok(Reply::Bytes(Cow::Owned(self.content.read(0, u32::MAX)?)))
            }
            Operation::Read { offset, size } if is_file => {
                let bytes = self.content.read(offset, size)?;
                Ok(Reply::Data(vec![Segment::Owned(bytes)]))
            }
            Operation::Seek { offset, whence } if is_file => {
                Ok(Reply::Offset(seek(self.content.size(), offset, whence)?))
            }
            Operation::Open { .. } | Operation::OpenDir => Ok(Reply::Opened(Opened {
                // A node is one content for ever; a listing is not.
                keep_cache: is_file,
                backing: None,
            })),
            Operation::StatFs => Ok(Reply::StatFs(StatFs {
                block_size: 4096,
                name_length: u32::try_from(LONGEST_NAME).unwrap_or_default(),
                ..StatFs::default()
            })),
            other => lone::plain(other).unwrap_or(Err(Error::Refused(Errno::INVAL))),
        }
    }

    /// Lists the directory after a cookie, in the order of the hashes of the names, which
    /// are the cookies too: names that come and go meanwhile do not move the others.
    pub(super) fn list<'a>(&self, catalog: &dyn Catalog, offset: u64) -> Result<Listing<'a>> {
        if self.file_type != FileType::Directory {
            return Err(Error::Refused(Errno::NOTDIR));
        }
        let mut entries: Vec<_> = [&b"."[..], b".."]
            .into_iter()
            .zip([self.path.as_ref(), split(&self.path).0])
            .zip(1..)
            .map(|((name, path), next)| entry(name.to_vec(), path, FileType::Directory, next))
            .collect();
        for (name, file_type) in catalog.list(&self.path)? {
            let path = join(&self.path, &name);
            let cookie = cookie(&name);
            entries.push(entry(name, &path, file_type, cookie));
        }
        entries.retain(|entry| entry.next > offset);
        entries
            .sort_unstable_by(|one, other| (one.next, &one.name).cmp(&(other.next, &other.name)));
        Ok(Listing {
            entries: Box::new(entries.into_iter().map(Ok)),
            give_back: Box::new(|_| {}),
        })
    }
}

impl Content {
    fn here(bytes: &[u8]) -> Self {
        Self::Here(bytes.into())
    }

    fn size(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }

    /// Returns the bytes at an offset; fewer than asked only at the end.
    fn read(&self, offset: u64, wanted: u32) -> Result<Vec<u8>> {
        let rest = self.size().saturating_sub(offset).min(u64::from(wanted));
        let length = usize::try_from(rest).unwrap_or(usize::MAX);
        match self {
            Self::Here(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let bytes = bytes.get(start..).unwrap_or_default();
                Ok(bytes.get(..length).unwrap_or(bytes).to_vec())
            }
            Self::Stored { path, .. } => read_file(path, offset, length),
        }
    }
}

/// Reads that many bytes of a file; that it has fewer is an error.
fn read_file(path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(Error::system("open", path))?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&file, rest, offset.saturating_add(filled as u64)) {
            Ok(0) => return Err(Error::system("read", path)(Errno::IO)),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("read", path)(errno)),
        }
    }
    Ok(bytes)
}

/// Returns the offset that a seek in a file without holes comes to, or `ENXIO`.
pub(super) fn seek(size: u64, offset: u64, whence: Whence) -> Result<u64> {
    if offset >= size {
        return Err(Error::Refused(Errno::NXIO));
    }
    Ok(match whence {
        Whence::Data => offset,
        Whence::Hole => size,
    })
}

fn entry<'a>(name: Vec<u8>, path: &[u8], file_type: FileType, next: u64) -> DirEntry<'a> {
    DirEntry {
        ino: ino(path),
        next,
        file_type,
        name: Cow::Owned(name),
        entry: None,
    }
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() {
        return name.to_vec();
    }
    [above, b"/", name].concat()
}

/// Returns the inode number of a path; the root of a tree has the tree's own instead, as
/// a mount point has.
fn ino(path: &[u8]) -> Ino {
    Ino(hash(path).max(1))
}

/// Returns the cookie of a name, which comes after those of `.` and `..`. The kernel takes
/// cookies as signed numbers.
fn cookie(name: &[u8]) -> u64 {
    (hash(name) >> 2).max(3)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

//! What somebody sees of an inode, in a form in which two mounts can agree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Stat, fstat, statat};
use rustix::io::Errno;

use crate::operation::Place;

/// The attributes of an inode. Left out is what may differ between two copies of a tree:
/// the times of access and change, blocks, and sizes and links of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) size: u64,
    pub(crate) nlink: u64,
    pub(crate) rdev: u64,
    pub(crate) mtime: Mtime,
}

/// A time of modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mtime {
    /// Of the minutes around now: somebody modified it.
    Recent,
    /// Any other: somebody set it.
    Set(i64, i64),
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        Self {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            size: if is_directory {
                0
            } else {
                stat.st_size.cast_unsigned()
            },
            nlink: if is_directory { 0 } else { stat.st_nlink },
            rdev: if is_device { stat.st_rdev } else { 0 },
            mtime: Mtime::of(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
        }
    }

    /// Returns the name of the first attribute that differs.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            ("mode", self.mode == other.mode),
            ("owner", self.owner == other.owner),
            ("size", self.size == other.size),
            ("nlink", self.nlink == other.nlink),
            ("rdev", self.rdev == other.rdev),
            ("mtime", self.mtime == other.mtime),
        ];
        let differs = fields.into_iter().find(|(_, is_same)| !is_same);
        differs.map(|(field, _)| field)
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

impl Mtime {
    fn of(seconds: i64, nanoseconds: i64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs().cast_signed() - seconds;
        if (-10..600).contains(&age) {
            Self::Recent
        } else {
            Self::Set(seconds, nanoseconds)
        }
    }
}

/// `lstat` of a place below a root; its base may be a file of a table.
pub(crate) fn stat(
    root: BorrowedFd<'_>,
    table: &[Option<OwnedFd>],
    place: &Place,
) -> Result<Stat, Errno> {
    let base = base(root, table, place)?;
    statat(base, place.path(), AtFlags::SYMLINK_NOFOLLOW)
}

/// `fstat` of a file of a table.
pub(crate) fn stat_open(table: &[Option<OwnedFd>], slot: usize) -> Result<Stat, Errno> {
    fstat(table[slot].as_ref().ok_or(Errno::BADF)?)
}

/// Returns the directory that a place starts from.
pub(crate) fn base<'a>(
    root: BorrowedFd<'a>,
    table: &'a [Option<OwnedFd>],
    place: &Place,
) -> Result<BorrowedFd<'a>, Errno> {
    match place.base {
        None => Ok(root),
        Some(slot) => Ok(table[slot].as_ref().ok_or(Errno::BADF)?.as_fd()),
    }
}

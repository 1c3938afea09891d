//! Inodes of a packed layer, as values.

use super::format::{InodeRecord, flag};
use crate::{FileType, Timestamp};

/// The number of an inode within one layer. The root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeIndex(pub u32);

/// The attributes of an inode of a packed layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: InodeKind,
    /// Type and permission bits; only the latter for a lower link.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The names in this layer; for a directory 2 and its subdirectories in this
    /// layer.
    pub nlink: u32,
    /// Bytes of a regular file or of the target of a symbolic link, otherwise 0.
    pub size: u64,
    /// The time of modification.
    pub mtime: Timestamp,
    /// The number of a device in the kernel's 32-bit encoding, otherwise 0.
    pub rdev: u32,
    /// Whether it is a directory that no entry of the archive names: its attributes
    /// are made up (0755, root, 1970) and those of a lower layer go first.
    pub implied: bool,
    /// Whether it is a directory that hides what lower layers have in its place.
    pub opaque: bool,
    /// Whether it has extended attributes.
    pub has_xattrs: bool,
}

/// What an inode of a packed layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InodeKind {
    /// A file, directory or other node of this layer.
    Node(FileType),
    /// A hard link to a file of a lower layer; the attributes are those of the link's
    /// header and apply to that file.
    LowerLink,
}

impl Inode {
    /// Reads a record; `None` if it makes no sense.
    pub(super) fn of(record: &InodeRecord) -> Option<Self> {
        let mode = u32::from(record.mode.get());
        let has = |flag: u16| record.flags.get() & flag != 0;
        let file_type = FileType::of_mode(mode);
        let kind = match (file_type, has(flag::LOWER_LINK)) {
            (None, true) if mode <= 0o7777 => InodeKind::LowerLink,
            (Some(file_type), false) => InodeKind::Node(file_type),
            _ => return None,
        };
        let is_sized = matches!(file_type, Some(FileType::Regular | FileType::Symlink));
        let is_device = matches!(
            file_type,
            Some(FileType::CharDevice | FileType::BlockDevice)
        );
        let is_directory = file_type == Some(FileType::Directory);
        let size = if is_sized { record.size.get() } else { 0 };
        let nanoseconds = record.nanoseconds.get();
        if i64::try_from(size).is_err() || nanoseconds >= 1_000_000_000 {
            return None;
        }
        let rdev = if is_device {
            u32::try_from(record.place.get()).ok()?
        } else {
            0
        };
        Some(Self {
            kind,
            mode,
            uid: record.uid.get(),
            gid: record.gid.get(),
            nlink: record.nlink.get(),
            size,
            mtime: Timestamp {
                seconds: record.seconds.get(),
                nanoseconds,
            },
            rdev,
            implied: is_directory && has(flag::IMPLIED),
            opaque: is_directory && has(flag::OPAQUE),
            has_xattrs: record.xattrs.get() != 0,
        })
    }

    /// Returns the type, or `None` for a lower link, whose type a lower layer knows.
    pub fn file_type(&self) -> Option<FileType> {
        match self.kind {
            InodeKind::Node(file_type) => Some(file_type),
            InodeKind::LowerLink => None,
        }
    }
}

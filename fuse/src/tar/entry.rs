//! One entry of an archive, with all of its headers put together.

use crate::Timestamp;

/// One entry of an archive. Nothing is interpreted yet: names are as the archive
/// has them, and a whiteout is an ordinary file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The offset of its header block in the archive, in bytes.
    pub offset: u64,
    /// The path.
    pub name: Vec<u8>,
    /// The type.
    pub kind: EntryKind,
    /// Permission bits, set-id and sticky bits included (`07777`).
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of modification, as it stands in the archive.
    pub mtime: Timestamp,
    /// The bytes of a regular file, holes included; 0 for all others.
    pub size: u64,
    /// Where the contents lie; what no extent covers is a hole. In order and
    /// without overlap, inside `size` and inside what the archive stores.
    pub extents: Vec<Extent>,
    /// The target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes; a name comes once.
    pub xattrs: Vec<Xattr>,
}

/// A run of a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The offset in the file.
    pub logical: u64,
    /// The offset in the archive.
    pub offset: u64,
    /// Bytes; never 0.
    pub length: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The name with its name space, `security.capability`.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file, be it sparse or contiguous.
    Regular,
    /// A further name of a file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

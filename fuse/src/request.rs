//! A request of the kernel, decoded: what goes into the view.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// The number under which the kernel knows a node: [`NodeId::ROOT`] or derived
/// from the layer and the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root of the view.
    pub const ROOT: Self = Self(1);
}

/// On whose behalf the kernel asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user ID for file systems.
    pub uid: u32,
    /// The group ID for file systems.
    pub gid: u32,
    /// The thread that asks; 0 where that is not known.
    pub pid: u32,
}

/// One request of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The node that it is about; for operations on a name, the directory.
    pub node: NodeId,
    /// Who asks: the owner of what the operation makes.
    pub caller: Caller,
    /// What is asked.
    pub operation: Operation<'a>,
}

/// What the kernel asks of a node.
///
/// Lengths of buffers are upper bounds on the reply in bytes, as the caller's buffer
/// has them. Handles have no part in it: all that an open file needs belongs to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the arguments that each operation names"
)]
pub enum Operation<'a> {
    /// Look a name up in a directory.
    Lookup { name: &'a [u8] },
    /// The kernel gives `lookups` references to the node back; nothing is answered.
    Forget { lookups: u64 },
    /// `stat`.
    GetAttr,
    /// `chmod`, `chown`, `truncate`, `utimensat`: those fields that are there.
    SetAttr(SetAttr),
    /// The target of a symbolic link.
    ReadLink,
    /// Make a symbolic link.
    Symlink { name: &'a [u8], target: &'a [u8] },
    /// Make a regular file, a device, a pipe or a socket.
    MkNod {
        name: &'a [u8],
        mode: u32,
        rdev: u32,
        umask: u32,
    },
    /// Make a directory.
    MkDir {
        name: &'a [u8],
        mode: u32,
        umask: u32,
    },
    /// Take a name away that is no directory.
    Unlink { name: &'a [u8] },
    /// Take an empty directory away.
    RmDir { name: &'a [u8] },
    /// Move a name of this directory to another; `flags` as of `renameat2(2)`.
    Rename {
        name: &'a [u8],
        to: NodeId,
        new_name: &'a [u8],
        flags: u32,
    },
    /// Give a file another name, in this directory.
    Link { file: NodeId, name: &'a [u8] },
    /// Open a regular file, with the flags of `open(2)`.
    Open { flags: u32, kill_privileges: bool },
    /// Make and open a regular file, or open the one that is there.
    Create {
        name: &'a [u8],
        flags: u32,
        mode: u32,
        umask: u32,
    },
    /// Make and open a file without a name, in the file system of this directory.
    TmpFile { flags: u32, mode: u32, umask: u32 },
    /// A handle of the node is closed for good.
    Release,
    /// Bytes of a regular file.
    Read { offset: u64, size: u32 },
    /// Put bytes into a regular file; with `kill_privileges`, clear its set-id bits.
    Write {
        offset: u64,
        data: &'a [u8],
        kill_privileges: bool,
    },
    /// Make what was written last, with its attributes unless `data_only`.
    Fsync { data_only: bool },
    /// Make the names of a directory last.
    FsyncDir,
    /// `syncfs`: make everything last.
    SyncFs,
    /// `fallocate(2)`.
    Allocate { offset: u64, length: u64, mode: u32 },
    /// `copy_file_range(2)` from this file to another.
    CopyFileRange {
        offset: u64,
        to: NodeId,
        to_offset: u64,
        length: u64,
    },
    /// Entries of a directory after the cookie `offset` (0: from the start).
    ReadDir { offset: u64 },
    /// As `ReadDir`, with the attributes of each entry, which counts as a look-up.
    ReadDirPlus { offset: u64 },
    /// `statfs`.
    StatFs,
    /// The value of an extended attribute; `size` 0 asks for its length.
    GetXattr { name: &'a [u8], size: u32 },
    /// The names of the extended attributes, each ended by NUL; `size` 0 asks for the length.
    ListXattr { size: u32 },
    /// Set an extended attribute; `flags` as of `setxattr(2)`. With `kill_sgid`, an access
    /// list also clears the set-group-ID bit.
    SetXattr {
        name: &'a [u8],
        value: &'a [u8],
        flags: u32,
        kill_sgid: bool,
    },
    /// Take an extended attribute away.
    RemoveXattr { name: &'a [u8] },
    /// `access(2)` with `R_OK`, `W_OK`, `X_OK` bits.
    Access { mask: u32 },
    /// `SEEK_DATA` or `SEEK_HOLE`.
    Seek { offset: u64, whence: Whence },
    /// `ioctl(2)` of which the kernel knows the sizes: `input` goes in, up to `room` bytes
    /// come out.
    Ioctl {
        command: u32,
        input: &'a [u8],
        room: u32,
    },
    /// Open a directory.
    OpenDir,
    /// Close a directory, or flush a file: nothing is to be done.
    Nothing,
    /// An operation that this crate has no answer to.
    Unknown { opcode: u32 },
}

impl Operation<'_> {
    /// Returns whether the operation would change something, which a read-only view refuses.
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Self::SetAttr(_)
                | Self::Symlink { .. }
                | Self::MkNod { .. }
                | Self::MkDir { .. }
                | Self::Unlink { .. }
                | Self::RmDir { .. }
                | Self::Rename { .. }
                | Self::Link { .. }
                | Self::Create { .. }
                | Self::TmpFile { .. }
                | Self::Write { .. }
                | Self::Allocate { .. }
                | Self::CopyFileRange { .. }
                | Self::SetXattr { .. }
                | Self::RemoveXattr { .. }
        )
    }
}

/// The attributes that a `SETATTR` sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// The size of a regular file, in bytes.
    pub size: Option<u64>,
    /// Permission bits, those of the type too.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The time of the last access.
    pub atime: Option<SetTime>,
    /// The time of the last modification.
    pub mtime: Option<SetTime>,
    /// Clear set-id bits and file capabilities, as a write or a `chown` does.
    pub kill_privileges: bool,
}

/// A time that a `SETATTR` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time of the server.
    Now,
    /// This time.
    At(Timestamp),
}

impl SetTime {
    /// Returns the time that it is now.
    pub(crate) fn timestamp(self) -> Timestamp {
        match self {
            Self::At(time) => time,
            // A clock before 1970 is set wrong.
            Self::Now => {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(Timestamp::default(), |since| Timestamp {
                        seconds: since.as_secs().cast_signed(),
                        nanoseconds: since.subsec_nanos(),
                    })
            }
        }
    }
}

/// Which boundary a [`Operation::Seek`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The next byte that is not in a hole.
    Data,
    /// The next hole, the end of the file included.
    Hole,
}

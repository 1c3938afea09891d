//! One operation on a mounted tree, as a value that can be printed, kept and repeated.
//!
//! Open files are named by their place in a table. An operation whose place is empty fails
//! with `EBADF`, so any part of a sequence is a sequence too.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, FileType, OFlags, RenameFlags, XattrFlags};

/// A place in the table of open files.
pub(crate) type Slot = usize;

/// How many files can be open at a time.
pub(crate) const SLOTS: usize = 6;

/// A step of a sequence: somebody does something.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) operation: Operation,
}

/// On whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// User and group.
    pub(crate) id: u32,
    pub(crate) umask: Octal,
}

/// Bits of a mode, which print as such.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Octal(pub(crate) u32);

/// A path, from the root or from an open directory.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base: Option<Slot>,
    pub(crate) path: PathBuf,
}

/// What an attribute belongs to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A path, and whether a symbolic link at its end is followed.
    Path(Place, bool),
    Open(Slot),
}

/// A change of an inode, by path or by open file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Mode(Octal),
    Owner(Option<u32>, Option<u32>),
    /// Access and modification.
    Times(Time, Time),
    Size(u64),
    SetXattr(&'static str, Vec<u8>, XattrFlags),
    RemoveXattr(&'static str),
}

/// A time that is set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    Now,
    Omit,
    At(i64, i64),
}

/// A question about an inode.
#[derive(Clone, Debug)]
pub(crate) enum Look {
    Stat,
    Xattr(&'static str, usize),
    Xattrs(usize),
    /// Of a symbolic link.
    Target,
    List,
    Access(u32),
}

/// What is done.
#[derive(Clone, Debug)]
#[rustfmt::skip]
pub(crate) enum Operation {
    Open { slot: Slot, at: Place, flags: OFlags, mode: Octal },
    Close { slot: Slot },
    Read { slot: Slot, length: usize },
    ReadAt { slot: Slot, offset: u64, length: usize },
    Write { slot: Slot, byte: u8, length: u64 },
    WriteAt { slot: Slot, byte: u8, offset: u64, length: u64 },
    Allocate { slot: Slot, mode: FallocateFlags, offset: u64, length: u64 },
    Copy { from: Slot, offset: u64, to: Slot, to_offset: u64, length: usize },
    Seek { slot: Slot, is_hole: bool, offset: u64 },
    /// Writes one page through a shared mapping.
    MapWrite { slot: Slot, page: u64, byte: u8 },
    Sync { slot: Slot, data_only: bool },
    /// Drops the pages of a file that are written.
    Evict { slot: Slot },
    Change { target: Target, change: Change },
    Look { target: Target, look: Look },
    MakeDirectory { at: Place, mode: Octal },
    MakeNode { at: Place, kind: FileType, mode: Octal, device: (u32, u32) },
    Symlink { at: Place, target: PathBuf },
    Link { from: Place, to: Place, follow: bool },
    LinkOpen { slot: Slot, to: Place },
    Unlink { at: Place },
    RemoveDirectory { at: Place },
    Rename { from: Place, to: Place, flags: RenameFlags },
    DropCaches,
    Remount,
}

impl Who {
    pub(crate) const ROOT: Self = Self {
        id: 0,
        umask: Octal(0o022),
    };
}

impl Place {
    pub(crate) fn root(path: impl Into<PathBuf>) -> Self {
        Self {
            base: None,
            path: path.into(),
        }
    }

    /// Returns the path as a system call takes it: that of the base itself is `.`.
    pub(crate) fn path(&self) -> &OsStr {
        if self.path.as_os_str().is_empty() {
            OsStr::from_bytes(b".")
        } else {
            self.path.as_os_str()
        }
    }
}

impl Operation {
    /// Returns the paths that it is about.
    pub(crate) fn places(&self) -> Vec<&Place> {
        match self {
            Self::Open { at, .. }
            | Self::MakeDirectory { at, .. }
            | Self::MakeNode { at, .. }
            | Self::Symlink { at, .. }
            | Self::Unlink { at }
            | Self::RemoveDirectory { at }
            | Self::LinkOpen { to: at, .. }
            | Self::Change {
                target: Target::Path(at, _),
                ..
            }
            | Self::Look {
                target: Target::Path(at, _),
                ..
            } => vec![at],
            Self::Link { from, to, .. } | Self::Rename { from, to, .. } => vec![from, to],
            _ => Vec::new(),
        }
    }

    /// Returns the open files that it is about.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        match self {
            Self::Open { slot, .. }
            | Self::Read { slot, .. }
            | Self::ReadAt { slot, .. }
            | Self::Write { slot, .. }
            | Self::WriteAt { slot, .. }
            | Self::Allocate { slot, .. }
            | Self::Seek { slot, .. }
            | Self::MapWrite { slot, .. }
            | Self::Sync { slot, .. }
            | Self::Evict { slot }
            | Self::LinkOpen { slot, .. }
            | Self::Change {
                target: Target::Open(slot),
                ..
            }
            | Self::Look {
                target: Target::Open(slot),
                ..
            } => vec![*slot],
            Self::Copy { from, to, .. } => vec![*from, *to],
            _ => Vec::new(),
        }
    }

    /// Returns whether every name still means the same file afterwards.
    pub(crate) fn keeps_names(&self) -> bool {
        !matches!(
            self,
            Self::MakeDirectory { .. }
                | Self::MakeNode { .. }
                | Self::Symlink { .. }
                | Self::Link { .. }
                | Self::LinkOpen { .. }
                | Self::Unlink { .. }
                | Self::RemoveDirectory { .. }
                | Self::Rename { .. }
        )
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> String {
        let text = match self {
            Self::Change { change, .. } => format!("{change:?}"),
            Self::Look { look, .. } => format!("{look:?}"),
            operation => format!("{operation:?}"),
        };
        let end = text.find(|letter: char| !letter.is_alphanumeric());
        text[..end.unwrap_or(text.len())].to_owned()
    }
}

impl fmt::Debug for Octal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0{:o}", self.0)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            None => write!(formatter, "{:?}", self.path),
            Some(slot) => write!(formatter, "{slot}:{:?}", self.path),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.who != Who::ROOT {
            let Who { id, umask } = self.who;
            write!(formatter, "as {id} with umask {umask:?}: ")?;
        }
        write!(formatter, "{:?}", self.operation)
    }
}

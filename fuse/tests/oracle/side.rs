//! One of the two mounts, and the files that are open on it.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::mount::{Ground, Implementation, Mounted};
use crate::operation::{Place, SLOTS, Slot};
use crate::seen::{Seen, base};

/// What an operation answers.
pub(crate) type Outcome = Result<Answer, Errno>;

/// An answer that is no error.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Count(usize),
    Bytes(Vec<u8>),
    Stat(Seen),
    /// Attributes in order of names, whatever the order in which they were listed.
    Xattrs(Vec<Vec<u8>>),
    /// Entries by name.
    Names(BTreeMap<Vec<u8>, FileType>),
    /// Something that can never be right.
    Wrong(String),
}

/// A mount with its directories, and a table of open files.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) implementation: Implementation,
    pub(crate) ground: Ground,
    mounted: Option<Mounted>,
    pub(crate) table: Vec<Option<OwnedFd>>,
}

impl Side {
    /// Mounts the directories.
    pub(crate) fn new(implementation: Implementation, ground: Ground) -> Self {
        Self {
            implementation,
            mounted: Some(ground.mount(implementation)),
            ground,
            table: (0..SLOTS).map(|_| None).collect(),
        }
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.mounted.as_ref().unwrap().root()
    }

    pub(crate) fn file(&self, slot: Slot) -> Result<&OwnedFd, Errno> {
        self.table[slot].as_ref().ok_or(Errno::BADF)
    }

    /// Returns the directory that a place starts from.
    pub(crate) fn base(&self, place: &Place) -> Result<BorrowedFd<'_>, Errno> {
        base(self.root(), &self.table, place)
    }

    /// Closes all files and takes the mount away.
    pub(crate) fn unmount(&mut self) {
        self.table.iter_mut().for_each(|file| *file = None);
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount();
        }
    }

    /// Mounts again, by the same or by another implementation.
    pub(crate) fn mount(&mut self, implementation: Implementation) {
        self.unmount();
        self.implementation = implementation;
        self.mounted = Some(self.ground.mount(implementation));
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // The mount goes with its value; open files would keep it busy.
        self.table.clear();
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => write!(formatter, "done"),
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Bytes(bytes) => write!(formatter, "{}", brief(bytes)),
            Self::Stat(seen) => write!(formatter, "{seen:?}"),
            Self::Xattrs(names) => {
                let names = names.iter().map(|name| name.escape_ascii().to_string());
                formatter.debug_list().entries(names).finish()
            }
            Self::Names(names) => {
                let names = names
                    .iter()
                    .map(|(name, kind)| (name.escape_ascii().to_string(), kind));
                formatter.debug_map().entries(names).finish()
            }
            Self::Wrong(what) => write!(formatter, "{what}"),
        }
    }
}

/// Returns bytes as text, long ones as runs of what their pages hold.
pub(crate) fn brief(bytes: &[u8]) -> String {
    if bytes.len() <= 64 {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let sum = bytes
        .iter()
        .fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
    let zeros = bytes.split(|byte| *byte == 0).count() - 1;
    format!("{} bytes, {zeros} of them 0, sum {sum:08x}", bytes.len())
}

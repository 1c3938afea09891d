//! The answer to a request, as a value: what comes out of the view.

use std::borrow::Cow;
use std::fmt;

use crate::{Attr, FileType, Ino, NodeId, Result};

/// The answer to one [`Request`](crate::Request). A refusal is an
/// [`Error`](crate::Error) with its errno instead.
#[derive(Debug)]
pub enum Reply<'a> {
    /// A name was found.
    Entry(Entry),
    /// A name was found, which may stand for something else the next time.
    Fleeting(Entry),
    /// A name is not there; the kernel may remember that.
    Absent,
    /// The attributes of the node.
    Attr(Attr),
    /// Bytes: the target of a link, the value of an attribute, a list of names.
    Bytes(Cow<'a, [u8]>),
    /// The length that `Bytes` would have.
    Length(u32),
    /// Contents of a file, in order; shorter than asked only at its end.
    Data(Vec<Segment<'a>>),
    /// Entries of a directory.
    Listing(Listing<'a>),
    /// `statfs`.
    StatFs(StatFs),
    /// An offset in a file.
    Offset(u64),
    /// A file is open.
    Opened(Opened),
    /// A file was made and is open.
    Created(Entry, Opened),
    /// The number of bytes written or copied.
    Written(u64),
    /// The result of an `ioctl`, with the bytes that it gives.
    Ioctl {
        /// What the call returns.
        result: i32,
        /// At most as many bytes as asked.
        output: Vec<u8>,
    },
    /// Done, and nothing to say.
    Done,
    /// Nothing is sent to the kernel.
    Silent,
}

/// How the kernel is to read and write an open file, or to list an open directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whether what the kernel has cached of the node's contents is still true, and is to
    /// be kept.
    pub keep_cache: bool,
    /// The registered file that the kernel reads and writes by itself.
    pub backing: Option<i32>,
}

/// A name of a directory with the node behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The node.
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
}

/// A run of a file's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Bytes that lie in a mapped file; nobody but the kernel should touch them,
    /// since a truncated file makes a page of the map fault.
    Mapped(&'a [u8]),
    /// Bytes of a buffer.
    Owned(Vec<u8>),
    /// As many zero bytes: a hole.
    Zeros(usize),
}

impl Segment<'_> {
    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Mapped(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
            Self::Zeros(length) => *length,
        }
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Entries of a directory from a cookie on.
pub struct Listing<'a> {
    /// The entries, made one by one as they are taken.
    pub entries: Box<dyn Iterator<Item = Result<DirEntry<'a>>> + 'a>,
    /// Takes back the reference to the node of an entry that was taken but not sent.
    pub give_back: Box<dyn Fn(&Entry) + 'a>,
}

impl fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listing(..)")
    }
}

/// One entry of a listing.
#[derive(Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// `d_ino`, the same as the node's `st_ino`.
    pub ino: Ino,
    /// `d_off`: the cookie from which a listing goes on after this entry.
    pub next: u64,
    /// `d_type`.
    pub file_type: FileType,
    /// The name.
    pub name: Cow<'a, [u8]>,
    /// The node, where it was asked for and the name is neither `.` nor `..`.
    pub entry: Option<Entry>,
}

/// What `statfs` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// All blocks, in units of `block_size`.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Blocks free to ordinary users.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Bytes.
    pub block_size: u32,
    /// The longest name, in bytes.
    pub name_length: u32,
}

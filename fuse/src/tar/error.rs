//! What can be wrong with an archive, and where.

use std::fmt;

use thiserror::Error;

/// An archive, or one entry of it, that cannot be shown.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("tar entry {entry} at byte {offset}: {fault}")]
pub struct TarError {
    /// The entry: the one being read, or the last one before the place where none
    /// could be read.
    pub entry: EntryName,
    /// The offset in the archive of the header at fault, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub fault: TarFault,
}

/// What is wrong with an archive.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TarFault {
    /// A header block whose checksum does not match: not a tar archive, or one
    /// that is damaged.
    #[error("header with a wrong checksum")]
    Checksum,
    /// A hard link that is followed by contents.
    #[error("hard link with contents")]
    LinkData,
    /// One block of zeros that is followed by something else.
    #[error("lone block of zeros in the middle of the archive")]
    LoneZeroBlock,
    /// The archive ends before the entry does.
    #[error("archive is truncated")]
    Truncated,
    /// A number that is malformed or out of range.
    #[error("bad number in field {field}")]
    Number {
        /// The field or PAX key.
        field: &'static str,
    },
    /// A type flag that is none of tar's.
    #[error("unknown type {:?}", char::from(*.0))]
    UnknownType(u8),
    /// A malformed PAX record.
    #[error("malformed PAX record")]
    PaxRecord,
    /// PAX records or a long name that are larger than this crate reads.
    #[error("extended header of {size} bytes is larger than {limit}")]
    ExtendedTooLarge {
        /// Bytes in the archive.
        size: u64,
        /// Bytes that are read at most.
        limit: u64,
    },
    /// A path, one of its components or a link target that no file system holds
    /// (`ENAMETOOLONG`).
    #[error("name is too long (ENAMETOOLONG)")]
    NameTooLong,
    /// A NUL byte in a PAX path or link target.
    #[error("NUL byte in a name")]
    NulInName,
    /// A link without a target.
    #[error("link without a target")]
    EmptyLink,
    /// An extended attribute with a name or a value that the kernel has no room for.
    #[error("bad extended attribute")]
    Xattr,
    /// A sparse map that does not fit the entry.
    #[error("bad sparse map: {0}")]
    Sparse(&'static str),
    /// A component of the path is not a directory (`ENOTDIR`).
    #[error("{parent} is not a directory (ENOTDIR)")]
    NotADirectory {
        /// The component.
        parent: EntryName,
    },
    /// The symbolic links of the path form a loop (`ELOOP`).
    #[error("too many symbolic links (ELOOP)")]
    TooManyLinks,
    /// A whiteout that names nothing: `.wh.`, `.wh..` or `.wh...`.
    #[error("whiteout without a name")]
    Whiteout,
    /// A hard link to a directory.
    #[error("hard link to a directory")]
    LinkToDirectory,
    /// A hard link to its own name, or links that point at each other.
    #[error("hard link to itself")]
    LinkToItself,
    /// More entries, or more bytes of names, than an index holds.
    #[error("more entries or names than a layer may have")]
    TooLarge,
}

impl TarFault {
    /// Returns the error that this fault of an entry is.
    pub(crate) fn of(self, entry: &[u8], offset: u64) -> TarError {
        TarError {
            entry: EntryName(entry.to_vec()),
            offset,
            fault: self,
        }
    }
}

/// A name for messages: bytes, shown with those that are not printable escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryName(pub Vec<u8>);

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

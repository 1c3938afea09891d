//! Reads tar archives as they come: bytes go in, in pieces of any size, and
//! [`Entry`] values come out, with contents as offsets into the archive.
//!
//! Contents are never kept or copied. What is kept is bounded: one header block,
//! one extended header or long name, one sparse map.
//!
//! Accepted are v7, ustar, star, GNU and PAX archives, as containerd (Go's
//! `archive/tar`) accepts them, and old GNU sparse and contiguous files beyond
//! that. The end marker may be missing; what follows it is ignored. Global PAX
//! headers are skipped. Meaning is left to others: cleaning names, whiteouts, and
//! what an entry does to earlier ones.

mod entry;
mod error;
mod header;
mod number;
mod parser;
mod pax;
mod pending;
mod sparse;

pub use entry::{Entry, EntryKind, Extent, Xattr};
pub use error::{EntryName, TarError, TarFault};
pub use parser::{Parser, Sink};

pub(crate) use pax::XATTR_LIMIT;

#[cfg(test)]
pub(crate) mod archive;
#[cfg(test)]
mod tests;

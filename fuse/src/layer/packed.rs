//! Packed layers: the tar archive of a layer as it is, and an index over it.
//!
//! A layer is a directory with `data`, the archive byte for byte, and `index`, a
//! table of directories, inodes, names and extents that is mapped and read in
//! place. A [`Builder`] makes both from a stream; a [`PackedLayer`] reads them.
//! Nothing read from an index is trusted: whatever does not fit is
//! [`Error::Corrupt`](crate::Error::Corrupt), never a panic.
//!
//! What a layer means on top of others (whiteouts, opaque directories, hard links
//! into lower layers) is data here; the merge gives it its effect.

mod builder;
mod data;
mod directory;
mod format;
mod inode;
mod map;
mod name;
mod reader;
mod strings;
mod tree;
mod writer;
mod xattrs;

pub use builder::{Builder, Summary};
pub use directory::{Dentries, Dentry, Target};
pub use inode::{Inode, InodeIndex, InodeKind};
pub(crate) use reader::Extent;
pub use reader::{PackedLayer, Xattrs};

/// The name of the archive in the directory of a layer.
const DATA: &str = "data";
/// The name of the index.
const INDEX: &str = "index";

#[cfg(test)]
mod tests;

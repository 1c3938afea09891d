//! Layers of container images, the merged view of a chain of them, and the
//! border to the kernel.
//!
//! Data flows one way: a [`session`] receives the kernel's requests, decodes each
//! into a [`Request`] value, the [`View`] answers with a [`Reply`] value, and the
//! session encodes it. The view reads from its [`Layer`]s, uppermost first. This
//! crate knows nothing of registries, images, databases or async.

/// Unit tests share what makes layers with the tests from outside.
#[cfg(test)]
extern crate self as mica_fuse;

mod active;
mod attr;
mod catalog;
mod error;
mod forest;
mod ids;
mod kernel;
mod layer;
mod merge;
mod reply;
mod request;
pub mod session;
mod shown;
mod sys;
pub mod tar;
mod tree;
mod view;
#[doc = include_str!("semantics.md")]
pub mod semantics {}

pub use active::{ActiveView, Ownership, Upper, UpperOptions, Whiteouts, XattrSpace};
pub use attr::{Attr, FileType, Ino, Timestamp};
pub use catalog::{Catalog, Item};
pub use error::{Error, Result};
pub use forest::Forest;
pub use ids::{IdMap, IdMapError, IdMaps, IdRange};
pub use layer::Layer;
pub use layer::directory::{DirectoryLayer, DirectoryMarks};
pub use layer::packed::{
    Builder, Dentries, Dentry, Inode, InodeIndex, InodeKind, PackedLayer, Summary, Target, Xattrs,
};
pub use reply::{DirEntry, Entry, Listing, Opened, Reply, Segment, StatFs};
pub use request::{Caller, NodeId, Operation, Request, SetAttr, SetTime, Whence};
pub use shown::Shown;
pub use tree::{Appearance, Owners, Tree};
pub use view::{Access, DiffView, FileReader, View, ViewOptions};

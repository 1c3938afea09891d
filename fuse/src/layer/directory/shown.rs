//! What an inode of a directory layer is shown as: mostly as the file system has it.

use std::os::fd::OwnedFd;

use super::{DirectoryLayer, RealAttr};
use crate::{FileType, Result};

/// Bytes in a block of `st_blocks`.
const BLOCK: u64 = 512;

impl DirectoryLayer {
    /// Returns the attributes that an inode is shown with.
    pub(super) fn shown(&self, real: RealAttr, inode: &OwnedFd, path: &[u8]) -> Result<RealAttr> {
        let mut attr = real.attr;
        if may_be_metacopy(&real) && self.marks(inode, path)?.metacopy {
            // Its own have no blocks, by which some take it for zeros.
            attr.blocks = attr.size.div_ceil(BLOCK);
        }
        Ok(RealAttr { attr, ..real })
    }
}

/// Returns whether a file has fewer blocks than bytes, as all metadata-only copies that
/// the kernel made.
pub(super) fn may_be_metacopy(real: &RealAttr) -> bool {
    let blocks = real.attr.size.div_ceil(BLOCK);
    real.file_type() == FileType::Regular && real.attr.blocks < blocks
}

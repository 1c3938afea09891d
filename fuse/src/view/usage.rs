//! `statfs`: how much the layers hold.

use super::View;
use super::names::LONGEST_NAME;
use crate::layer::Layer;
use crate::{Reply, Result, StatFs};

/// Bytes in a block of `statfs`.
const BLOCK_SIZE: u32 = 4096;

impl View {
    /// Answers `statfs`: what all packed layers hold, and what is used in each file
    /// system below a directory layer, counted once. Nothing is free (rule 11).
    pub(super) fn stat_fs(&self) -> Result<Reply<'_>> {
        let (mut bytes, mut files) = (0_u64, 0_u64);
        let mut devices = Vec::new();
        for layer in &self.stack.layers {
            match layer {
                Layer::Packed(packed) => {
                    bytes = bytes.saturating_add(packed.size());
                    files = files.saturating_add(u64::from(packed.inodes()));
                }
                Layer::Directory(directory) => {
                    let usage = directory.usage()?;
                    if !devices.contains(&usage.device) {
                        devices.push(usage.device);
                        bytes = bytes.saturating_add(usage.bytes);
                        files = files.saturating_add(usage.inodes);
                    }
                }
            }
        }
        Ok(Reply::StatFs(StatFs {
            blocks: bytes.div_ceil(u64::from(BLOCK_SIZE)),
            files,
            block_size: BLOCK_SIZE,
            name_length: u32::try_from(LONGEST_NAME).unwrap_or_default(),
            ..StatFs::default()
        }))
    }
}

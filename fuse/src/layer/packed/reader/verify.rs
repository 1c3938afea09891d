//! Makes the index again from the data.

use std::os::fd::AsFd;
use std::path::Path;

use super::{DATA, PackedLayer, open};
use crate::layer::packed::builder::Indexer;
use crate::{Error, Result};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

impl PackedLayer {
    /// Returns whether the index is the one that `data` makes, byte for byte. `take` is
    /// given all bytes of `data` on the way, in order, so that one pass can check their
    /// digest too.
    pub fn matches_data(&self, mut take: impl FnMut(&[u8])) -> Result<bool> {
        let file = open(self.dir.as_fd(), self.label(), DATA)?;
        let mut buffer = vec![0; CHUNK];
        let mut indexer = Indexer::new();
        let mut size = 0;
        loop {
            let read = rustix::io::pread(&file, &mut buffer[..], size)
                .map_err(Error::system("read", Path::new(self.label()).join(DATA)))?;
            if read == 0 {
                break;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            take(bytes);
            indexer.push(bytes)?;
            size += read as u64;
        }
        let index = indexer.finish(size)?;
        let mut rest = self.map.bytes();
        for piece in index.pieces() {
            match rest.strip_prefix(piece) {
                Some(after) => rest = after,
                None => return Ok(false),
            }
        }
        Ok(rest.is_empty())
    }
}

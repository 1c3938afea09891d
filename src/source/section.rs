//! Bytes that lie in a file, or in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::error::SourceError;
use crate::oci::{Algorithm, Digest};

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;

/// A part of a file, such as one member of an archive.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The directory or archive, for messages.
    pub(super) path: Arc<PathBuf>,
    /// The file's name in it, for messages.
    pub(super) member: String,
    pub(super) bytes: Place,
    pub(super) size: u64,
}

/// Where the bytes of a section are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In a file, from this offset.
    File(Arc<File>, u64),
    /// In memory, from the first byte.
    Memory(Bytes),
}

impl Section {
    /// Returns a section of bytes that a document holds.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self {
            path: Arc::default(),
            member: String::new(),
            size: bytes.len() as u64,
            bytes: Place::Memory(bytes.into()),
        }
    }

    /// Returns the bytes from `offset` on, at most 1 MiB of them; none at the end.
    pub(super) fn read(&self, offset: u64) -> Result<Bytes, SourceError> {
        self.read_at_most(offset, PIECE)
    }

    fn read_at_most(&self, offset: u64, most: usize) -> Result<Bytes, SourceError> {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        match &self.bytes {
            Place::Memory(bytes) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                Ok(bytes.slice(start..bytes.len().min(start.saturating_add(length))))
            }
            Place::File(file, start) => {
                let mut piece = BytesMut::zeroed(length);
                let at = start
                    .checked_add(offset)
                    .ok_or(io::ErrorKind::UnexpectedEof);
                at.map_err(io::Error::from)
                    .and_then(|at| file.read_exact_at(&mut piece, at))
                    .map_err(|source| self.failed(source))?;
                Ok(piece.freeze())
            }
        }
    }

    /// Returns all bytes, if they are at most `limit`.
    pub(super) fn read_all(&self, limit: u64) -> Result<Bytes, SourceError> {
        if self.size > limit {
            return Err(SourceError::TooLarge {
                path: self.path.to_path_buf(),
                member: self.member.clone(),
                size: self.size,
                limit,
            });
        }
        self.read_at_most(0, usize::MAX)
    }

    /// Returns the first bytes, which tell how the rest is compressed.
    pub(super) fn magic(&self) -> Result<Bytes, SourceError> {
        self.read_at_most(0, 4)
    }

    /// Returns the SHA-256 digest of all bytes.
    pub(super) fn digest(&self) -> Result<Digest, SourceError> {
        let mut digester = Algorithm::Sha256.digester();
        let mut offset = 0;
        while offset < self.size {
            let piece = self.read(offset)?;
            digester.update(&piece);
            offset += piece.len() as u64;
        }
        Ok(digester.finish())
    }

    fn failed(&self, source: io::Error) -> SourceError {
        let path = self.path.join(&self.member);
        SourceError::Io {
            operation: "read",
            path,
            source,
        }
    }
}

/// Says how bytes that begin like this are compressed, if they are.
pub(super) fn compression_of(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some("zstd"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', ..] => Some("xz"),
        _ => None,
    }
}

/// Runs what waits for files away from the threads of the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(SourceError::Stopped),
        },
    }
}

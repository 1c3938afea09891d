//! The bytes of a blob on their way, hashed as they are read.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Weak;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use crate::oci::{Algorithm, Digest, Digester};

/// Bytes read at a time from files.
const CHUNK: usize = 256 << 10;

/// Where a blob's bytes come from.
#[derive(Debug)]
pub(crate) enum Supply {
    /// A file that holds them all.
    File(File),
    /// Whoever has them, piece by piece.
    Stream(Receiver<io::Result<Bytes>>),
}

/// Reads a blob.
#[derive(Debug)]
pub(crate) struct Blob {
    supply: Supply,
    /// Those who wait for the end.
    waiting: Weak<()>,
    digester: Digester,
    /// What was read last, of which `position` bytes were consumed.
    piece: Bytes,
    position: usize,
    failure: Option<io::Error>,
}

impl Blob {
    /// Begins to read; reading fails once nobody waits any more.
    pub(crate) fn new(supply: Supply, algorithm: Algorithm, waiting: Weak<()>) -> Self {
        Self {
            supply,
            waiting,
            digester: algorithm.digester(),
            piece: Bytes::new(),
            position: 0,
            failure: None,
        }
    }

    /// Reads what is left; returns the digest of all.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        while self.failure.is_none() {
            match self.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => self.position += bytes.len(),
                // The failure is kept.
                Err(_) => {}
            }
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.digester.finish()),
        }
    }

    /// Makes the next bytes the piece; none are the end.
    fn advance(&mut self) -> io::Result<()> {
        if self.waiting.strong_count() == 0 {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        self.piece = match &mut self.supply {
            Supply::File(file) => {
                // The last piece is given back before a new one is made.
                let mut buffer = match std::mem::take(&mut self.piece).try_into_mut() {
                    Ok(buffer) => buffer.into(),
                    Err(_) => Vec::with_capacity(CHUNK),
                };
                buffer.clear();
                file.take(CHUNK as u64).read_to_end(&mut buffer)?;
                buffer.into()
            }
            Supply::Stream(pieces) => loop {
                match pieces.blocking_recv().transpose()? {
                    Some(piece) if piece.is_empty() => {}
                    piece => break piece.unwrap_or_default(),
                }
            },
        };
        self.position = 0;
        self.digester.update(&self.piece);
        Ok(())
    }
}

impl BufRead for Blob {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position >= self.piece.len()
            && self.failure.is_none()
            && let Err(failure) = self.advance()
        {
            self.failure = Some(failure);
        }
        if self.failure.is_some() {
            return Err(io::Error::other("the blob cannot be read"));
        }
        Ok(self.piece.get(self.position..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

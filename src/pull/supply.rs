//! Where a layer's compressed bytes come from, as one reader.
//!
//! Whatever the way (a blob that is there, the part that an earlier try has left,
//! the network), every byte is hashed and, if it is new, stored on its way through.

use std::fs::File;
use std::io::{self, BufRead, Read};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

use super::{Observer, State};
use crate::content::{ContentError, Ingest};
use crate::oci::{Descriptor, Digester};

/// Bytes read at a time from files.
const CHUNK: usize = 256 << 10;

/// The compressed bytes of one layer.
#[derive(Debug)]
pub(super) enum Supply {
    /// The blob is in the store.
    Blob {
        /// The blob.
        file: File,
        /// The digest of what was read.
        digester: Digester,
    },
    /// The blob comes, after what is there of it.
    Ingest {
        /// What is there, and where the rest goes.
        ingest: Ingest,
        /// The rest.
        network: Receiver<Bytes>,
    },
}

/// Reads a supply; it is drained and verified by [`Self::finish`].
#[derive(Debug)]
pub(super) struct SupplyReader {
    supply: Supply,
    descriptor: Descriptor,
    observer: Observer,
    /// What was read last, of which `position` bytes were consumed.
    chunk: Chunk,
    position: usize,
    bytes: u64,
    failure: Option<ContentError>,
}

#[derive(Debug)]
enum Chunk {
    Buffer(Vec<u8>),
    Network(Bytes),
}

impl Supply {
    /// Returns the supply of a blob that is in the store.
    pub(super) fn blob(file: File, descriptor: &Descriptor) -> Self {
        Self::Blob {
            file,
            digester: descriptor.digest.algorithm().digester(),
        }
    }
}

impl SupplyReader {
    pub(super) fn new(supply: Supply, descriptor: &Descriptor, observer: Observer) -> Self {
        if let Supply::Blob { .. } = supply {
            observer.tell(&descriptor.digest, State::Unpacking);
        }
        Self {
            supply,
            descriptor: descriptor.clone(),
            observer,
            chunk: Chunk::Buffer(Vec::with_capacity(CHUNK)),
            position: 0,
            bytes: 0,
            failure: None,
        }
    }

    /// Reads what is left, verifies the whole and publishes it as a blob if it is new.
    pub(super) fn finish(mut self) -> Result<(), ContentError> {
        while self.failure.is_none() {
            match self.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => self.position += bytes.len(),
                // The failure is kept in the reader.
                Err(_) => {}
            }
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        match self.supply {
            Supply::Ingest { ingest, .. } => ingest.commit(),
            Supply::Blob { digester, .. } => {
                let expected = self.descriptor.digest;
                let found = digester.finish();
                if found == expected {
                    return Ok(());
                }
                Err(ContentError::Digest { expected, found })
            }
        }
    }

    /// Makes the next bytes the chunk; an empty chunk is the end.
    fn advance(&mut self) -> Result<(), ContentError> {
        self.position = 0;
        // A chunk of the network gives way to a buffer only before the end.
        if let Chunk::Network(bytes) = &mut self.chunk {
            bytes.clear();
        }
        match &mut self.supply {
            Supply::Blob { file, digester } => {
                let Chunk::Buffer(buffer) = &mut self.chunk else {
                    return Ok(());
                };
                buffer.clear();
                let read = file.take(CHUNK as u64).read_to_end(buffer);
                read.map_err(|source| ContentError::Io {
                    operation: "read blob",
                    path: self.descriptor.digest.to_string().into(),
                    source,
                })?;
                digester.update(buffer);
            }
            Supply::Ingest { ingest, network } => {
                if let Chunk::Buffer(buffer) = &mut self.chunk {
                    ingest.replay(buffer)?;
                    if !buffer.is_empty() {
                        self.bytes += buffer.len() as u64;
                        return Ok(());
                    }
                }
                let bytes = network.blocking_recv().unwrap_or_default();
                ingest.write(&bytes)?;
                self.bytes += bytes.len() as u64;
                let state = if bytes.is_empty() {
                    State::Unpacking
                } else {
                    State::Downloading {
                        bytes: self.bytes,
                        total: self.descriptor.size,
                    }
                };
                self.chunk = Chunk::Network(bytes);
                self.observer.tell(&self.descriptor.digest, state);
            }
        }
        Ok(())
    }
}

impl BufRead for SupplyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position >= self.chunk.len()
            && let Err(failure) = self.advance()
        {
            self.failure = Some(failure);
        }
        if self.failure.is_some() {
            return Err(io::Error::other("the supply has failed"));
        }
        Ok(self.chunk.bytes().get(self.position..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for SupplyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Network(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }
}

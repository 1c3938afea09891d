//! Compression of layers that are made here: on all cores, the same bytes every time.
//!
//! What comes out depends on what goes in and on nothing else: not on the number of cores,
//! and not on how the bytes were handed over.

mod gzip;

use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

pub(crate) use gzip::GzipWriter;

/// How a layer that is made here is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// One gzip member, which everybody reads.
    #[default]
    Gzip,
    /// One zstd frame: smaller and sooner done, for all but old tools.
    Zstd,
}

/// Compresses what is written to it into another writer.
pub(crate) enum Compressor<W: Write> {
    Gzip(GzipWriter<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    pub(crate) fn new(compression: Compression, output: W) -> io::Result<Self> {
        let threads = threads();
        match compression {
            Compression::Gzip => Ok(Self::Gzip(GzipWriter::new(output, threads))),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                // Never none, which would compress in other pieces than one or more do.
                encoder.multithread(u32::try_from(threads.get()).unwrap_or(1))?;
                encoder.include_checksum(true)?;
                Ok(Self::Zstd(encoder))
            }
        }
    }

    /// Writes what is still held back; returns the other writer.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(writer) => writer.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(writer) => writer.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: where pieces end is not for whoever writes to say.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns how many threads compress.
fn threads() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

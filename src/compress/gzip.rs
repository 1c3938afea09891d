//! gzip on several threads, as one member.
//!
//! The input is cut into blocks of one size. Each is compressed by itself, with the end of
//! the block before as its dictionary, and ends at a byte (a sync flush), so that the
//! results can be put one behind another: one deflate stream, of which nobody sees that
//! several have made it. pigz does the same.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Bytes in one block.
const BLOCK: usize = 256 << 10;
/// The window of deflate.
const WINDOW: usize = 32 << 10;
/// The fastest, as layers that are made here are waited for: twice as fast as level 2, for a
/// fifth more bytes. Whoever minds the bytes takes zstd, which is faster and smaller than
/// either.
const LEVEL: u32 = 1;
/// RFC 1952 §2.3: deflate, no flags, no time, nothing about the level, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// Compresses what is written to it into another writer.
pub(crate) struct GzipWriter<W: Write> {
    output: W,
    has_header: bool,
    /// What was written and is in no job yet.
    block: Vec<u8>,
    /// The end of the block before.
    dictionary: Vec<u8>,
    crc: Crc,
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    /// Blocks that are being compressed, in their order.
    results: VecDeque<Receiver<io::Result<Piece>>>,
    /// How many of them there may be, which bounds the memory.
    most: usize,
}

/// A block that is to be compressed.
struct Job {
    block: Vec<u8>,
    dictionary: Vec<u8>,
    is_last: bool,
    result: Sender<io::Result<Piece>>,
}

/// A block that was compressed.
struct Piece {
    deflated: Vec<u8>,
    crc: Crc,
}

impl<W: Write> GzipWriter<W> {
    pub(crate) fn new(output: W, threads: NonZero<usize>) -> Self {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue))
        };
        Self {
            output,
            has_header: false,
            block: Vec::with_capacity(BLOCK),
            dictionary: Vec::new(),
            crc: Crc::new(),
            jobs: Some(jobs),
            workers: (0..threads.get()).map(worker).collect(),
            results: VecDeque::new(),
            most: threads.get() * 2,
        }
    }

    /// Writes what is still held back; returns the other writer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.compress(true)?;
        while !self.results.is_empty() {
            self.take_result()?;
        }
        self.jobs = None;
        for worker in self.workers.drain(..) {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.output)
    }

    /// Hands the block to the workers, and waits for the oldest when there are many.
    fn compress(&mut self, is_last: bool) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let window = block.len().saturating_sub(WINDOW);
        let next = block.get(window..).unwrap_or_default().to_vec();
        let (result, receiver) = channel();
        let job = Job {
            block,
            dictionary: std::mem::replace(&mut self.dictionary, next),
            is_last,
            result,
        };
        let is_taken = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if !is_taken {
            return Err(gone());
        }
        self.results.push_back(receiver);
        while self.results.len() > self.most {
            self.take_result()?;
        }
        Ok(())
    }

    /// Writes the oldest result.
    fn take_result(&mut self) -> io::Result<()> {
        let Some(receiver) = self.results.pop_front() else {
            return Ok(());
        };
        let piece = receiver.recv().map_err(|_| gone())??;
        if !self.has_header {
            self.output.write_all(&HEADER)?;
            self.has_header = true;
        }
        self.crc.combine(&piece.crc);
        self.output.write_all(&piece.deflated)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.compress(false)?;
        }
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Does nothing: where blocks end is not for whoever writes to say.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses blocks until there are no more.
fn work(queue: &Mutex<Receiver<Job>>) {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let piece = deflate(&mut compress, &job);
        // Whoever wanted it may have failed meanwhile.
        drop(job.result.send(piece));
    }
}

fn deflate(compress: &mut Compress, job: &Job) -> io::Result<Piece> {
    compress.reset();
    if !job.dictionary.is_empty() {
        compress.set_dictionary(&job.dictionary)?;
    }
    let mut crc = Crc::new();
    crc.update(&job.block);
    let flush = if job.is_last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    let mut deflated = Vec::with_capacity(job.block.len() / 2 + 64);
    loop {
        let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = job.block.get(done..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut deflated, flush)?;
        // A full buffer may mean that there is more to come.
        let is_full = deflated.len() == deflated.capacity();
        match status {
            Status::Ok | Status::BufError if is_full => deflated.reserve(job.block.len() / 2 + 64),
            Status::Ok | Status::BufError if job.is_last => {}
            Status::StreamEnd | Status::Ok | Status::BufError => break,
        }
    }
    Ok(Piece { deflated, crc })
}

fn gone() -> io::Error {
    io::Error::other("a thread that compresses has ended")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn compressed(bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), NonZero::new(threads).unwrap());
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    /// Bytes that compress a little, and repeat at more than a window's distance.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [.., high] = state.to_le_bytes();
            high & 0x3f
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn it_is_one_member_that_holds_what_was_written() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 77] {
            let bytes = sample(length);
            let found = compressed(&bytes, 2, 100_000);
            let mut plain = Vec::new();
            // This decoder stops behind the first member.
            let mut decoder = flate2::bufread::GzDecoder::new(&found[..]);
            decoder.read_to_end(&mut plain).unwrap();
            assert!(plain == bytes, "{length}");
            assert_eq!(decoder.into_inner(), b"", "{length}");
        }
    }

    #[test]
    fn equal_bytes_come_from_any_number_of_threads_and_pieces() {
        let bytes = sample(4 * BLOCK + 5);
        let expected = compressed(&bytes, 1, BLOCK);
        for (threads, piece) in [(1, 1000), (2, BLOCK + 1), (7, 65_536), (3, bytes.len())] {
            assert!(compressed(&bytes, threads, piece) == expected, "{threads}");
        }
    }

    #[test]
    fn blocks_know_what_the_one_before_ended_with() {
        let repeated = sample(WINDOW / 2);
        let bytes: Vec<u8> = repeated.iter().copied().cycle().take(2 * BLOCK).collect();
        let one = compressed(&bytes[..BLOCK], 1, BLOCK).len();
        let two = compressed(&bytes, 1, BLOCK).len();
        assert!(two - one < one / 3, "{one} {two}");
    }

    #[test]
    fn a_failed_write_is_an_error_and_ends_the_threads() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = GzipWriter::new(Full, NonZero::new(2).unwrap());
        let error = writer
            .write_all(&sample(20 * BLOCK))
            .and_then(|()| writer.finish().map(drop));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

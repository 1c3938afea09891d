//! From compressed bytes to a layer that is being unpacked, on two threads.
//!
//! One thread reads and inflates; the other hashes what was inflated and writes the layer.
//! A few buffers go round between them, so that memory does not grow with the layer.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use crate::decompress;
use crate::layers::{LayerError, Unpacking};

/// Bytes in one buffer of inflated data.
const BUFFER: usize = 256 << 10;
/// Buffers that may wait for the second thread.
const BUFFERS: usize = 4;

/// Runs both threads until the stream ends or one of them fails. Returns how the reading
/// ended, and the layer, which is whole only if that is well.
pub(crate) fn inflate(
    supply: impl BufRead,
    mut unpacking: Unpacking,
) -> (io::Result<()>, Result<Unpacking, LayerError>) {
    let (full, to_unpack) = sync_channel::<Vec<u8>>(BUFFERS);
    let (empty, to_fill) = channel::<Vec<u8>>();
    thread::scope(|scope| {
        let unpacker = scope.spawn(move || {
            for buffer in to_unpack {
                unpacking.push(&buffer)?;
                // The first thread may have ended before the last buffer comes back.
                drop(empty.send(buffer));
            }
            Ok(unpacking)
        });
        let inflated = fill(supply, &full, &to_fill);
        drop(full);
        match unpacker.join() {
            Ok(result) => (inflated, result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Inflates into buffers until the stream ends or nobody takes them any more.
fn fill(
    supply: impl BufRead,
    full: &SyncSender<Vec<u8>>,
    to_fill: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut reader = decompress::reader(supply)?;
    loop {
        let mut buffer = match to_fill.try_recv() {
            Ok(buffer) => buffer,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => vec![0; BUFFER],
        };
        buffer.resize(BUFFER, 0);
        let result = fill_one(&mut reader, &mut buffer);
        let is_end = result.is_err() || buffer.len() < BUFFER;
        if full.send(buffer).is_err() || is_end {
            return result;
        }
    }
}

/// Fills a buffer as far as the stream goes, and cuts it to what came.
fn fill_one(reader: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut filled = 0;
    let result = loop {
        match buffer.get_mut(filled..) {
            None | Some([]) => break Ok(()),
            Some(rest) => match reader.read(rest) {
                Ok(0) => break Ok(()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            },
        }
    };
    buffer.truncate(filled);
    result
}

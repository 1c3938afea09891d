//! Bodies of uploads: bytes of a file, read as the connection takes them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;

/// How far a body has been taken, for whoever waits.
#[derive(Clone)]
pub(super) struct Taken {
    /// Bytes of the whole blob that were sent or are about to be.
    position: Arc<AtomicU64>,
    told: Arc<dyn Fn(u64) + Send + Sync>,
}

/// The bytes of a file from `position` to `end`.
#[derive(Debug)]
pub(super) struct FileBody {
    file: Arc<File>,
    position: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    taken: Taken,
}

impl Taken {
    pub(super) fn new(told: Arc<dyn Fn(u64) + Send + Sync>) -> Self {
        Self {
            position: Arc::default(),
            told,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    fn advance(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
        (self.told)(position);
    }
}

impl FileBody {
    pub(super) fn new(file: Arc<File>, position: u64, end: u64, taken: Taken) -> Self {
        Self {
            file,
            position,
            end,
            reading: None,
            taken,
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let position = self.position;
        if position >= self.end {
            return Poll::Ready(None);
        }
        let length = PIECE.min(self.end - position);
        let file = Arc::clone(&self.file);
        let reading = self.reading.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || read(&file, position, length))
        });
        let result = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let bytes = result.map_err(io::Error::other)??;
        self.position += bytes.len() as u64;
        self.taken.advance(self.position);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.position)
    }
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Taken").field(&self.position()).finish()
    }
}

fn read(file: &File, position: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = BytesMut::zeroed(length);
    file.read_exact_at(&mut bytes, position)?;
    Ok(bytes.freeze())
}

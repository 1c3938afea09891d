//! A writer by reference, with containerd's rules for what becomes of what was written.
//!
//! Dropping a writer keeps its bytes for the next one of the same reference. A commit ends
//! it in any case: it leaves a blob with a record; or, where the namespace has the blob
//! already, nothing; or, where size or digest are not those asked for, the bytes.

use std::fs::File;
use std::sync::Arc;

use jiff::Timestamp;

use super::blobs::Blobs;
use super::ingest::{Ingest, Request};
use super::{ContentError, IngestStatus, failed, record};
use crate::labels;
use crate::meta::{ContentRecord, Labels};
use crate::oci::Digest;
use crate::publish;
use crate::store::FileLock;

/// Writes one blob; nobody else writes under its reference meanwhile.
#[derive(Debug)]
pub struct Writer {
    blobs: Blobs,
    request: Request,
    lock: Arc<FileLock>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Bytes are written to an ingest.
    Own(Box<Ingest>),
    /// The store has the blob that is to be written, for another namespace.
    Shared {
        blob: File,
        digest: Digest,
        size: u64,
        started: Timestamp,
    },
}

impl Writer {
    pub(super) fn open(
        blobs: &Blobs,
        request: Request,
        lock: Arc<FileLock>,
    ) -> Result<Self, ContentError> {
        let state = if let Some(shared) = shared(blobs, &request)? {
            shared
        } else {
            let mut ingest = Ingest::open(&blobs.content, &request, Arc::clone(&lock))?;
            ingest.replay_all()?;
            State::Own(Box::new(ingest))
        };
        Ok(Self {
            blobs: blobs.clone(),
            request,
            lock,
            state,
        })
    }

    /// Returns how far the writer is.
    pub fn status(&self) -> Result<IngestStatus, ContentError> {
        match &self.state {
            State::Own(ingest) => ingest.status(),
            State::Shared {
                digest,
                size,
                started,
                ..
            } => Ok(IngestStatus {
                reference: self.request.reference.clone(),
                expected: Some(digest.clone()),
                total: *size,
                offset: *size,
                started: *started,
                updated: *started,
            }),
        }
    }

    /// Returns where the next bytes go.
    pub fn offset(&self) -> u64 {
        match &self.state {
            State::Own(ingest) => ingest.offset(),
            State::Shared { size, .. } => *size,
        }
    }

    /// Returns the digest of what is there.
    pub fn digest(&self) -> Digest {
        match &self.state {
            State::Own(ingest) => ingest.digest(),
            State::Shared { digest, .. } => digest.clone(),
        }
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.unshare(true)?;
        if let State::Own(ingest) = &mut self.state {
            ingest.append(bytes)?;
        }
        Ok(())
    }

    /// Goes to an offset, as a message of containerd's write stream asks for it: the current
    /// one, or zero to begin again.
    pub fn seek(&mut self, offset: u64) -> Result<(), ContentError> {
        let current = self.offset();
        match offset {
            _ if offset == current => Ok(()),
            0 => self.truncate(),
            _ => Err(ContentError::WriteOffset { offset, current }),
        }
    }

    /// Throws away what was written, and begins again.
    pub fn truncate(&mut self) -> Result<(), ContentError> {
        match &mut self.state {
            State::Own(ingest) => ingest.truncate(),
            State::Shared { .. } => self.unshare(false),
        }
    }

    /// Ends the writer and throws away what was written.
    pub fn abort(self) -> Result<(), ContentError> {
        match self.state {
            State::Own(ingest) => ingest.discard(),
            State::Shared { .. } => Ok(()),
        }
    }

    /// Makes a blob of what was written, if it has the given size (unless that is zero) and
    /// digest; it is on the disk when this returns.
    pub fn commit(
        self,
        size: u64,
        expected: Option<&Digest>,
        labels: Labels,
    ) -> Result<ContentRecord, ContentError> {
        let labels = labels::checked(labels)?;
        let found = self.offset();
        if size != 0 && size != found {
            let expected = size;
            return Err(ContentError::CommitSize { expected, found });
        }
        let digest = self.verified(expected)?;
        let blobs = self.blobs;
        if let State::Own(ingest) = self.state {
            ingest.publish(&digest)?;
            let path = blobs.content.path(&digest);
            let directory = path.parent().unwrap_or(&path);
            publish::sync_directory(directory).map_err(failed("sync", directory))?;
        }
        blobs.meta.write(|transaction| {
            let known: Option<ContentRecord> =
                transaction.find(&blobs.namespace, &digest.to_string())?;
            if known.is_some() {
                return Err(ContentError::AlreadyExists(digest.clone()));
            }
            // Nothing has kept it since it was published, or since the writer was opened.
            if blobs.content.size(&digest)? != Some(found) {
                return Err(ContentError::NotFound(digest.clone()));
            }
            let namespace = &blobs.namespace;
            let record = record::create(transaction, namespace, digest.clone(), found, labels)?;
            Ok(record)
        })
    }

    /// Returns the digest of what was written, in the form of the expected one, which it
    /// must be.
    fn verified(&self, expected: Option<&Digest>) -> Result<Digest, ContentError> {
        let digest = match (&self.state, expected) {
            (State::Own(ingest), Some(expected)) => ingest.digest_as(expected)?,
            _ => self.digest(),
        };
        match expected {
            Some(expected) if *expected != digest => Err(ContentError::CommitDigest {
                expected: expected.clone(),
                found: digest,
            }),
            _ => Ok(digest),
        }
    }

    /// Makes an ingest of a shared blob, with the blob's bytes or without.
    fn unshare(&mut self, keeps_bytes: bool) -> Result<(), ContentError> {
        let State::Shared { blob, .. } = &self.state else {
            return Ok(());
        };
        let request = Request {
            total: 0,
            expected: None,
            ..self.request.clone()
        };
        let lock = Arc::clone(&self.lock);
        let mut ingest = Ingest::open(&self.blobs.content, &request, lock)?;
        ingest.truncate()?;
        if keeps_bytes {
            ingest.append_file(blob)?;
        }
        self.state = State::Own(Box::new(ingest));
        Ok(())
    }
}

/// Returns the blob that a request wants, if the store has it already and the namespace may
/// have it.
fn shared(blobs: &Blobs, request: &Request) -> Result<Option<State>, ContentError> {
    let Some(digest) = &request.expected else {
        return Ok(None);
    };
    let blob = match blobs.content.open(digest) {
        Ok(blob) => blob,
        Err(ContentError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !blobs.may_take(digest)? {
        return Ok(None);
    }
    let path = blobs.content.path(digest);
    let size = blob.metadata().map_err(failed("stat", &path))?.len();
    if request.total != 0 && request.total != size {
        return Err(ContentError::Size {
            digest: digest.clone(),
            expected: request.total,
            found: size,
        });
    }
    Ok(Some(State::Shared {
        blob,
        digest: digest.clone(),
        size,
        started: Timestamp::now(),
    }))
}

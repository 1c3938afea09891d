//! A blob that is being written: bytes so far, and what they are to become.
//!
//! `content/ingests/<id>/` holds `data` and `info`; the id stands for a namespace and a
//! reference. One writer at a time has an ingest (a lock by id); when it goes away, by
//! whatever way, the bytes stay, and the next one reads them again from the start, since
//! a digest cannot be taken up in the middle. An ingest gets its blob's name only with
//! the size and digest that were asked for.
//!
//! Pulls write for all namespaces, under the references that containerd's have; they know
//! size and digest in advance, and throw bytes away that turn out to be wrong. Whoever
//! writes by a [`Writer`](super::Writer) may know neither, and keeps wrong bytes.
//!
//! The disk is told to write behind the writer, piece by piece, so that the sync
//! before the publication finds little left to do.

mod status;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{Advice, fadvise};

use super::{Content, ContentError, failed};
use crate::meta::Namespace;
use crate::oci::{Algorithm, Descriptor, Digest, Digester};
use crate::publish;
use crate::store::{FileLock, LockName};

pub use status::IngestStatus;
pub(crate) use status::{Info, directories, list};

/// Bytes after which the disk is told to write.
const WRITE_BEHIND: u64 = 8 << 20;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// What somebody wants to write.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) namespace: Namespace,
    pub(super) reference: String,
    /// Zero when it is not known.
    pub(super) total: u64,
    pub(super) expected: Option<Digest>,
}

/// The writer of one blob.
#[derive(Debug)]
pub(crate) struct Ingest {
    content: Content,
    directory: PathBuf,
    data: PathBuf,
    info: Box<Info>,
    file: File,
    /// Bytes that were there when the ingest was opened.
    resumed: u64,
    /// Bytes hashed so far, by replay or by writing.
    offset: u64,
    written_behind: u64,
    algorithm: Algorithm,
    digester: Digester,
    _lock: Arc<FileLock>,
}

impl Request {
    /// Returns what a pull of a blob writes.
    pub(super) fn pull(descriptor: &Descriptor) -> Self {
        Self {
            namespace: Namespace::shared(),
            reference: status::reference_of(descriptor),
            total: descriptor.size,
            expected: Some(descriptor.digest.clone()),
        }
    }

    /// Returns the lock that one writer at a time has.
    pub(super) fn lock_name(&self) -> LockName {
        LockName::Ingest(id(&self.namespace, &self.reference))
    }
}

impl Ingest {
    /// Takes up what was written, or begins. All that is there must be replayed before
    /// the first write.
    pub(super) fn open(
        content: &Content,
        request: &Request,
        lock: Arc<FileLock>,
    ) -> Result<Self, ContentError> {
        let directory = content
            .ingests
            .join(id(&request.namespace, &request.reference));
        let data = directory.join("data");
        // Not durable: a lost ingest costs a download.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed("create", &directory))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&data)
            .map_err(failed("open", &data))?;
        let known = Info::read(&directory)?;
        if known.as_ref().is_some_and(|info| !info.fits(request)) {
            file.set_len(0).map_err(failed("truncate", &data))?;
        }
        let info = match known.filter(|info| info.fits(request)) {
            Some(info) => info,
            None => Info {
                namespace: request.namespace.to_string(),
                reference: request.reference.clone(),
                expected: request.expected.clone(),
                total: request.total,
                started: Timestamp::now(),
            },
        };
        info.write(&directory)?;
        let resumed = file.metadata().map_err(failed("stat", &data))?.len();
        let algorithm = info.expected.as_ref().map(Digest::algorithm);
        let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
        Ok(Self {
            content: content.clone(),
            algorithm,
            digester: algorithm.digester(),
            directory,
            data,
            info: Box::new(info),
            file,
            resumed,
            offset: 0,
            written_behind: resumed,
            _lock: lock,
        })
    }

    /// Returns how many bytes are there already: where the download goes on.
    pub(crate) fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Reads the next of the bytes that were there; an empty read means all were read.
    pub(crate) fn replay(&mut self, buffer: &mut Vec<u8>) -> Result<(), ContentError> {
        let capacity = buffer.capacity() as u64;
        buffer.clear();
        let wanted = capacity.min(self.resumed.saturating_sub(self.offset));
        (&self.file)
            .take(wanted)
            .read_to_end(buffer)
            .map_err(failed("read", &self.data))?;
        if (buffer.len() as u64) < wanted {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(failed("read", &self.data)(source));
        }
        self.digester.update(buffer);
        self.offset += buffer.len() as u64;
        Ok(())
    }

    /// Reads all of the bytes that were there.
    pub(super) fn replay_all(&mut self) -> Result<(), ContentError> {
        let mut buffer = Vec::with_capacity(CHUNK);
        while self.offset < self.resumed {
            self.replay(&mut buffer)?;
        }
        Ok(())
    }

    /// Appends bytes of a blob whose size is known.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        let end = self.offset + bytes.len() as u64;
        if end > self.info.total {
            self.check_size(end)?;
        }
        self.append(bytes)
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        self.file
            .write_all_at(bytes, self.offset)
            .map_err(failed("write", &self.data))?;
        self.digester.update(bytes);
        self.offset += bytes.len() as u64;
        if self.offset - self.written_behind >= WRITE_BEHIND {
            self.write_behind()?;
        }
        Ok(())
    }

    /// Appends the bytes of a blob.
    pub(super) fn append_file(&mut self, file: &File) -> Result<(), ContentError> {
        let mut buffer = Vec::with_capacity(CHUNK);
        loop {
            buffer.clear();
            file.take(CHUNK as u64)
                .read_to_end(&mut buffer)
                .map_err(failed("copy to", &self.data))?;
            if buffer.is_empty() {
                return Ok(());
            }
            self.append(&buffer)?;
        }
    }

    /// Begins again.
    pub(super) fn truncate(&mut self) -> Result<(), ContentError> {
        self.file
            .set_len(0)
            .map_err(failed("truncate", &self.data))?;
        self.digester = self.algorithm.digester();
        self.offset = 0;
        self.resumed = 0;
        self.written_behind = 0;
        Ok(())
    }

    /// Returns how many bytes have been written.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the digest of what has been written.
    pub(super) fn digest(&self) -> Digest {
        self.digester.clone().finish()
    }

    pub(super) fn status(&self) -> Result<IngestStatus, ContentError> {
        let data = self.file.metadata().map_err(failed("stat", &self.data))?;
        Ok(Info::clone(&self.info).status(&data))
    }

    /// Verifies size and digest and gives the blob its name.
    ///
    /// The blob's bytes are on the disk afterwards; its name is once
    /// [`Content::sync`](super::Content::sync) has run or the journal has.
    pub(crate) fn commit(self) -> Result<(), ContentError> {
        self.check_size(self.offset)?;
        let found = self.digest();
        if let Some(expected) = self.info.expected.clone()
            && expected != found
        {
            self.discard()?;
            return Err(ContentError::Digest { expected, found });
        }
        self.publish(&found)
    }

    /// Returns the digest of what has been written in a form that another one has.
    pub(super) fn digest_as(&self, other: &Digest) -> Result<Digest, ContentError> {
        if self.algorithm == other.algorithm() {
            return Ok(self.digest());
        }
        let mut digester = other.algorithm().digester();
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0;
        loop {
            let read = self.file.read_at(&mut buffer, offset);
            let count = read.map_err(failed("read", &self.data))?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(digester.finish());
            };
            digester.update(bytes);
            offset += count as u64;
        }
    }

    /// Gives the blob its name, which must be its digest.
    pub(super) fn publish(self, digest: &Digest) -> Result<(), ContentError> {
        let blob = self.content.path(digest);
        publish::file(&self.file, &self.data, &blob).map_err(failed("publish", &blob))?;
        self.discard()
    }

    /// Throws the bytes away.
    pub(crate) fn discard(self) -> Result<(), ContentError> {
        fs::remove_dir_all(&self.directory).map_err(failed("remove", &self.directory))
    }

    /// Starts to write what was written since the last time, without waiting. The
    /// bytes are not read again, so the page cache need not keep them.
    fn write_behind(&mut self) -> Result<(), ContentError> {
        let length = std::num::NonZeroU64::new(self.offset - self.written_behind);
        fadvise(&self.file, self.written_behind, length, Advice::DontNeed)
            .map_err(|errno| failed("write behind", &self.data)(errno.into()))?;
        self.written_behind = self.offset;
        Ok(())
    }

    fn check_size(&self, found: u64) -> Result<(), ContentError> {
        match &self.info.expected {
            Some(digest) if found != self.info.total => Err(ContentError::Size {
                digest: digest.clone(),
                expected: self.info.total,
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// Returns the name of the directory of an ingest.
fn id(namespace: &Namespace, reference: &str) -> String {
    let name = format!("{namespace}\0{reference}");
    Digest::sha256(name.as_bytes()).hex().to_owned()
}

/// Returns where an ingest of a namespace stands, and its lock.
pub(super) fn place(
    content: &Content,
    namespace: &Namespace,
    reference: &str,
) -> (PathBuf, LockName) {
    let id = id(namespace, reference);
    (content.ingests.join(&id), LockName::Ingest(id))
}

/// Returns the status of an ingest, if there is one.
pub(super) fn status(
    content: &Content,
    namespace: &Namespace,
    reference: &str,
) -> Result<Option<IngestStatus>, ContentError> {
    let (directory, _) = place(content, namespace, reference);
    Ok(status::read(&directory)?.map(|(_, status)| status))
}

//! A download in progress: bytes so far, and what they must become.
//!
//! `content/ingests/<id>/` holds `data` and `info`. One process at a time has an
//! ingest (a lock by id); when it goes away, by whatever way, the bytes stay, and
//! the next one reads them again from the start, since a digest cannot be taken up
//! in the middle. An ingest gets its blob's name only with the expected size and
//! digest. Bytes that turn out to be wrong are thrown away.
//!
//! The disk is told to write behind the writer, piece by piece, so that the sync
//! before the publication finds little left to do.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};

use super::{Content, ContentError, entries, failed};
use crate::oci::{Descriptor, Digest, Digester};
use crate::publish;
use crate::store::{FileLock, LockName};

/// Bytes after which the disk is told to write.
const WRITE_BEHIND: u64 = 8 << 20;

/// What is known of a download that was begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestStatus {
    /// The name under which the download is taken up again.
    pub reference: String,
    /// The digest that the bytes must have.
    pub expected: Digest,
    /// The size that they must have, in bytes.
    pub total: u64,
    /// How many bytes are there.
    #[serde(default)]
    pub offset: u64,
    /// When the download was begun.
    pub started: Timestamp,
}

/// The writer of one download.
#[derive(Debug)]
pub(crate) struct Ingest {
    directory: PathBuf,
    data: PathBuf,
    blob: PathBuf,
    expected: Digest,
    total: u64,
    file: File,
    /// Bytes that were there when the ingest was opened.
    resumed: u64,
    /// Bytes hashed so far, by replay or by writing.
    offset: u64,
    written_behind: u64,
    digester: Digester,
    _lock: FileLock,
}

impl Ingest {
    pub(super) async fn open(
        content: &Content,
        descriptor: &Descriptor,
    ) -> Result<Self, ContentError> {
        let expected = descriptor.digest.clone();
        let id = format!("{}-{}", expected.algorithm(), expected.hex());
        let lock = content
            .locks
            .wait_exclusive(&LockName::Ingest(id.clone()))
            .await?;
        let directory = content.ingests.join(id);
        let data = directory.join("data");
        // Not durable: a lost ingest costs a download.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed("create", &directory))?;
        let info = IngestStatus {
            reference: expected.to_string(),
            expected: expected.clone(),
            total: descriptor.size,
            offset: 0,
            started: Timestamp::now(),
        };
        write_info(&directory.join("info"), &info)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&data)
            .map_err(failed("open", &data))?;
        let mut resumed = file.metadata().map_err(failed("stat", &data))?.len();
        if resumed > info.total {
            file.set_len(0).map_err(failed("truncate", &data))?;
            resumed = 0;
        }
        Ok(Self {
            blob: content.path(&expected),
            digester: expected.algorithm().digester(),
            total: info.total,
            directory,
            data,
            expected,
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
    ///
    /// All of them must be replayed before the first [`Self::write`].
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

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        let end = self.offset + bytes.len() as u64;
        if end > self.total {
            return Err(self.wrong_size(end));
        }
        self.file
            .write_all_at(bytes, self.offset)
            .map_err(failed("write", &self.data))?;
        self.digester.update(bytes);
        self.offset = end;
        if self.offset - self.written_behind >= WRITE_BEHIND {
            self.write_behind()?;
        }
        Ok(())
    }

    /// Verifies size and digest and gives the blob its name.
    ///
    /// The blob's bytes are on the disk afterwards; its name is once
    /// [`Content::sync`](super::Content::sync) has run or the journal has.
    pub(crate) fn commit(self) -> Result<(), ContentError> {
        if self.offset != self.total {
            return Err(self.wrong_size(self.offset));
        }
        let found = self.digester.clone().finish();
        if found != self.expected {
            let expected = self.expected.clone();
            self.discard()?;
            return Err(ContentError::Digest { expected, found });
        }
        publish::file(&self.file, &self.data, &self.blob).map_err(failed("publish", &self.blob))?;
        fs::remove_dir_all(&self.directory).map_err(failed("remove", &self.directory))
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

    fn wrong_size(&self, found: u64) -> ContentError {
        ContentError::Size {
            digest: self.expected.clone(),
            expected: self.total,
            found,
        }
    }
}

fn write_info(path: &Path, info: &IngestStatus) -> Result<(), ContentError> {
    if path.exists() {
        return Ok(());
    }
    // Not synced: it only informs, and is written anew when it is missing.
    let json = serde_json::to_vec(info).map_err(|error| failed("encode", path)(error.into()))?;
    fs::write(path, json).map_err(failed("write", path))
}

pub(super) fn list(ingests: &Path) -> Result<Vec<IngestStatus>, ContentError> {
    let mut found = Vec::new();
    for id in entries(ingests)? {
        let directory = ingests.join(id);
        let (info, data) = (directory.join("info"), directory.join("data"));
        let read = || -> io::Result<IngestStatus> {
            let mut status: IngestStatus = serde_json::from_slice(&fs::read(&info)?)?;
            status.offset = fs::metadata(&data)?.len();
            Ok(status)
        };
        match read() {
            Ok(status) => found.push(status),
            // Finished, or begun, between the listing and now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &info)(error)),
        }
    }
    Ok(found)
}

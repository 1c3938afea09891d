//! The content store: compressed blobs by digest, and those that are on their way.
//!
//! A file under `content/blobs` was complete, had its digest and was on the disk
//! before it got its name. What is being written stands in an [`Ingest`], which
//! survives the process and is taken up again.
//!
//! The files ([`Content`]) are shared by all namespaces. Which blobs a namespace *has* is
//! a matter of its records ([`Blobs`]), by containerd's rules: who asks to write a blob that
//! the store has already need not send it, unless the store's [`policy`] is another. A blob
//! in no record is garbage, yet whoever may have it may use it.

mod blobs;
pub(crate) mod distribution;
mod error;
mod ingest;
mod policy;
mod record;
mod staged;
mod writer;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::oci::{Descriptor, Digest};
use crate::publish::{self, Staging};
use crate::store::{self, Locks};

use ingest::Request;

pub use blobs::Blobs;
pub use error::ContentError;
pub(crate) use ingest::Ingest;
pub use ingest::IngestStatus;
pub use policy::{SharingPolicy, UnknownPolicy};
pub(crate) use record::record;
pub(crate) use staged::{SealedBlob, StagedBlob};
pub use writer::Writer;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// The blobs of a store.
#[derive(Debug, Clone)]
pub struct Content {
    blobs: PathBuf,
    ingests: PathBuf,
    tmp: PathBuf,
    locks: Locks,
}

impl Content {
    pub(crate) fn new(root: &Path, locks: Locks) -> Self {
        let content = root.join("content");
        Self {
            blobs: content.join("blobs"),
            ingests: content.join("ingests"),
            tmp: root.join("tmp"),
            locks,
        }
    }

    /// Returns the size of a blob that is there, in bytes.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, ContentError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("stat", &path)(error)),
        }
    }

    /// Opens a blob for reading; its bytes are not verified here.
    pub fn open(&self, digest: &Digest) -> Result<File, ContentError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ContentError::NotFound(digest.clone()),
            _ => failed("open", &path)(error),
        })
    }

    /// Returns the bytes of a small blob, after their digest was verified.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let file = self.open(digest)?;
        let path = self.path(digest);
        let size = file.metadata().map_err(failed("stat", &path))?.len();
        if size > limit {
            return Err(ContentError::TooLarge {
                digest: digest.clone(),
                size,
                limit,
            });
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &path))?;
        verify(digest, &bytes)?;
        Ok(bytes)
    }

    /// Reads a blob of any size to verify its digest.
    pub(crate) fn verify(&self, digest: &Digest) -> Result<(), ContentError> {
        let mut file = self.open(digest)?;
        let path = self.path(digest);
        let mut digester = digest.algorithm().digester();
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).map_err(failed("read", &path))?;
            let bytes = piece.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            digester.update(bytes);
        }
        let found = digester.finish();
        if found == *digest {
            return Ok(());
        }
        Err(ContentError::Digest {
            expected: digest.clone(),
            found,
        })
    }

    /// Stores the bytes of a small blob, after their size and digest were verified.
    pub fn write(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), ContentError> {
        check(descriptor, bytes)?;
        let path = self.path(&descriptor.digest);
        let write = || {
            // In `tmp/`, where what a killed process leaves is found.
            let staging = Staging::directory(&self.tmp)?;
            let from = staging.path().join("data");
            let mut file = File::create_new(&from)?;
            file.write_all(bytes)?;
            publish::file(&file, &from, &path)?;
            publish::sync_directory(path.parent().unwrap_or(&path))
        };
        write().map_err(failed("write", &path))
    }

    /// Makes the names of all blobs published so far survive a crash.
    pub(crate) fn sync(&self) -> Result<(), ContentError> {
        for algorithm in entries(&self.blobs)? {
            let path = self.blobs.join(algorithm);
            publish::sync_directory(&path).map_err(failed("sync", &path))?;
        }
        Ok(())
    }

    /// Takes up the download of a blob, or begins it; waits while another process
    /// is at it.
    pub(crate) async fn ingest(&self, descriptor: &Descriptor) -> Result<Ingest, ContentError> {
        let request = Request::pull(descriptor);
        let lock = self.locks.wait_exclusive(&request.lock_name()).await?;
        let mut ingest = Ingest::open(self, &request, Arc::new(lock))?;
        if ingest.resumed() > descriptor.size {
            ingest.truncate()?;
        }
        Ok(ingest)
    }

    /// Lists the digests of all blobs on the disk, whether recorded or not.
    #[cfg(test)]
    pub(crate) fn digests(&self) -> Result<Vec<Digest>, ContentError> {
        self.names()?.digests()
    }

    /// Lists the names of all blobs on the disk.
    pub(crate) fn names(&self) -> Result<Names, ContentError> {
        let mut names = Vec::new();
        for algorithm in entries(&self.blobs)? {
            let path = self.blobs.join(&algorithm);
            let found = store::names(&path).map_err(failed("list", &path))?;
            names.push((path, algorithm, found));
        }
        Ok(Names(names))
    }

    /// Lists the directories of downloads, with the references that they tell.
    pub(crate) fn ingest_directories(&self) -> Result<Vec<(String, Option<String>)>, ContentError> {
        ingest::directories(&self.ingests)
    }

    /// Returns the directory of a download.
    pub(crate) fn ingest_path(&self, directory: &str) -> PathBuf {
        self.ingests.join(directory)
    }

    /// Removes a blob; returns its size, or zero when it was not there.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<u64, ContentError> {
        let Some(size) = self.size(digest)? else {
            return Ok(0);
        };
        let path = self.path(digest);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        Ok(size)
    }

    /// Returns the file that a blob is in or will be in.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs
            .join(digest.algorithm().name())
            .join(digest.hex())
    }
}

/// The names of blobs, by directory and algorithm.
#[derive(Debug)]
pub(crate) struct Names(Vec<(PathBuf, String, Vec<String>)>);

impl Names {
    /// Returns the digests that they are, sorted.
    pub(crate) fn digests(self) -> Result<Vec<Digest>, ContentError> {
        let mut digests = Vec::new();
        for (path, algorithm, mut names) in self.0 {
            names.sort_unstable();
            for hex in names.iter().filter(|name| !name.starts_with('.')) {
                let parsed = Digest::from_parts(&algorithm, hex);
                digests.push(parsed.map_err(|source| {
                    let path = path.clone();
                    ContentError::Name { path, source }
                })?);
            }
        }
        Ok(digests)
    }
}

pub(crate) fn failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> ContentError + 'a {
    move |source| ContentError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Makes sure that bytes are those that a descriptor stands for.
pub(crate) fn check(descriptor: &Descriptor, bytes: &[u8]) -> Result<(), ContentError> {
    let found = bytes.len() as u64;
    if found != descriptor.size {
        return Err(ContentError::Size {
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            found,
        });
    }
    verify(&descriptor.digest, bytes)
}

fn verify(expected: &Digest, bytes: &[u8]) -> Result<(), ContentError> {
    let found = expected.algorithm().digest(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(ContentError::Digest {
        expected: expected.clone(),
        found,
    })
}

fn entries(path: &Path) -> Result<Vec<String>, ContentError> {
    store::entries(path).map_err(failed("list", path))
}

#[cfg(test)]
mod tests;

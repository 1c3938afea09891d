//! A blob that is made here, whose digest nobody knows before its last byte.
//!
//! It stands in `tmp/` until it is whole; what a crash leaves of it is worth nothing, and
//! is removed by the next sweep.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{Advice, fadvise};

use super::{Content, ContentError, failed};
use crate::oci::{Algorithm, Digest, Digester};
use crate::publish::{self, Staging};

/// Bytes after which the disk is told to write.
const WRITE_BEHIND: u64 = 8 << 20;

/// The writer of one new blob.
#[derive(Debug)]
pub(crate) struct StagedBlob {
    content: Content,
    staging: Staging,
    path: PathBuf,
    file: File,
    digester: Digester,
    written: u64,
    written_behind: u64,
}

impl Content {
    /// Begins a blob.
    pub(crate) fn stage(&self) -> Result<StagedBlob, ContentError> {
        let staging = Staging::directory(&self.tmp).map_err(failed("create", &self.tmp))?;
        let path = staging.path().join("data");
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        Ok(StagedBlob {
            content: self.clone(),
            staging,
            path,
            file,
            digester: Algorithm::Sha256.digester(),
            written: 0,
            written_behind: 0,
        })
    }
}

/// A blob that is whole and has no name yet.
#[derive(Debug)]
pub(crate) struct SealedBlob {
    staged: StagedBlob,
    digest: Digest,
}

impl StagedBlob {
    /// Ends the blob, which then has a digest.
    pub(crate) fn seal(self) -> SealedBlob {
        SealedBlob {
            digest: self.digester.clone().finish(),
            staged: self,
        }
    }
}

impl SealedBlob {
    /// Returns the digest.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.staged.written
    }

    /// Gives the blob its name.
    ///
    /// Its bytes are on the disk afterwards; its name is once [`Content::sync`] has run.
    pub(crate) fn publish(self) -> Result<(), ContentError> {
        let StagedBlob {
            content,
            staging,
            path,
            file,
            ..
        } = self.staged;
        let blob = content.path(&self.digest);
        publish::file(&file, &path, &blob).map_err(failed("publish", &blob))?;
        drop(staging);
        Ok(())
    }
}

impl Write for StagedBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digester.update(bytes.get(..count).unwrap_or_default());
        self.written += count as u64;
        let behind = self.written - self.written_behind;
        if behind >= WRITE_BEHIND {
            let length = std::num::NonZeroU64::new(behind);
            fadvise(&self.file, self.written_behind, length, Advice::DontNeed)?;
            self.written_behind = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

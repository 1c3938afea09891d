//! Tar archives of a few large files, whose headers say nothing but names and sizes.

use std::fs::File;
use std::io::{Read as _, Write};

use tar::Header;

use super::ExportError;
use crate::oci::{Digest, Digester};

const BLOCK: usize = 512;
/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// An archive that is being written.
pub(super) struct Archive<'a> {
    output: &'a mut dyn Write,
}

impl<'a> Archive<'a> {
    pub(super) fn new(output: &'a mut dyn Write) -> Self {
        Self { output }
    }

    /// Writes a directory.
    pub(super) fn directory(&mut self, path: &str) -> Result<(), ExportError> {
        self.header(path, 0, tar::EntryType::Directory)
    }

    /// Writes a small file.
    pub(super) fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        self.header(path, bytes.len() as u64, tar::EntryType::Regular)?;
        self.output.write_all(bytes).map_err(ExportError::Output)?;
        self.pad(bytes.len() as u64)
    }

    /// Writes a file that must have a digest.
    pub(super) fn file(
        &mut self,
        path: &str,
        file: &File,
        digest: &Digest,
        size: u64,
    ) -> Result<(), ExportError> {
        self.header(path, size, tar::EntryType::Regular)?;
        copy_verified(file, digest, size, self.output)?;
        self.pad(size)
    }

    /// Writes the end marker.
    pub(super) fn finish(self) -> Result<(), ExportError> {
        self.output
            .write_all(&[0; 2 * BLOCK])
            .and_then(|()| self.output.flush())
            .map_err(ExportError::Output)
    }

    fn header(
        &mut self,
        path: &str,
        size: u64,
        entry_type: tar::EntryType,
    ) -> Result<(), ExportError> {
        let is_directory = entry_type == tar::EntryType::Directory;
        let mut header = Header::new_gnu();
        header.set_entry_type(entry_type);
        header.set_path(path).map_err(ExportError::Output)?;
        header.set_mode(if is_directory { 0o755 } else { 0o644 });
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.output
            .write_all(header.as_bytes())
            .map_err(ExportError::Output)
    }

    fn pad(&mut self, size: u64) -> Result<(), ExportError> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        let rest = [0; BLOCK];
        let rest = rest.get(over..).filter(|_| over > 0).unwrap_or_default();
        self.output.write_all(rest).map_err(ExportError::Output)
    }
}

/// Copies a file whose size and digest are known.
pub(super) fn copy_verified(
    file: &File,
    digest: &Digest,
    size: u64,
    output: &mut dyn Write,
) -> Result<(), ExportError> {
    let read = |source| ExportError::Read {
        digest: digest.clone(),
        source,
    };
    let mut digester: Digester = digest.algorithm().digester();
    let mut piece = vec![0; PIECE];
    let mut rest = size;
    while rest > 0 {
        let wanted = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        let mut from: &File = file;
        from.read_exact(piece).map_err(read)?;
        digester.update(piece);
        output.write_all(piece).map_err(ExportError::Output)?;
        rest -= wanted as u64;
    }
    let found = digester.finish();
    if found != *digest {
        return Err(ExportError::Damaged {
            expected: digest.clone(),
            found,
        });
    }
    Ok(())
}

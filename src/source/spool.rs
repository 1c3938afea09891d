//! Archives that cannot be read in place: pipes, and what is compressed as a whole.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::error::SourceError;
use super::section::compression_of;
use crate::{decompress, publish};

/// Bytes that are copied at once.
const PIECE: usize = 256 << 10;
/// The bytes that tell how an archive is compressed.
const MAGIC: usize = 4;

/// Returns a file in which the archive lies as a plain tar, from its first byte: the file
/// itself, or a copy that has no name and is gone when it is closed.
pub(super) fn plain(path: &Path, mut file: File, tmp: &Path) -> Result<File, SourceError> {
    let failed = |operation| {
        move |source| SourceError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let is_file = file.metadata().map_err(failed("stat"))?.is_file();
    let mut magic = Vec::with_capacity(MAGIC);
    if is_file {
        magic.resize(MAGIC, 0);
        let count = file.read_at(&mut magic, 0).map_err(failed("read"))?;
        magic.truncate(count);
    } else {
        let head = (&mut file).take(MAGIC as u64).read_to_end(&mut magic);
        head.map_err(failed("read"))?;
    }
    match compression_of(&magic) {
        None if is_file => return Ok(file),
        None | Some("gzip" | "zstd") => {}
        Some(compression) => {
            return Err(SourceError::Compressed {
                path: path.to_owned(),
                compression,
            });
        }
    }
    if is_file {
        file.rewind().map_err(failed("read"))?;
        magic.clear();
    }
    let input = BufReader::with_capacity(PIECE, io::Cursor::new(magic).chain(file));
    let mut reader = decompress::reader(input).map_err(failed("read"))?;
    let mut copy = unnamed(tmp).map_err(failed("make a copy of"))?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = reader.read(&mut piece).map_err(failed("decompress"))?;
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(copy);
        };
        copy.write_all(bytes).map_err(failed("make a copy of"))?;
    }
}

/// Returns a new file that has no name.
fn unnamed(tmp: &Path) -> io::Result<File> {
    let path = tmp.join(publish::unique_name());
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

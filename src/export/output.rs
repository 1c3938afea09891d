//! The file that an archive is written to: there as a whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Destination, ExportError};
use crate::publish::unique_name;

/// A file under another name, removed on drop unless it got its own.
struct Draft {
    path: PathBuf,
    is_named: bool,
}

/// Writes a file, or to stdout.
pub(super) fn write(
    destination: &Destination,
    work: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let path = match destination {
        Destination::Open(file) => return work(&mut &**file),
        Destination::Stdout => return work(&mut io::stdout().lock()),
        Destination::Path(path) => path,
    };
    let failed = |operation| {
        move |source| ExportError::Io {
            operation,
            path: path.clone(),
            source,
        }
    };
    // Only a file can be replaced; a pipe or a device is written to.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = File::options()
            .write(true)
            .open(path)
            .map_err(failed("open"))?;
        return work(&mut file).map_err(|error| named(error, path));
    }
    let name = format!(".{}", unique_name());
    let mut draft = Draft {
        path: path.parent().unwrap_or(Path::new("")).join(name),
        is_named: false,
    };
    let mut file = File::create_new(&draft.path).map_err(failed("create"))?;
    work(&mut file).map_err(|error| named(error, path))?;
    fs::rename(&draft.path, path).map_err(failed("rename to"))?;
    draft.is_named = true;
    Ok(())
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_named {
            // Nobody takes it for the archive.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Says which file could not be written.
pub(super) fn named(error: ExportError, path: &Path) -> ExportError {
    match error {
        ExportError::Output(source) => ExportError::Io {
            operation: "write",
            path: path.to_owned(),
            source,
        },
        other => other,
    }
}

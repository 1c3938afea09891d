//! All images of a layout or an archive, of whichever kind it is.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::Source;
use super::docker_archive::{self, DockerArchive};
use super::error::SourceError;
use super::files::Files;
use super::layout::{self, Layout};
use super::spool;
use crate::oci::Reference;

/// An image that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it can be pulled from.
    pub source: Source,
    /// Its names, of which there is at least one.
    pub names: Vec<Reference>,
}

impl Source {
    /// Finds the images in a directory or an archive, which may be compressed. What has to be
    /// written down first goes into a file without a name in `tmp`. Blocks.
    pub fn all_in(path: &Path, tmp: &Path) -> Result<Vec<Found>, SourceError> {
        if path.is_dir() {
            return found(Files::directory(path)?);
        }
        let file = File::open(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => SourceError::Missing(path.to_owned()),
            _ => SourceError::Io {
                operation: "open",
                path: path.to_owned(),
                source,
            },
        })?;
        Self::all_of(path, file, tmp)
    }

    /// Finds the images in an archive that comes from an open file, or a pipe.
    pub fn all_of(path: &Path, file: File, tmp: &Path) -> Result<Vec<Found>, SourceError> {
        found(Files::of_archive(path, spool::plain(path, file, tmp)?)?)
    }
}

fn found(files: Files) -> Result<Vec<Found>, SourceError> {
    let files = Arc::new(files);
    let all: Vec<Found> = if files.has(layout::MARKER)? {
        let images = Layout::all(&files)?.into_iter();
        let found = |(layout, names)| Found {
            source: Source::Layout(Arc::new(layout)),
            names,
        };
        images.map(found).collect()
    } else if files.has(docker_archive::LIST)? {
        let images = DockerArchive::all(&files)?.into_iter();
        let found = |(archive, names)| Found {
            source: Source::DockerArchive(Arc::new(archive)),
            names,
        };
        images.map(found).collect()
    } else {
        return Err(SourceError::Unknown(files.path().to_owned()));
    };
    if all.is_empty() {
        return Err(SourceError::NoImage(files.path().to_owned()));
    }
    Ok(all)
}

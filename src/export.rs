//! Copies of images in files: OCI layouts, as a directory or as an archive, and archives as
//! `docker save` writes them.
//!
//! Blobs are copied as they are, and verified on the way; nothing is compressed again. The
//! same images make the same bytes. A directory is a layout at every moment: its index is
//! replaced when all that it names is there.

mod archive;
mod docker;
mod layout;
mod output;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::content::ContentError;
use crate::images::{ImageError, Platforms, Selection};
use crate::layers::LayerError;
use crate::leases::{LeaseError, Leases, Resource};
use crate::meta::{ImageRecord, Namespace};
use crate::oci::{Descriptor, Digest};
use crate::store::Store;

/// Why images could not be written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A system call on what is written failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// What is written cannot be written.
    #[error("write the copy")]
    Output(#[source] io::Error),
    /// A blob could not be read.
    #[error("read {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// The failure.
        source: io::Error,
    },
    /// A layer is in the store only as it was unpacked.
    #[error("the compressed form of layer {0} is not in the store")]
    Missing(Digest),
    /// A blob has been damaged since it was stored.
    #[error("{expected} is damaged: its digest is {found}")]
    Damaged {
        /// The blob.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// There is something else in the directory.
    #[error("{} is not empty and no OCI layout", .0.display())]
    Foreign(PathBuf),
    /// The index of a layout cannot be used.
    #[error("{} is not valid", path.display())]
    Json {
        /// The index.
        path: PathBuf,
        /// Where the reader stopped.
        source: serde_json::Error,
    },
    /// A document could not be made.
    #[error("make {0}")]
    Document(&'static str, #[source] serde_json::Error),
    /// A layer could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A blob could not be found.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The images could not be leased.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What images are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A directory in the form of an OCI layout.
    OciDirectory,
    /// A tar archive of an OCI layout.
    OciArchive,
    /// A tar archive as `docker save` writes it.
    DockerArchive,
}

/// Where images are written to.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A file, or a directory.
    Path(PathBuf),
    /// A pipe or a file that is open.
    Open(Arc<File>),
    /// Standard output.
    Stdout,
}

/// What an export is asked to do.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// What is written.
    pub format: ExportFormat,
    /// Which platforms of the images.
    pub platforms: Platforms,
    /// The key space of the records.
    pub namespace: Namespace,
}

/// Writes images.
pub fn export(
    store: &Store,
    images: &[ImageRecord],
    destination: &Destination,
    options: &ExportOptions,
) -> Result<(), ExportError> {
    let leases = Leases::new(store, options.namespace.clone());
    let names = images.iter().map(|image| Resource::image(&image.name));
    let lease = leases.hold("export", names.collect())?;
    write(store, images, destination, options)?;
    Ok(lease.end()?)
}

/// Returns the blobs of an image that its copy in an OCI layout needs and that the store has
/// only as they were unpacked.
pub fn missing(
    store: &Store,
    image: &ImageRecord,
    platforms: &Platforms,
) -> Result<Vec<Descriptor>, ExportError> {
    let (content, layers) = (store.content(), store.layers());
    let selection = Selection::of(&content, &layers, image, platforms)?;
    Ok(selection.missing(&content)?)
}

fn write(
    store: &Store,
    images: &[ImageRecord],
    destination: &Destination,
    options: &ExportOptions,
) -> Result<(), ExportError> {
    match (options.format, destination) {
        (ExportFormat::OciDirectory, Destination::Path(path)) => {
            let copies = layout::select(store, images, &options.platforms)?;
            layout::write_directory(store, &copies, path)
        }
        (ExportFormat::OciDirectory, Destination::Stdout | Destination::Open(_)) => {
            Err(ExportError::Output(io::ErrorKind::IsADirectory.into()))
        }
        (ExportFormat::OciArchive, destination) => {
            let copies = layout::select(store, images, &options.platforms)?;
            output::write(destination, |output| {
                layout::write_archive(store, &copies, output)
            })
        }
        (ExportFormat::DockerArchive, destination) => {
            let saved = docker::select(store, images, options)?;
            output::write(destination, |output| docker::write(store, &saved, output))
        }
    }
}

impl ExportError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => {
                Some("pull the image again, or export with --format docker-archive")
            }
            Self::Damaged { .. } => Some("pull the image again"),
            Self::Layer(LayerError::Unusable(_)) => Some("`mica image unpack` unpacks the image"),
            Self::Foreign(_) => Some("name an empty directory, or an OCI layout"),
            Self::Image(error) => error.hint(),
            _ => None,
        }
    }
}

//! Where an image comes from: a registry, an OCI layout, or an archive.
//!
//! All sources look alike: [`resolve`](Source::resolve) returns the descriptor of an index or
//! manifest, and [`fetch`](Source::fetch) the bytes of anything that this leads to. Sources check
//! sizes but not digests, which whoever stores the bytes computes anyway. Names inside a layout
//! or an archive are hostile and never lead out of it.

mod address;
mod archive;
mod blob;
mod contents;
mod docker_archive;
mod error;
mod files;
mod layout;
mod name;
mod section;
mod spool;

use std::path::Path;
use std::sync::Arc;

pub use blob::Blob;
pub use contents::Found;
pub use error::SourceError;

use self::address::Address;
use self::docker_archive::DockerArchive;
use self::files::Files;
use self::layout::Layout;
use self::section::Section;
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry;

/// A place that one image can be pulled from. Its clones share connections and open files.
#[derive(Clone, Debug)]
pub enum Source {
    /// A repository in a registry.
    Registry(registry::Client),
    /// An OCI layout, in a directory or a tar archive.
    Layout(Arc<Layout>),
    /// What `docker save` writes.
    DockerArchive(Arc<DockerArchive>),
}

impl Source {
    /// Opens the source that a text names: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
    /// `docker-archive:FILE[:TAG]`, or else a reference to an image in a registry.
    ///
    /// A registry is not asked anything yet. Of a layout or an archive the tables of contents
    /// are read, which blocks for a moment.
    pub fn parse(text: &str, options: &registry::Options) -> Result<Self, SourceError> {
        match Address::parse(text, Path::exists)? {
            Address::Registry(reference) => {
                Ok(Self::Registry(registry::Client::new(reference, options)?))
            }
            Address::Oci { path, tag } => {
                let files = Files::directory(&path)?;
                Ok(Self::Layout(Arc::new(Layout::open(files, tag.as_deref())?)))
            }
            Address::OciArchive { path, tag } => {
                let files = Files::archive(&path)?;
                Ok(Self::Layout(Arc::new(Layout::open(files, tag.as_deref())?)))
            }
            Address::DockerArchive { path, tag } => {
                let files = Files::archive(&path)?;
                Ok(Self::DockerArchive(Arc::new(DockerArchive::open(
                    files,
                    tag.as_deref(),
                )?)))
            }
        }
    }

    /// Returns the name under which the image is to be recorded: the reference of an image in a
    /// registry, the name that a layout or archive gives it, or one made of the file's name.
    pub fn name(&self) -> &Reference {
        match self {
            Self::Registry(client) => client.reference(),
            Self::Layout(layout) => layout.name(),
            Self::DockerArchive(archive) => archive.name(),
        }
    }

    /// Returns how the source is named, for the time when it is needed again: a registry's begins
    /// with `http://` or `insecure://` where it is spoken to like that. A path that is no text
    /// cannot be named.
    pub fn address(&self) -> Option<String> {
        let (kind, path, tag) = match self {
            Self::Registry(client) => return Some(client.address()),
            Self::Layout(layout) => layout.place(),
            Self::DockerArchive(archive) => archive.place(),
        };
        let path = path
            .canonicalize()
            .ok()?
            .into_os_string()
            .into_string()
            .ok()?;
        Some(match tag {
            Some(tag) => format!("{kind}:{path}:{tag}"),
            None => format!("{kind}:{path}"),
        })
    }

    /// Returns the descriptor of the index or manifest that the source names now.
    pub async fn resolve(&self) -> Result<Descriptor, SourceError> {
        match self {
            Self::Registry(client) => Ok(client.resolve().await?),
            Self::Layout(layout) => Ok(layout.target().clone()),
            Self::DockerArchive(archive) => {
                let archive = Arc::clone(archive);
                section::blocking(move || archive.resolve()).await
            }
        }
    }

    /// Says that a blob that was fetched is not what its digest stands for. Returns whether it
    /// may be had from somewhere else.
    pub fn distrust(&self, digest: &Digest) -> bool {
        match self {
            Self::Registry(client) => client.distrust(digest),
            Self::Layout(_) | Self::DockerArchive(_) => false,
        }
    }

    /// Opens what `descriptor` describes at byte `offset`.
    ///
    /// A blob that the descriptor itself holds is taken from there.
    pub async fn fetch(&self, descriptor: &Descriptor, offset: u64) -> Result<Blob, SourceError> {
        if let Some(bytes) = descriptor.inline() {
            return Blob::local(Section::of_bytes(bytes), descriptor, offset);
        }
        let section = match self {
            Self::Registry(client) => {
                return Ok(Blob::remote(client.fetch(descriptor, offset).await?));
            }
            Self::Layout(layout) => layout.blob(&descriptor.digest)?,
            Self::DockerArchive(archive) => {
                let (archive, digest) = (Arc::clone(archive), descriptor.digest.clone());
                section::blocking(move || archive.blob(&digest)).await?
            }
        };
        Blob::local(section, descriptor, offset)
    }
}

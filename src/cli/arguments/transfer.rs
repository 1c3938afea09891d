//! The arguments of commands that make images and move them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::registry::RegistryArguments;
use crate::commit::ConfigChange;
use crate::images::Platforms;
use crate::oci::{Platform, Reference};

#[derive(Debug, Args)]
pub(in crate::cli) struct ImageCommitArguments {
    /// Key or name of the snapshot
    pub(in crate::cli) key: String,
    /// Name of the new image
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) name: Reference,
    /// The image to build on, where the snapshot stands on several [default: the one it was
    /// made from]
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli) base: Option<String>,
    /// Who has made the image
    #[arg(short, long)]
    pub(in crate::cli) author: Option<String>,
    /// A remark for the image's history
    #[arg(short, long)]
    pub(in crate::cli) message: Option<String>,
    /// How to run the image, as CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or
    /// WORKDIR of a Dockerfile
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(in crate::cli) changes: Vec<ConfigChange>,
    /// Compress the new layer with zstd instead of gzip
    #[arg(long)]
    pub(in crate::cli) zstd: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    /// Names or digest prefixes of the images
    #[arg(required = true, value_name = "IMAGE")]
    pub(in crate::cli) images: Vec<String>,
    /// File or directory to write, or `-` for stdout
    #[arg(short, long, value_name = "FILE|DIR")]
    pub(in crate::cli) output: PathBuf,
    /// What to write [default: an OCI archive, or an OCI layout where the output is a directory]
    #[arg(long, value_enum)]
    pub(in crate::cli) format: Option<FormatArgument>,
    #[command(flatten)]
    pub(in crate::cli) platforms: PlatformArguments,
}

/// What an export writes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum FormatArgument {
    /// A directory in the form of an OCI layout
    OciDir,
    /// A tar archive of an OCI layout
    OciArchive,
    /// A tar archive as `docker save` writes it
    DockerArchive,
}

/// Which platforms of an image are copied.
#[derive(Debug, Args)]
pub(in crate::cli) struct PlatformArguments {
    /// Copy one platform only, as os/architecture[/variant] [default: all that are in the store]
    #[arg(long, value_name = "PLATFORM", conflicts_with = "all_platforms")]
    platform: Option<Platform>,
    /// Copy the image for all its platforms, or fail
    #[arg(long)]
    all_platforms: bool,
}

impl PlatformArguments {
    pub(in crate::cli) fn platforms(&self) -> Platforms {
        match &self.platform {
            Some(platform) => Platforms::One(platform.clone()),
            None if self.all_platforms => Platforms::All,
            None => Platforms::Present,
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArguments {
    /// OCI layout, OCI archive or Docker archive, or `-` for an archive on stdin
    #[arg(value_name = "FILE|DIR")]
    pub(in crate::cli) input: PathBuf,
    /// Name of the image, instead of those that it was exported with
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli) name: Option<Reference>,
    /// Platform to import, as os/architecture[/variant] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Option<Platform>,
    /// Import the image for all its platforms
    #[arg(long, conflicts_with = "platform")]
    pub(in crate::cli) all_platforms: bool,
    /// Store the image without unpacking it
    #[arg(long)]
    pub(in crate::cli) no_unpack: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PushArguments {
    /// Name or digest prefix of the image
    pub(in crate::cli) image: String,
    /// What to push it as [default: its name]
    #[arg(value_name = "REFERENCE")]
    pub(in crate::cli) to: Option<Reference>,
    #[command(flatten)]
    pub(in crate::cli) platforms: PlatformArguments,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArguments,
    /// Send blobs in chunks of so many bytes [default: at once, if the registry takes that]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) chunk_size: Option<u64>,
    /// Show no progress
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
}

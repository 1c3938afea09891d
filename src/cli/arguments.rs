//! The grammar of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::mounts::AccessMode;
use crate::oci::{DiffId, Digest, Platform};
use crate::registry::Credentials;

/// Container images as ordinary directories, through FUSE.
#[derive(Debug, Parser)]
#[command(name = "mica", version, about, propagate_version = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: GlobalArguments,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct GlobalArguments {
    /// Directory of the store [default: `/var/lib/mica`, or `$XDG_DATA_HOME/mica`]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Print records as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Tell on stderr what is done
    #[arg(long, global = true)]
    pub(super) debug: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fetch an image and unpack it into the store
    Pull(PullArguments),
    /// Show an image or a snapshot as a directory
    Mount(MountArguments),
    /// Take a mount away
    Umount(UmountArguments),
    /// List mounts
    Mounts,
    /// List images
    Images,
    /// Inspect, tag and remove images
    #[command(subcommand)]
    Image(ImageCommand),
    /// List and inspect snapshots
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// List and verify layers
    #[command(subcommand)]
    Layer(LayerCommand),
    /// List and read blobs
    #[command(subcommand)]
    Content(ContentCommand),
}

#[derive(Debug, Args)]
pub(super) struct PullArguments {
    /// Image name, or oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG]
    #[arg(value_name = "IMAGE")]
    pub(super) source: String,
    /// Platform to pull for, as os/architecture[/variant] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<Platform>,
    /// User and password for the registry
    #[arg(short, long, value_name = "USER:PASSWORD")]
    pub(super) user: Option<Credentials>,
    /// Talk to the registry without TLS
    #[arg(long)]
    pub(super) plain_http: bool,
    /// Print the chain ID of the image's layers
    #[arg(long)]
    pub(super) print_chainid: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct MountArguments {
    /// Name or digest prefix of an image, or name of a snapshot
    #[arg(value_name = "IMAGE|SNAPSHOT")]
    pub(super) what: String,
    /// An empty directory to mount on
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Who checks permissions [default: enforce as root, owner otherwise]
    #[arg(long)]
    pub(super) access: Option<AccessArgument>,
    /// Serve in this process until the mount is taken away
    #[arg(long)]
    pub(super) foreground: bool,
}

/// Who checks permissions in a mount.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum AccessArgument {
    /// Nobody: the one user who reaches the mount may read everything
    Owner,
    /// The kernel, by owners and modes
    Enforce,
}

impl From<AccessArgument> for AccessMode {
    fn from(argument: AccessArgument) -> Self {
        match argument {
            AccessArgument::Owner => Self::Owner,
            AccessArgument::Enforce => Self::Enforce,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct UmountArguments {
    /// The mount point
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Take the mount away at once, also while it is used
    #[arg(short, long)]
    pub(super) lazy: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Show an image's record, manifest and config
    Inspect {
        /// Name or digest prefix of the image
        image: String,
    },
    /// Remove images, and what no other image needs
    Rm {
        /// Names or digest prefixes of the images
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Give an image a further name
    Tag {
        /// Name or digest prefix of the image
        image: String,
        /// The further name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// List snapshots
    Ls,
    /// Show a snapshot's record
    Info {
        /// Name of the snapshot
        name: String,
    },
    /// Show which snapshot stands on which
    Tree,
}

#[derive(Debug, Subcommand)]
pub(super) enum LayerCommand {
    /// List layers
    Ls,
    /// Compute digests anew; of all layers when none is named
    Verify {
        /// Diff IDs of the layers
        layers: Vec<DiffId>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ContentCommand {
    /// List blobs
    Ls,
    /// Show a blob's record
    Info {
        /// Digest of the blob
        digest: Digest,
    },
    /// Write a blob to stdout
    Get {
        /// Digest of the blob
        digest: Digest,
    },
}

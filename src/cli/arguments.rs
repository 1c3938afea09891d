//! The grammar of the command line.

mod browse;
mod check;
mod content;
mod gc;
mod image;
mod lease;
mod mount;
mod namespace;
mod overlay;
mod prune;
mod pull;
mod run;
mod select;
mod transfer;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};

use crate::meta::Namespace;
use crate::oci::DiffId;

pub(super) use browse::BrowseArguments;
pub(super) use check::CheckArguments;
pub(super) use content::ContentCommand;
pub(super) use gc::GcArguments;
pub(super) use image::{ImageCommand, ImagesArguments};
pub(super) use lease::{LeaseCommand, ResourceArguments};
pub(super) use mount::{MountArguments, MountsArguments, TransportArgument, UmountArguments};
pub(super) use namespace::NamespaceCommand;
pub(super) use overlay::OverlayArguments;
pub(super) use prune::PruneArguments;
pub(super) use pull::{PullArguments, UnpackArguments};
pub(super) use run::{BundleArguments, ProcessArguments, RunArguments};
pub(super) use select::FilterArguments;
pub(super) use transfer::{
    ExportArguments, FormatArgument, ImageCommitArguments, ImportArguments, PushArguments,
};

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
    /// Key space of images, snapshots, blobs and leases
    #[arg(short, long, global = true, value_name = "NAME", default_value_t)]
    pub(super) namespace: Namespace,
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
    /// Send an image to a registry
    Push(PushArguments),
    /// Write images to an OCI layout or an archive
    Export(ExportArguments),
    /// Take all images of an OCI layout or an archive into the store
    Import(ImportArguments),
    /// Show an image or a snapshot as a directory
    Mount(MountArguments),
    /// Show the whole store as a directory
    Browse(BrowseArguments),
    /// Take a mount away
    Umount(UmountArguments),
    /// List mounts
    Mounts(MountsArguments),
    /// Run a command in the root file system of an image
    Run(RunArguments),
    /// Write a bundle for a runtime of the OCI, and mount its root
    ///
    /// `crun run --bundle DIR NAME` runs it; `mica umount DIR/rootfs` takes the root away.
    Bundle(BundleArguments),
    /// Show directories as one, called as fuse-overlayfs is
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Overlay(OverlayArguments),
    /// List images
    Images(ImagesArguments),
    /// Inspect, make, tag and remove images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Make, commit, list and remove snapshots
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// List what differs between two images or snapshots
    Diff(DiffArguments),
    /// Show what each layer of an image adds, changes, removes and wastes
    Layers(LayersArguments),
    /// Look at layers and files of an image in the terminal
    Explore {
        /// Name or digest prefix of the image
        image: String,
    },
    /// List, verify and pack layers
    #[command(subcommand)]
    Layer(LayerCommand),
    /// List, read and write blobs
    #[command(subcommand)]
    Content(ContentCommand),
    /// Look at what mica needs of this machine, and say what to do
    Doctor(DoctorArguments),
    /// Look for damage in the whole store
    Check(CheckArguments),
    /// Keep things that no image needs
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Separate key spaces of images, snapshots, blobs and leases
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Remove what nothing needs
    Gc(GcArguments),
    /// Remove images and snapshots that nobody uses
    Prune(PruneArguments),
    /// Tell what changes in the store, as it happens
    Events(EventsArguments),
    /// Print the script that completes commands and options in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    Man {
        /// The directory that they go to
        directory: PathBuf,
    },
    /// Answer containerd's services on a Unix socket, for `ctr` and other clients
    Serve(ServeArguments),
}

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// The socket [default: `/run/mica/mica.sock`, or `$XDG_RUNTIME_DIR/mica/mica.sock`]
    #[arg(long, value_name = "FILE")]
    pub(super) socket: Option<PathBuf>,
    /// The socket of the containerd whose differ this is: blobs that are not in the store are
    /// read from there
    #[arg(long, value_name = "FILE")]
    pub(super) containerd: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct EventsArguments {
    /// Begin with the events since a time, or since so long ago: 2026-01-31T12:00:00Z, 10m
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(super) since: Option<Timestamp>,
    /// Print the events that there are, and end
    #[arg(long)]
    pub(super) no_follow: bool,
    #[command(flatten)]
    pub(super) filter: FilterArguments,
}

/// Reads a time, or a span that ends now.
fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: SignedDuration = text
        .parse()
        .map_err(|error| format!("neither a time nor a span: {error}"))?;
    Timestamp::now()
        .checked_sub(span)
        .map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// Name of an image or snapshot; alone, what it has changed in the one below is listed
    #[arg(value_name = "IMAGE|SNAPSHOT")]
    pub(super) before: String,
    /// What to compare it with: added is what only this one has
    #[arg(value_name = "IMAGE|SNAPSHOT")]
    pub(super) after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    /// Ask a registry too whether it answers
    #[arg(long, value_name = "HOST")]
    pub(super) registry: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct LayersArguments {
    /// Name or digest prefix of an image
    pub(super) image: String,
    /// Print commands to their ends
    #[arg(long)]
    pub(super) full: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// List snapshots
    Ls(FilterArguments),
    /// Show a snapshot's record
    Info {
        /// Name of the snapshot
        name: String,
    },
    /// Draw which snapshot stands on which
    Tree,
    /// Make a writable (active) snapshot
    Prepare(NewSnapshotArguments),
    /// Make a read-only snapshot that keeps what it stands on
    View(NewSnapshotArguments),
    /// Make an active snapshot immutable, so that others can stand on it
    Commit {
        /// Name of the committed snapshot
        name: String,
        /// Key of the active snapshot, which is gone afterwards
        key: String,
        /// Label of the committed snapshot
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
    },
    /// Write what a snapshot has changed as an OCI layer
    ///
    /// The layer is a tar archive. The same changes make the same bytes; with
    /// `SOURCE_DATE_EPOCH` in the environment no time in it is later than that.
    Diff {
        /// Key or name of the snapshot
        key: String,
        /// File to write, or `-` for stdout
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Compress with gzip
        #[arg(long, conflicts_with = "zstd")]
        gzip: bool,
        /// Compress with zstd
        #[arg(long)]
        zstd: bool,
    },
    /// Remove snapshots that no others stand on
    Rm {
        /// Keys or names of the snapshots
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Show what snapshots take on the disk, without their parents
    Usage {
        /// Key or name of the snapshot [default: all]
        key: Option<String>,
    },
    /// Set and remove labels of a snapshot
    Label {
        /// Key or name of the snapshot
        key: String,
        /// Labels; one without a value is removed
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
    },
    /// Show the layers and directories of an active snapshot or a view
    Mounts {
        /// Key of the snapshot
        key: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct NewSnapshotArguments {
    /// Key of the new snapshot
    pub(super) key: String,
    /// A committed snapshot, or else an image, to stand on [default: nothing]
    #[arg(value_name = "SNAPSHOT|IMAGE")]
    pub(super) parent: Option<String>,
    /// Label of the new snapshot
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(super) labels: Vec<(String, String)>,
}

/// Reads a label.
fn label(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE"),
    }
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
    /// Make one file of the directory of a committed snapshot, and print its diff ID
    ///
    /// The snapshot refers to the packed layer from then on. Its directory is removed once
    /// no mount shows it. Any other directory in the form of overlayfs can be packed too: it
    /// stays, and the layer becomes a committed snapshot that is named by its diff ID.
    Pack {
        /// Name of the snapshot, or a path that starts with `/` or `.`
        #[arg(value_name = "SNAPSHOT|DIR")]
        source: OsString,
    },
}

//! Making, listing and taking away mounts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::mounts::{AccessMode, TransportMode};

#[derive(Debug, Args)]
pub(in crate::cli) struct MountArguments {
    /// Name or digest prefix of an image, or else name of a snapshot
    ///
    /// A snapshot is shown read-only unless --rw is given, an active one too.
    #[arg(value_name = "IMAGE|SNAPSHOT")]
    pub(in crate::cli) what: String,
    /// An empty directory to mount on
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,
    /// Mount writable
    ///
    /// Changes go to an active snapshot: the one that is named, or a new one on the image or
    /// committed snapshot that is named. The snapshot stays when the mount is taken away.
    #[arg(long)]
    pub(in crate::cli) rw: bool,
    /// Name of the new active snapshot [default: the path of the mount point]
    #[arg(long, requires = "rw", value_name = "KEY")]
    pub(in crate::cli) key: Option<String>,
    /// Who checks permissions [default: enforce as root, owner otherwise]
    #[arg(long)]
    pub(in crate::cli) access: Option<AccessArgument>,
    /// How requests come from the kernel
    #[arg(long, default_value = "auto")]
    pub(in crate::cli) transport: TransportArgument,
    /// Serve in this process until the mount is taken away
    #[arg(long)]
    pub(in crate::cli) foreground: bool,
}

/// How requests come from the kernel.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum TransportArgument {
    /// As suits most on this machine
    Auto,
    /// FUSE over `io_uring`, where the kernel has it enabled; otherwise as poll
    Ring,
    /// From /dev/fuse, kept awake during runs of requests
    Poll,
    /// From /dev/fuse, asleep until a request comes
    Block,
}

impl From<TransportArgument> for TransportMode {
    fn from(argument: TransportArgument) -> Self {
        match argument {
            TransportArgument::Auto => Self::Auto,
            TransportArgument::Ring => Self::Ring,
            TransportArgument::Poll => Self::Poll,
            TransportArgument::Block => Self::Block,
        }
    }
}

/// Who checks permissions in a mount.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum AccessArgument {
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
pub(in crate::cli) struct UmountArguments {
    /// The mount point
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,
    /// Take the mount away at once, also while it is used
    #[arg(short, long)]
    pub(in crate::cli) lazy: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MountsArguments {
    /// Tell what the kernel has asked of each, and how long answers took
    #[arg(long)]
    pub(in crate::cli) stats: bool,
}

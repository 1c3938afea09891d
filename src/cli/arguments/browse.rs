//! The grammar of `mica browse`.

use std::path::PathBuf;

use clap::Args;

use super::TransportArgument;

#[derive(Debug, Args)]
pub(in crate::cli) struct BrowseArguments {
    /// An empty directory to mount on
    #[arg(value_name = "DIR")]
    pub(in crate::cli) directory: PathBuf,
    /// Let active snapshots be written to
    #[arg(long)]
    pub(in crate::cli) rw: bool,
    /// Pull images that are not there when somebody names them
    ///
    /// The name needs a registry, a path, a tag or a digest: `images/debian,12`.
    #[arg(long)]
    pub(in crate::cli) pull: bool,
    /// How requests come from the kernel
    #[arg(long, default_value = "auto")]
    pub(in crate::cli) transport: TransportArgument,
    /// Serve in this process until the mount is taken away
    #[arg(long)]
    pub(in crate::cli) foreground: bool,
}

//! Options of `mica pull` and `mica image unpack`.

use clap::Args;
use clap::builder::TypedValueParser;

use crate::cli::registry::RegistryArguments;
use crate::oci::Platform;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(in crate::cli) struct PullArguments {
    /// Image name, or oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG]
    #[arg(value_name = "IMAGE")]
    pub(in crate::cli) source: String,
    /// Platform to pull for, as os/architecture[/variant]; may be given again [default: this
    /// machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Vec<Platform>,
    /// Fetch the images for all platforms, and unpack the one for this machine
    #[arg(long, conflicts_with = "platform")]
    pub(in crate::cli) all_platforms: bool,
    /// Fetch only; `mica image unpack` or the first mount unpacks
    #[arg(long)]
    pub(in crate::cli) no_unpack: bool,
    /// Remove compressed layers after unpacking; they are fetched again when they are needed
    #[arg(long, conflicts_with = "no_unpack")]
    pub(in crate::cli) discard: bool,
    /// Convert an image of Docker's first schema
    #[arg(long)]
    pub(in crate::cli) schema1: bool,
    /// How many blobs to fetch at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = count())]
    pub(in crate::cli) max_concurrent_downloads: usize,
    /// How many layers to unpack at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = count())]
    pub(in crate::cli) max_concurrent_unpacks: usize,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArguments,
    /// Print the chain ID of the image's layers
    #[arg(long)]
    pub(in crate::cli) print_chainid: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UnpackArguments {
    /// Name or digest prefix of the image
    pub(in crate::cli) image: String,
    /// Platform to unpack [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(in crate::cli) platform: Option<Platform>,
    #[command(flatten)]
    pub(in crate::cli) registry: RegistryArguments,
}

/// Reads a number of things that are done at the same time.
fn count() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u16).range(1..=256).map(usize::from)
}

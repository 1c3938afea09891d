//! The grammar of `mica gc`.

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct GcArguments {
    /// Remove nothing; list what lives and why, and what would go
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Remove nothing; tell why an image, lease, snapshot, layer or blob lives
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub(in crate::cli) why: Option<String>,
}

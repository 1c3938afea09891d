//! The grammar of `mica prune`.

use clap::Args;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(in crate::cli) struct PruneArguments {
    /// Images alone, that no mount shows and no snapshot of yours stands on
    #[arg(long)]
    pub(in crate::cli) images: bool,
    /// Active snapshots alone, that no mount shows
    #[arg(long)]
    pub(in crate::cli) snapshots: bool,
    /// Views and committed snapshots of yours as well, on which nothing stands
    #[arg(short, long)]
    pub(in crate::cli) all: bool,
    /// Remove nothing; list what would go
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}

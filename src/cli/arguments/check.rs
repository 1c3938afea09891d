//! The grammar of `mica check`.

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArguments {
    /// Make again what is damaged or missing, and remove what nothing refers to
    #[arg(long, conflicts_with = "rebuild")]
    pub(in crate::cli) repair: bool,
    /// Make the records anew, where the database cannot be read any more
    #[arg(long)]
    pub(in crate::cli) rebuild: bool,
}

//! The grammar of `mica content`.

use clap::Subcommand;

use super::FilterArguments;
use crate::oci::Digest;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ContentCommand {
    /// List blobs
    Ls(FilterArguments),
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

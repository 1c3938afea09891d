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
    /// Set and remove labels of a blob
    Label {
        /// Digest of the blob
        digest: Digest,
        /// Labels; one without a value is removed
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = super::label)]
        labels: Vec<(String, String)>,
    },
    /// Forget blobs, which are removed when garbage is collected
    Rm {
        /// Digests of the blobs
        #[arg(required = true, value_name = "DIGEST")]
        digests: Vec<Digest>,
    },
    /// Make a blob of stdin, and print its digest
    ///
    /// What came before the input broke off is kept under the reference. Unless it is
    /// labelled or leased, the blob is garbage as long as nothing refers to it.
    Ingest {
        /// Reference under which the blob is written
        #[arg(value_name = "REF")]
        reference: String,
        /// Size that the blob must have, in bytes
        #[arg(
            long,
            value_name = "BYTES",
            default_value_t = 0,
            hide_default_value = true
        )]
        expected_size: u64,
        /// Digest that the blob must have
        #[arg(long, value_name = "DIGEST")]
        expected_digest: Option<Digest>,
        /// Label of the blob
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::label)]
        labels: Vec<(String, String)>,
    },
    /// List blobs that are being written, or were begun and not finished
    Active(FilterArguments),
    /// Throw away what was written of blobs
    Abort {
        /// References of the blobs
        #[arg(required = true, value_name = "REF")]
        references: Vec<String>,
    },
}

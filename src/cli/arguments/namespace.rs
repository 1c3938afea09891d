//! The grammar of `mica namespace`.

use clap::Subcommand;

use super::FilterArguments;
use crate::content::SharingPolicy;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NamespaceCommand {
    /// List namespaces
    Ls(FilterArguments),
    /// Make a namespace
    Create {
        /// Name of the namespace
        name: String,
        /// Labels of the namespace
        #[arg(value_name = "KEY=VALUE", value_parser = super::label)]
        labels: Vec<(String, String)>,
    },
    /// Set and remove labels of a namespace
    Label {
        /// Name of the namespace
        name: String,
        /// Labels; one without a value is removed
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = super::label)]
        labels: Vec<(String, String)>,
    },
    /// Show or set what namespaces may have of each other's blobs without fetching them
    Policy {
        /// All (shared), or those of namespaces labelled containerd.io/namespace.shareable=true
        /// (isolated)
        #[arg(value_name = "shared|isolated")]
        policy: Option<SharingPolicy>,
    },
    /// Remove namespaces that have no images, blobs and snapshots
    Rm {
        /// Names of the namespaces
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

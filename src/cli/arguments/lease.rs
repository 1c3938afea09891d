//! `mica lease`.

use clap::Subcommand;
use jiff::SignedDuration;

use super::FilterArguments;

#[derive(Debug, Subcommand)]
pub(in super::super) enum LeaseCommand {
    /// List leases
    #[command(alias = "list")]
    Ls(FilterArguments),
    /// Make a lease, and print its id
    Create {
        /// Id of the lease [default: a new one]
        #[arg(long)]
        id: Option<String>,
        /// Time after which the lease ends by itself, such as 90m; 0 for never
        #[arg(short = 'x', long, value_name = "TIME", default_value = "24h")]
        expires: SignedDuration,
        /// Spare the resources alone, and not what they refer to
        #[arg(long)]
        flat: bool,
        /// Labels of the lease
        #[arg(value_name = "KEY=VALUE", value_parser = super::label)]
        labels: Vec<(String, String)>,
    },
    /// End leases, and remove what they alone have kept
    #[command(alias = "delete")]
    Rm {
        /// Ids of the leases
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// List the resources of a lease
    Resources {
        /// Id of the lease
        id: String,
    },
    /// Put a resource under a lease
    Add(ResourceArguments),
    /// Take a resource from a lease
    Drop(ResourceArguments),
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct ResourceArguments {
    /// Id of the lease
    #[arg(value_name = "ID")]
    pub(in super::super) id: String,
    /// Type of the resource: content, ingests, images, layers or snapshots/mica
    #[arg(value_name = "TYPE")]
    pub(in super::super) kind: String,
    /// Digest, reference, name or key of the resource
    #[arg(value_name = "RESOURCE")]
    pub(in super::super) resource: String,
}

//! The messages and services of mica's API.
//!
//! Names and numbers of containerd's packages, services, messages and fields are wire format;
//! those of `mica` are ours. Everything here is generated from `protos/`.

pub use prost;
pub use prost_types;

use packages::containerd::{self, services};

pub use containerd::{events as event, types, types::transfer as transfer_types};
pub use packages::google::rpc;
pub use packages::mica::v1 as mica;
pub use services::{
    content::v1 as content, diff::v1 as diff, events::v1 as events, images::v1 as images,
    introspection::v1 as introspection, leases::v1 as leases, namespaces::v1 as namespaces,
    snapshots::v1 as snapshots, streaming::v1 as streaming, transfer::v1 as transfer,
    version::v1 as version,
};

/// The packages, nested as their names are.
mod packages {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

//! Pulls container images, keeps every layer once, and shows chains of layers as ordinary
//! directories.

pub mod api;
pub mod check;
pub mod cli;
pub mod commit;
mod compress;
pub mod content;
pub mod daemon;
mod decompress;
pub mod diff;
pub mod error_class;
pub mod events;
pub mod export;
pub mod filter;
pub mod gc;
pub mod images;
mod inflate;
mod json_path;
pub mod labels;
pub mod layers;
pub mod leases;
pub mod meta;
pub mod mounts;
pub mod namespaces;
pub mod oci;
pub mod overlay;
pub mod prune;
mod publish;
pub mod pull;
pub mod push;
pub mod registry;
pub mod serve;
pub mod snapshots;
pub mod source;
pub mod store;
mod sys;
pub mod views;

//! The registry client against loopback servers that fail in every way that real ones do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod faults;
mod mirrors;
mod push;
#[path = "../support/registry.rs"]
mod support;
mod tls;

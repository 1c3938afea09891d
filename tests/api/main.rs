//! The services of `mica serve`, over its socket.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod access;
mod calls;
#[path = "../support/client.rs"]
#[expect(dead_code, reason = "the tests of the contract use the rest")]
mod client;
mod commands;
mod content;
mod diff;
#[path = "../pull/layout.rs"]
#[expect(dead_code, reason = "the tests of pulls use the rest")]
mod layout;
mod mica;
mod pace;
mod proxied;
mod server;
mod snapshots;
#[path = "../support/registry.rs"]
#[expect(dead_code, reason = "the tests of the registry client use the rest")]
mod support;
mod transfer;
mod views;

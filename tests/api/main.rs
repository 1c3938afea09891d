//! The services of `mica serve`, over its socket.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod access;
mod calls;
mod content;
mod diff;
mod pace;
mod proxied;
mod server;
mod snapshots;
mod views;

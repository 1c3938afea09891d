//! The services of `mica serve`, over its socket.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod calls;
mod content;
mod diff;
mod server;
mod snapshots;
mod views;

//! What only a kernel shows of a writable view, one property a test. Needs root.
//!
//! "Trap" and a number are those of `tests/traps.md`; rules are those of `semantics.md`.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

#[path = "../support/mount.rs"]
mod mount;
#[path = "../support/transport.rs"]
mod transport;

mod bed;
mod sys;

mod attributes;
mod contents;
mod copying;
mod differences;
mod failing;
mod faults;
mod flags;
mod listing;
mod making;
mod names;
mod open_files;
mod removing;
mod steps;

//! What a view shows, asked request by request without a mount: against the kernel's
//! overlayfs on the same layers, and against a small model that merges differently.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows only the functions that are tests themselves"
)]

mod diffs;
mod elsewhere;
mod life;
mod model;
mod on_disk;
mod oracle;
mod overridden;
mod overriding;
mod packing;
mod rules;
mod walked;

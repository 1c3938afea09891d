//! Garbage collection: what nothing needs any more is removed, by containerd's rules.
//!
//! [`mark`] decides from the records alone what lives. The rest goes in two steps,
//! records first, files after, and neither makes anybody wait for longer than a moment:
//!
//! - **Who makes or uses something leases it first** ([`crate::leases`]), in a transaction
//!   of its own, and only then looks whether it is there.
//! - Records are read in one transaction, and marked outside of it. Garbage is removed in
//!   short transactions, **each of which makes sure first that no record has changed since
//!   the mark**; otherwise the mark is made anew. So a lease or an image is either seen by
//!   the mark, or made by somebody who has not looked for the thing yet and finds it gone.
//! - A transaction that removes files only moves some of them into `tmp/`, which takes
//!   an instant; they are deleted outside of it.
//! - A layer that a process has mounted stays ([`Layers::held`](crate::layers::Layers)), and
//!   so do the directory and the record of a snapshot in use: their locks are asked in the
//!   same transaction.
//! - `tmp/` is emptied by the locks of its entries ([`crate::publish`]).
//!
//! So the store is never needed alone, and collecting beside pulls and mounts is no
//! special case. One process collects at a time, and while there are leases it gives way to
//! the commands that may hold them ([`courtesy`]).
//!
//! Labels say all that is needed: every release has set them at every pull. Snapshots
//! that a user made had none in older releases, where all of them stayed; the first
//! collection in such a store labels those `containerd.io/gc.root`.

mod collect;
mod courtesy;
mod due;
mod error;
mod files;
mod mark;
mod node;
mod references;
mod survey;
mod upgrade;

pub use collect::Collected;
pub(crate) use collect::collect;
pub(crate) use due::{collect_if_due, tidy};
pub use error::GcError;
pub(crate) use files::INGEST_LIFE;
pub use node::{Node, NodeKind};
pub use survey::{Garbage, Live, Step, Survey};
pub(crate) use survey::{survey, survey_without};

#[cfg(test)]
mod tests;

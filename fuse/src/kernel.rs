//! The way to the kernel: bytes of `/dev/fuse` to [`Request`](crate::Request)
//! values and [`Reply`](crate::Reply) values back to bytes.
//!
//! Three steps that know nothing of each other: [`decode`] makes a value of a
//! message, the view answers the value, [`encode`] makes bytes of the answer.
//! [`serve`] moves the bytes of the descriptor and [`ring`] those of FUSE over `io_uring`:
//! what is asked and answered is the same. Nothing here trusts a length that it did not
//! check.

pub(crate) mod abi;
pub(crate) mod backing;
pub(crate) mod company;
pub(crate) mod crew;
pub(crate) mod decode;
pub(crate) mod device;
pub(crate) mod encode;
pub(crate) mod listing;
pub(crate) mod notify;
pub(crate) mod pace;
pub(crate) mod ring;
pub(crate) mod serve;
mod statistics;

pub use statistics::{Counts, RequestCounts, Statistics};

//! FUSE over `io_uring`: what the commands carry, and where requests and answers lie.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `enum fuse_uring_cmd`: gives an entry to the kernel, for its first request.
pub(crate) const RING_REGISTER: u32 = 1;

/// `enum fuse_uring_cmd`: gives the answer, and the entry for the next request.
pub(crate) const RING_COMMIT_AND_FETCH: u32 = 2;

/// `struct fuse_uring_cmd_req`, in the command area of a submission.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RingCommand {
    pub(crate) flags: u64,
    pub(crate) commit_id: u64,
    pub(crate) qid: u16,
    pub(crate) padding: [u8; 6],
}

/// `struct fuse_uring_req_header`, in the first buffer of an entry.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RingHeader {
    /// The in header of a request, the out header of an answer.
    pub(crate) in_out: [u8; 128],
    /// The structure of the operation.
    pub(crate) op_in: [u8; 128],
    pub(crate) ring_ent_in_out: RingEntInOut,
}

/// `struct fuse_uring_ent_in_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct RingEntInOut {
    pub(crate) flags: u64,
    /// What an answer to the request has to name.
    pub(crate) commit_id: u64,
    /// How much of the second buffer is in use, both ways.
    pub(crate) payload_sz: u32,
    pub(crate) padding: u32,
    pub(crate) reserved: u64,
}

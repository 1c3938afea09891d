//! A request of the kernel, decoded: what goes into the view.

/// The number under which the kernel knows a node: [`NodeId::ROOT`] or derived
/// from the layer and the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root of the view.
    pub const ROOT: Self = Self(1);
}

/// One request of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The node that it is about; for operations on a name, the directory.
    pub node: NodeId,
    /// What is asked.
    pub operation: Operation<'a>,
}

/// What the kernel asks of a node.
///
/// Lengths are upper bounds on the reply in bytes, as the caller's buffer has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the arguments that each operation names"
)]
pub enum Operation<'a> {
    /// Look a name up in a directory.
    Lookup { name: &'a [u8] },
    /// The kernel gives `lookups` references to the node back; nothing is answered.
    Forget { lookups: u64 },
    /// `stat`.
    GetAttr,
    /// The target of a symbolic link.
    ReadLink,
    /// Bytes of a regular file.
    Read { offset: u64, size: u32 },
    /// Entries of a directory after the cookie `offset` (0: from the start).
    ReadDir { offset: u64 },
    /// As `ReadDir`, with the attributes of each entry, which counts as a look-up.
    ReadDirPlus { offset: u64 },
    /// `statfs`.
    StatFs,
    /// The value of an extended attribute; `size` 0 asks for its length.
    GetXattr { name: &'a [u8], size: u32 },
    /// The names of the extended attributes, each ended by NUL; `size` 0 asks for the length.
    ListXattr { size: u32 },
    /// `access(2)` with `R_OK`, `W_OK`, `X_OK` bits.
    Access { mask: u32 },
    /// `SEEK_DATA` or `SEEK_HOLE`.
    Seek { offset: u64, whence: Whence },
    /// Open a file or directory: no handle is needed in a read-only view.
    Open,
    /// An operation that would change something.
    Change,
    /// An operation that this crate has no answer to.
    Unknown { opcode: u32 },
}

/// Which boundary a [`Operation::Seek`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The next byte that is not in a hole.
    Data,
    /// The next hole, the end of the file included.
    Hole,
}

//! The structures and numbers of the kernel's `include/uapi/linux/fuse.h`,
//! protocol 7.36 to 7.45, as far as a view meets them.
//!
//! Field names are the kernel's. All integers are in the byte order of the machine. Here
//! are the headers and what several operations share; the parts have what comes with each.

mod attributes;
mod files;
mod names;
pub(crate) mod opcode;
mod ring;

pub(crate) use attributes::{
    AccessIn, GetxattrIn, GetxattrOut, SETXATTR_ACL_KILL_SGID, SetattrIn, SetxattrIn, fattr,
};
pub(crate) use files::{
    BackingMap, CopyFileRangeIn, CopyFileRangeOut, FSYNC_FDATASYNC, FallocateIn, FsyncIn, IoctlIn,
    IoctlOut, LseekIn, LseekOut, OPEN_KILL_SUIDGID, OpenIn, OpenOut, ReadIn, WRITE_KILL_SUIDGID,
    WriteIn, WriteOut, fopen,
};
pub(crate) use names::{CreateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn};
pub(crate) use ring::{RING_COMMIT_AND_FETCH, RING_REGISTER, RingCommand, RingHeader};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct fuse_in_header`: the start of every message from the kernel.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct InHeader {
    pub(crate) len: u32,
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) nodeid: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
    pub(crate) total_extlen: u16,
    pub(crate) padding: u16,
}

/// `struct fuse_out_header`: the start of every message to the kernel.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct OutHeader {
    pub(crate) len: u32,
    pub(crate) error: i32,
    pub(crate) unique: u64,
}

/// `struct fuse_attr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Attr {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) atime: u64,
    pub(crate) mtime: u64,
    pub(crate) ctime: u64,
    pub(crate) atimensec: u32,
    pub(crate) mtimensec: u32,
    pub(crate) ctimensec: u32,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) blksize: u32,
    pub(crate) flags: u32,
}

/// `struct fuse_entry_out`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct EntryOut {
    pub(crate) nodeid: u64,
    pub(crate) generation: u64,
    pub(crate) entry_valid: u64,
    pub(crate) attr_valid: u64,
    pub(crate) entry_valid_nsec: u32,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) attr: Attr,
}

/// `struct fuse_attr_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct AttrOut {
    pub(crate) attr_valid: u64,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) dummy: u32,
    pub(crate) attr: Attr,
}

/// `struct fuse_dirent` without its name.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Dirent {
    pub(crate) ino: u64,
    pub(crate) off: u64,
    pub(crate) namelen: u32,
    pub(crate) file_type: u32,
}

/// `struct fuse_kstatfs`, alone in `struct fuse_statfs_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Kstatfs {
    pub(crate) blocks: u64,
    pub(crate) bfree: u64,
    pub(crate) bavail: u64,
    pub(crate) files: u64,
    pub(crate) ffree: u64,
    pub(crate) bsize: u32,
    pub(crate) namelen: u32,
    pub(crate) frsize: u32,
    pub(crate) padding: u32,
    pub(crate) spare: [u32; 6],
}

/// `struct fuse_forget_in`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct ForgetIn {
    pub(crate) nlookup: u64,
}

/// `struct fuse_batch_forget_in`; `count` of [`ForgetOne`] follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct BatchForgetIn {
    pub(crate) count: u32,
    pub(crate) dummy: u32,
}

/// `struct fuse_forget_one`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct ForgetOne {
    pub(crate) nodeid: u64,
    pub(crate) nlookup: u64,
}

/// `struct fuse_notify_inval_inode_out`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct NotifyInvalInodeOut {
    pub(crate) ino: u64,
    /// Negative for attributes only.
    pub(crate) off: i64,
    /// 0 for all from `off` on.
    pub(crate) len: i64,
}

/// `struct fuse_notify_inval_entry_out`; the name follows, ended by NUL.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct NotifyInvalEntryOut {
    pub(crate) parent: u64,
    /// The length of the name without its end.
    pub(crate) namelen: u32,
    pub(crate) flags: u32,
}

/// `struct fuse_notify_prune_out`; node numbers follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct NotifyPruneOut {
    pub(crate) count: u32,
    pub(crate) padding: u32,
    pub(crate) spare: u64,
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernel_header() {
        let cases = [
            ("in_header", size_of::<InHeader>(), 40),
            ("out_header", size_of::<OutHeader>(), 16),
            ("attr", size_of::<Attr>(), 88),
            ("entry_out", size_of::<EntryOut>(), 128),
            ("attr_out", size_of::<AttrOut>(), 104),
            ("dirent", size_of::<Dirent>(), 24),
            ("kstatfs", size_of::<Kstatfs>(), 80),
            ("forget_in", size_of::<ForgetIn>(), 8),
            ("batch_forget_in", size_of::<BatchForgetIn>(), 8),
            ("forget_one", size_of::<ForgetOne>(), 16),
            ("mknod_in", size_of::<MknodIn>(), 16),
            ("mkdir_in", size_of::<MkdirIn>(), 8),
            ("rename_in", size_of::<RenameIn>(), 8),
            ("rename2_in", size_of::<Rename2In>(), 16),
            ("link_in", size_of::<LinkIn>(), 8),
            ("create_in", size_of::<CreateIn>(), 16),
            ("setattr_in", size_of::<SetattrIn>(), 88),
            ("getxattr_in", size_of::<GetxattrIn>(), 8),
            ("getxattr_out", size_of::<GetxattrOut>(), 8),
            ("setxattr_in", size_of::<SetxattrIn>(), 16),
            ("access_in", size_of::<AccessIn>(), 8),
            ("open_in", size_of::<OpenIn>(), 8),
            ("open_out", size_of::<OpenOut>(), 16),
            ("read_in", size_of::<ReadIn>(), 40),
            ("write_in", size_of::<WriteIn>(), 40),
            ("write_out", size_of::<WriteOut>(), 8),
            ("fsync_in", size_of::<FsyncIn>(), 16),
            ("fallocate_in", size_of::<FallocateIn>(), 32),
            ("lseek_in", size_of::<LseekIn>(), 24),
            ("lseek_out", size_of::<LseekOut>(), 8),
            ("copy_file_range_in", size_of::<CopyFileRangeIn>(), 56),
            ("copy_file_range_out", size_of::<CopyFileRangeOut>(), 8),
            ("ioctl_in", size_of::<IoctlIn>(), 32),
            ("ioctl_out", size_of::<IoctlOut>(), 16),
            ("backing_map", size_of::<BackingMap>(), 16),
            ("uring_cmd_req", size_of::<RingCommand>(), 24),
            ("uring_req_header", size_of::<RingHeader>(), 288),
        ];
        for (name, actual, expected) in cases {
            assert_eq!(actual, expected, "{name}");
        }
    }
}

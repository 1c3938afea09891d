//! Extended attributes of a name in an open directory, which Linux has calls for from 6.13
//! on, and the C library none.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

/// The numbers of `getxattrat(2)` and `listxattrat(2)`, the same on all architectures that
/// Rust has.
const GETXATTRAT: libc::c_long = 464;
const LISTXATTRAT: libc::c_long = 465;

/// `struct xattr_args` of `linux/xattr.h`.
#[repr(C, align(8))]
struct Arguments {
    value: u64,
    size: u32,
    flags: u32,
}

/// Reads the names of the attributes of what a name stands for, links not followed.
pub(crate) fn list_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    // SAFETY: the name ends with a NUL, and the kernel writes no more than `buffer` has room
    // for.
    let result = unsafe {
        libc::syscall(
            LISTXATTRAT,
            directory.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    usize::try_from(result).map_err(|_| super::last_errno())
}

/// Reads the value of an attribute of what a name stands for, links not followed.
pub(crate) fn value_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let arguments = Arguments {
        value: buffer.as_mut_ptr().expose_provenance() as u64,
        size: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
        flags: 0,
    };
    // SAFETY: both names end with a NUL, `arguments` is the structure whose size is said, and
    // the kernel writes no more than `buffer` has room for.
    let result = unsafe {
        libc::syscall(
            GETXATTRAT,
            directory.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attribute.as_ptr(),
            ptr::from_ref(&arguments),
            size_of::<Arguments>(),
        )
    };
    usize::try_from(result).map_err(|_| super::last_errno())
}

//! The unsafe calls of this crate, each behind a safe function.
//!
//! Nothing here decides anything: a function takes what the system call needs and
//! gives back its result.

#![expect(
    unsafe_code,
    reason = "the one place for calls that the compiler cannot check"
)]

use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::{Mmap, MmapOptions};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};

/// `FUSE_DEV_IOC_CLONE` of `fuse.h`: `_IOR(229, 0, uint32_t)`.
const FUSE_DEV_IOC_CLONE: rustix::ioctl::Opcode = opcode::read::<u32>(229, 0);

/// Maps the whole of a file for reading.
///
/// The caller sees to it that nobody truncates the file while it is mapped, or
/// never touches the bytes itself: a page beyond the end of the file raises
/// `SIGBUS`.
pub(crate) fn map(file: BorrowedFd<'_>) -> Result<Mmap, Errno> {
    // SAFETY: the files mapped are those of published layers, which nothing writes
    // to or truncates; a private read-only map of them behaves as a plain slice.
    unsafe { MmapOptions::new().map(&file) }
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

/// Makes `device`, a fresh `/dev/fuse`, a second way to the session of `session`.
pub(crate) fn clone_fuse_device(
    device: BorrowedFd<'_>,
    session: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let number = u32::try_from(session.as_raw_fd()).map_err(|_| Errno::BADF)?;
    // SAFETY: the opcode takes a pointer to a u32 that it only reads; it changes no
    // memory of this process.
    unsafe { ioctl(device, Setter::<FUSE_DEV_IOC_CLONE, u32>::new(number)) }
}

/// Puts a copy of `with` in the place of `descriptor`, whose file is thereby closed.
pub(crate) fn replace_descriptor(
    descriptor: BorrowedFd<'_>,
    with: BorrowedFd<'_>,
) -> Result<(), Errno> {
    // SAFETY: both numbers are open; `descriptor` stays open all along and stays with
    // its owner, who from now on finds another file behind it.
    let result = unsafe { libc::dup3(with.as_raw_fd(), descriptor.as_raw_fd(), libc::O_CLOEXEC) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// Returns whether every page of `bytes`, part of a map, is in memory, so that to
/// read it waits for no disk.
pub(crate) fn is_resident(bytes: &[u8]) -> bool {
    const PAGES: usize = 512;
    let page = rustix::param::page_size();
    let skipped = bytes.as_ptr().addr() % page;
    let mut pages = [0_u8; PAGES];
    let length = bytes.len() + skipped;
    let Some(map) = pages.get_mut(..length.div_ceil(page)) else {
        return false;
    };
    // SAFETY: mincore looks at page tables only and writes one byte for each page of
    // the range, for which `map` has room.
    let result = unsafe {
        let start = bytes.as_ptr().wrapping_sub(skipped).cast_mut();
        libc::mincore(start.cast(), length, map.as_mut_ptr())
    };
    result == 0 && map.iter().all(|page| page & 1 == 1)
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

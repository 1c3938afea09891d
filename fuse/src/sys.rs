//! The unsafe calls of this crate, each behind a safe function.
//!
//! Nothing here decides anything: a function takes what the system call needs and
//! gives back its result.

#![expect(
    unsafe_code,
    reason = "the one place for calls that the compiler cannot check"
)]

pub(crate) mod ring;
pub(crate) mod xattrs;

use std::ffi::c_void;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::from_mut;
use std::sync::atomic::AtomicU64;

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};
use rustix::io::Errno;
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, Setter, ioctl, opcode};

use crate::kernel::abi::BackingMap;

/// `FUSE_DEV_IOC_CLONE` of `fuse.h`: `_IOR(229, 0, uint32_t)`.
const FUSE_DEV_IOC_CLONE: Opcode = opcode::read::<u32>(229, 0);

/// `FUSE_DEV_IOC_BACKING_OPEN` of `fuse.h`: `_IOW(229, 1, struct fuse_backing_map)`.
const FUSE_DEV_IOC_BACKING_OPEN: Opcode = opcode::write::<BackingMap>(229, 1);

/// `FUSE_DEV_IOC_BACKING_CLOSE` of `fuse.h`: `_IOW(229, 2, uint32_t)`.
const FUSE_DEV_IOC_BACKING_CLOSE: Opcode = opcode::write::<u32>(229, 2);

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

/// Maps the whole of a file in memory, of which nobody else has a descriptor.
pub(crate) fn map_memory(memory: BorrowedFd<'_>) -> Result<MmapMut, Errno> {
    // SAFETY: the file is a memfd of the caller's own that nobody truncates, and what it
    // holds is plain bytes.
    unsafe { MmapOptions::new().map_mut(&memory) }
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

/// Numbers in a file in memory, which other processes may have too.
pub(crate) struct Counters {
    map: MmapRaw,
    count: usize,
}

impl Counters {
    /// Maps the first so many numbers of a file that nobody can cut short (`memfd_create(2)`
    /// with `F_SEAL_SHRINK`).
    pub(crate) fn map(memory: BorrowedFd<'_>, count: usize) -> Result<Self, Errno> {
        let map = MmapOptions::new()
            .len(count * size_of::<AtomicU64>())
            .map_raw(&memory)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
        Ok(Self { map, count })
    }
}

impl Deref for Counters {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the map begins at a page and is as long as `count` numbers; it lives as
        // long as `self`, and its pages are there. Any bytes are numbers, and whoever else
        // has the file changes them as another thread could.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
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

/// Registers a file with the connection of `session` and returns its number.
pub(crate) fn open_fuse_backing(
    session: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
) -> Result<i32, Errno> {
    let map = BackingMap {
        fd: file.as_raw_fd(),
        flags: 0,
        padding: 0,
    };
    // SAFETY: `OpenBacking` gives the opcode the structure that it only reads; the
    // descriptor in it is open during the call, and the kernel keeps the file, not the number.
    unsafe { ioctl(session, OpenBacking(map)) }
}

/// Gives a number of [`open_fuse_backing`] back.
pub(crate) fn close_fuse_backing(session: BorrowedFd<'_>, id: i32) -> Result<(), Errno> {
    let id = id.cast_unsigned();
    // SAFETY: the opcode takes a pointer to a u32 that it only reads; it changes no
    // memory of this process.
    unsafe { ioctl(session, Setter::<FUSE_DEV_IOC_BACKING_CLOSE, u32>::new(id)) }
}

/// The call whose result is a number: rustix has no pattern for one that also takes a
/// structure.
struct OpenBacking(BackingMap);

// SAFETY: the opcode is that of a call that reads a `fuse_backing_map` at the pointer, which
// is what `BackingMap` is, and writes nothing; its result is no pointer.
unsafe impl Ioctl for OpenBacking {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        FUSE_DEV_IOC_BACKING_OPEN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        from_mut(&mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<i32, Errno> {
        Ok(out)
    }
}

/// `struct fsxattr` of `linux/fs.h`.
pub(crate) type FileAttributes = [u8; 28];

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR` of `linux/fs.h`.
const FSGETXATTR: Opcode = opcode::read::<FileAttributes>(b'X', 31);
const FSSETXATTR: Opcode = opcode::write::<FileAttributes>(b'X', 32);

/// Returns the flags of an inode with what belongs to them.
pub(crate) fn file_attributes(file: impl AsFd) -> Result<FileAttributes, Errno> {
    // SAFETY: the opcode writes one `fsxattr`, for which any bytes will do.
    unsafe { ioctl(file, Getter::<FSGETXATTR, FileAttributes>::new()) }
}

/// Sets what [`file_attributes`] returns.
pub(crate) fn set_file_attributes(
    file: impl AsFd,
    attributes: FileAttributes,
) -> Result<(), Errno> {
    // SAFETY: the opcode takes a pointer to an `fsxattr` that it only reads; it changes no
    // memory of this process.
    unsafe { ioctl(file, Setter::<FSSETXATTR, FileAttributes>::new(attributes)) }
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

/// Gives the calling thread a file mode creation mask and a current directory of its own.
pub(crate) fn unshare_file_system_attributes() -> Result<(), Errno> {
    // SAFETY: CLONE_FS only detaches what other threads no longer see; no memory and no
    // descriptor changes.
    let result = unsafe { libc::unshare(libc::CLONE_FS) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// Has the allocator give large tables and buffers back when they are done with, and share
/// the rest among threads. It would adapt itself to the largest that was ever freed, and
/// hold as much for each thread.
pub(crate) fn steady_heap() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, 256 * 1024),
        (libc::M_TRIM_THRESHOLD, 512 * 1024),
        (libc::M_ARENA_MAX, 2),
    ] {
        // SAFETY: mallopt sets a number that the allocator looks at.
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

/// Gives the pages that the allocator holds and nobody uses back to the kernel.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the locks of the allocator and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

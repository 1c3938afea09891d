//! The calls that the compiler cannot check, each behind a safe function.

#![expect(unsafe_code, reason = "the one place for them in this test")]

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Makes the umask of this thread its own.
pub(crate) fn unshare_umask() -> Result<(), Errno> {
    // SAFETY: the table of open files stays shared.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
}

/// `truncate(2)`, which follows symbolic links.
pub(crate) fn truncate(path: &Path, size: u64) -> Result<(), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the path ends with NUL and lives longer than the call.
    let result = unsafe { libc::truncate(path.as_ptr(), size.cast_signed()) };
    if result < 0 {
        return Err(last_errno());
    }
    Ok(())
}

/// Writes bytes through a shared mapping of the page at `start`, and syncs it.
///
/// The bytes are written as into another process, where a page that cannot be had is an
/// error, not a signal.
pub(crate) fn write_mapped(file: BorrowedFd<'_>, start: u64, bytes: &[u8]) -> Result<usize, Errno> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping, where nothing is; nobody gets a reference into it.
    let address = unsafe { mmap(std::ptr::null_mut(), 4096, access, flags, file, start) }?;
    let vector = |base: *mut libc::c_void| libc::iovec {
        iov_base: base,
        iov_len: bytes.len().min(4096),
    };
    let (from, to) = (vector(bytes.as_ptr().cast_mut().cast()), vector(address));
    // SAFETY: both vectors lie within what they name; the kernel only reads from `from`.
    let written =
        unsafe { libc::process_vm_writev(libc::getpid(), &raw const from, 1, &raw const to, 1, 0) };
    let written = usize::try_from(written).map_err(|_| last_errno());
    // SAFETY: the mapping of above, of the same length.
    let synced = unsafe { msync(address, 4096, MsyncFlags::SYNC) };
    // SAFETY: the mapping of above, to which nobody has a reference.
    unsafe { munmap(address, 4096) }?;
    synced?;
    written
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

//! The only unsafe code of this crate.
#![expect(unsafe_code, reason = "a system call that has no safe wrapper")]

use rustix::io::Errno;

/// Closes every descriptor above the standard ones: what a careless caller left open
/// must not live as long as a mount does.
///
/// Must be called before this process has opened anything itself.
pub(crate) fn close_inherited() -> Result<(), Errno> {
    // SAFETY: nothing in this process owns a descriptor yet, as the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}

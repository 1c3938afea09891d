//! The calls that the compiler cannot check, each behind a safe function.

#![expect(unsafe_code, reason = "the one place for it in this test")]

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

const LENGTH: usize = 4096;

/// The first page of a file, mapped to be read and shared.
#[derive(Debug)]
pub(crate) struct Mapping(*mut libc::c_void);

impl Mapping {
    pub(crate) fn of(file: &File) -> Self {
        // SAFETY: a new mapping, where nothing is; nobody gets a reference into it.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                LENGTH,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        Self(address.unwrap())
    }

    /// Reads the first byte.
    pub(crate) fn first(&self) -> u8 {
        // SAFETY: within the mapping; others may change it, hence volatile.
        unsafe { self.0.cast::<u8>().read_volatile() }
    }

    /// Gives the page up, so that the kernel may drop it from its cache.
    pub(crate) fn give_up(&self) {
        // SAFETY: the mapping is of a file, and shared: nothing is lost.
        unsafe { madvise(self.0, LENGTH, Advice::LinuxDontNeed) }.unwrap();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping of `of`, to which nobody has a reference.
        unsafe { munmap(self.0, LENGTH) }.unwrap();
    }
}

/// `truncate(2)`, which opens nothing.
pub(crate) fn truncate(path: &Path, size: i64) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with NUL and lives longer than the call.
    let result = unsafe { libc::truncate(path.as_ptr(), size) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

//! The file mode creation mask, which a thread that serves has for itself.

use std::cell::Cell;

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::{Result, sys};

thread_local! {
    /// The mask of this thread, once it is its own.
    static UMASK: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Runs `make` with the mask of the caller, so that the file system applies it as it
/// does for the caller itself: not where the directory has a default access list.
pub(in crate::active) fn with_umask<T>(umask: u32, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let umask = umask & 0o777;
    let current = UMASK.get();
    if current != Some(umask) {
        if current.is_none() {
            sys::unshare_file_system_attributes()
                .map_err(|errno: Errno| crate::Error::Refused(errno))?;
        }
        rustix::process::umask(Mode::from_raw_mode(umask));
        UMASK.set(Some(umask));
    }
    make()
}

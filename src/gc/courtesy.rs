//! Courtesy: work that takes long and holds no lock of others gives way to commands that run.
//!
//! Whoever holds a lock that a pull may want, be it the kernel's on a directory, must not be
//! slow because the pull is busy; so only the rest of a collection comes last.

use std::panic;
use std::thread;

use crate::sys;

/// Does something in a thread that gets the processor last.
pub(super) fn give_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            if let Err(error) = sys::run_when_idle() {
                tracing::debug!(%error, "collect without giving way");
            }
            work()
        });
        worker
            .join()
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
}

//! Courtesy: work that takes long and holds no lock of others gives way to commands that run.
//!
//! Whoever holds a lock that a pull may want must not be slow because the pull is busy; so
//! only the rest of a collection comes last.

use std::panic;
use std::thread;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// The lowest priority.
const LAST: i32 = 19;

/// Does something in a thread that gets the processor last.
pub(super) fn give_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // In Linux the priority is the thread's.
            if let Err(error) = setpriority_process(Some(gettid()), LAST) {
                tracing::debug!(%error, "collect without giving way");
            }
            work()
        });
        worker
            .join()
            .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
}

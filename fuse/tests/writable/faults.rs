//! Calls that the server makes fail, or are its last: each at each step of a change.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::sys::{self, Call};

/// The calls by which something is changed on disk.
const CHANGES: &[libc::c_long] = &[
    libc::SYS_copy_file_range,
    libc::SYS_fallocate,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_pwrite64,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_setxattr,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// The calls by which layers and the upper are read.
const READS: &[libc::c_long] = &[
    libc::SYS_getdents64,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_readlinkat,
    libc::SYS_statx,
];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails.
    Error(Errno),
    /// The process ends before it.
    Kill,
}

/// Which calls count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Changes,
    Reads,
}

/// Who decides on the calls of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    /// Calls that are still made before the fault.
    before: u32,
    /// The call that the fault met.
    met: Option<libc::c_long>,
    /// All calls that were made since this was armed.
    made: Vec<libc::c_long>,
}

impl Faults {
    /// Runs `start` in a thread whose calls, and those of all threads that it starts, can
    /// be met by faults from then on.
    pub(crate) fn watch<T: Send>(&self, which: Which, start: impl FnOnce() -> T + Send) -> T {
        let calls = match which {
            Which::Changes => CHANGES,
            Which::Reads => READS,
        };
        let (sender, receiver) = mpsc::channel::<OwnedFd>();
        let faults = self.clone();
        thread::spawn(move || faults.decide(&receiver.recv().unwrap()));
        thread::scope(|scope| {
            let server = scope.spawn(move || {
                sender.send(sys::intercept(calls)).unwrap();
                start()
            });
            server.join().unwrap()
        })
    }

    /// Lets the fault meet the call after the next `before` ones.
    pub(crate) fn arm(&self, fault: Fault, before: u32) {
        *self.plan() = Plan {
            fault: Some(fault),
            before,
            ..Plan::default()
        };
    }

    /// Returns the numbers of the calls that `change` takes, in their order.
    pub(crate) fn calls_of(&self, change: impl FnOnce()) -> Vec<libc::c_long> {
        self.arm(Fault::Error(Errno::IO), u32::MAX);
        change();
        std::mem::take(&mut *self.plan()).made
    }

    /// Lets all calls be made; returns the number of the one that the fault met.
    pub(crate) fn disarm(&self) -> Option<libc::c_long> {
        std::mem::take(&mut *self.plan()).met
    }

    /// Answers calls until the last thread that may make some has ended.
    fn decide(&self, listener: &OwnedFd) {
        loop {
            let mut ready = [PollFd::new(listener, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => panic!("{errno}"),
            }
            let events = ready[0].revents();
            if events.contains(PollFlags::IN) {
                if let Some(call) = sys::next_call(listener.as_fd()) {
                    sys::answer_call(listener.as_fd(), call, self.plan().meet(call));
                }
            } else if events.intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
        }
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// Returns how a call fails.
    fn meet(&mut self, call: Call) -> Option<Errno> {
        let fault = self.fault?;
        self.made.push(call.number);
        if let Some(left) = self.before.checked_sub(1) {
            self.before = left;
            return None;
        }
        self.fault = None;
        self.met = Some(call.number);
        match fault {
            Fault::Error(errno) => Some(errno),
            Fault::Kill => {
                let itself = rustix::process::getpid();
                rustix::process::kill_process(itself, rustix::process::Signal::KILL).unwrap();
                None
            }
        }
    }
}

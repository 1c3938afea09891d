//! Where requests go that have to wait for a disk, and come back answered.
//!
//! Clerks take slots from one desk for all queues; each queue has a tray for what is
//! answered, and a bell that wakes its thread.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use tracing::debug;

use super::Slot;

/// The desk of one session.
#[derive(Debug)]
pub(crate) struct Desk<'m> {
    pending: Mutex<Pending<'m>>,
    called: Condvar,
    trays: Vec<Tray<'m>>,
}

#[derive(Debug, Default)]
struct Pending<'m> {
    jobs: VecDeque<Job<'m>>,
    is_closed: bool,
}

/// A request to answer.
#[derive(Debug)]
pub(crate) struct Job<'m> {
    pub(crate) slot: Slot<'m>,
    /// The number of the tray that it goes to.
    pub(crate) tray: usize,
    /// When it came.
    pub(crate) since: Instant,
}

/// What is answered and goes back to one thread.
#[derive(Debug)]
struct Tray<'m> {
    answered: Mutex<Vec<Slot<'m>>>,
    bell: OwnedFd,
}

impl<'m> Desk<'m> {
    /// Makes a desk with so many trays.
    pub(crate) fn new(trays: usize) -> Result<Self, Errno> {
        let tray = |_| {
            Ok(Tray {
                answered: Mutex::default(),
                bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            })
        };
        Ok(Self {
            pending: Mutex::default(),
            called: Condvar::new(),
            trays: (0..trays).map(tray).collect::<Result<_, _>>()?,
        })
    }

    /// Leaves a request for the next clerk.
    pub(crate) fn hand_in(&self, job: Job<'m>) {
        self.pending().jobs.push_back(job);
        self.called.notify_one();
    }

    /// Waits for a request; `None` once the desk is closed.
    pub(crate) fn next(&self) -> Option<Job<'m>> {
        let mut pending = self.pending();
        loop {
            if pending.is_closed {
                return None;
            }
            if let Some(job) = pending.jobs.pop_front() {
                return Some(job);
            }
            pending = self
                .called
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts an answered request into its tray.
    pub(crate) fn hand_back(&self, job: Job<'m>) {
        let Some(tray) = self.trays.get(job.tray) else {
            return;
        };
        lock(&tray.answered).push(job.slot);
        if let Err(errno) = rustix::io::write(&tray.bell, &1_u64.to_ne_bytes()) {
            debug!("event descriptor: {errno}");
        }
    }

    /// Returns what is readable while the tray has something.
    pub(crate) fn bell(&self, tray: usize) -> Option<BorrowedFd<'_>> {
        self.trays.get(tray).map(|tray| tray.bell.as_fd())
    }

    /// Empties a tray.
    pub(crate) fn collect(&self, tray: usize) -> Vec<Slot<'m>> {
        let Some(tray) = self.trays.get(tray) else {
            return Vec::new();
        };
        if let Err(errno) = rustix::io::read(&tray.bell, &mut [0_u8; 8])
            && errno != Errno::AGAIN
        {
            debug!("event descriptor: {errno}");
        }
        std::mem::take(&mut *lock(&tray.answered))
    }

    /// Sends the clerks away. Whoever waits for an answer gets an error from the kernel,
    /// when the session closes its descriptors.
    pub(crate) fn close(&self) {
        self.pending().is_closed = true;
        self.called.notify_all();
    }

    fn pending(&self) -> MutexGuard<'_, Pending<'m>> {
        lock(&self.pending)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

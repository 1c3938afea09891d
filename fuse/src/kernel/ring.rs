//! FUSE over `io_uring`: requests come to where they arise, without a system call that
//! fetches each.
//!
//! The kernel has a queue for every CPU and puts a request into that of the CPU on which
//! it is asked. A queue has a few entries, each with a buffer of ours (a [`Slot`]): the
//! kernel writes a request into a free one and completes the command with which it was
//! lent; we write the answer into the same buffer and lend it again, both with one call.
//! The threads that serve queues are bound to their CPUs, so that caller and server take
//! turns on one.
//!
//! A thread that serves queues must not wait for a disk: what has to wait goes to the
//! [`desk`], and comes back answered. Not every wait is known beforehand: a disk hangs, or
//! somebody scans a file before it may be opened. Commands belong to the thread that gave
//! them, and no other thread sees what comes by them, so a queue cannot be handed over as
//! the watch of a [`crew`](super::crew) can. Instead each entry of a queue is another
//! thread's: one that waits keeps its own entries from those who ask, and no more. The kernel
//! takes the entry that it got last, so one caller after another is served by one thread.
//!
//! FORGET and INTERRUPT still come by the descriptor, and notifications go by it: see
//! [`listener`].
//!
//! Once the kernel has a buffer for every queue it sends requests this way only, until the
//! end of the session. Until then a command that it refuses brings it back to the
//! descriptor ([`WayBack`]); it waits with all requests for one or the other.

pub(crate) mod desk;
pub(crate) mod listener;
pub(crate) mod queue;
mod slot;

use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memmap2::MmapMut;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity};
use zerocopy::IntoBytes;

pub(crate) use slot::Slot;

use crate::sys;
use crate::sys::ring::{CommandRing, IdleRing};

/// Requests of one queue that can be under way at once, few and many queues.
const DEPTH: RangeInclusive<usize> = 2..=4;
/// Entries of all queues together, where that leaves enough for each.
const ENTRIES: usize = 16;
/// Most threads that serve queues, for each of the entries that a queue has; with more CPUs,
/// each serves several queues, and one that waits keeps an entry of each.
const THREADS: usize = 16;

/// All that one session needs for its queues, made before the kernel is asked for them.
#[derive(Debug)]
pub(crate) struct Rings {
    idle: Vec<IdleRing>,
    spare: Option<IdleRing>,
    /// How many threads serve one entry of all queues.
    in_a_watch: usize,
    queues: usize,
    depth: usize,
    memory: OwnedFd,
    map: MmapMut,
}

/// What one thread gets of them.
#[derive(Debug)]
pub(crate) struct Share<'m> {
    pub(crate) ring: IdleRing,
    pub(crate) slots: Vec<Slot<'m>>,
    /// The CPUs whose queues the thread serves.
    pub(crate) cpus: Vec<usize>,
    pub(crate) turn: Turn,
}

/// When a share is lent, in this order.
///
/// The kernel counts on the rings once it has an entry of each queue. A request for which none is
/// free then waits for one to come back, and not for one that is new: behind a thread that waits
/// it would wait too. So the queues of one thread are kept back until the others have all
/// their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// The first entries of queues, without which there are no rings.
    First,
    /// Further ones of these queues.
    Further,
    /// The first entries of the queues that were kept back.
    Last,
    /// Further ones of those.
    FurtherOfLast,
}

impl Turn {
    /// Says whether there are no rings without.
    pub(crate) fn is_needed(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    fn of(is_further: bool, is_kept_back: bool) -> Self {
        match (is_kept_back, is_further) {
            (false, false) => Self::First,
            (false, true) => Self::Further,
            (true, false) => Self::Last,
            (true, true) => Self::FurtherOfLast,
        }
    }
}

impl Rings {
    /// Prepares a ring a thread, with buffers for messages of this payload; fails where the
    /// kernel has no `io_uring` for this process.
    pub(crate) fn new(payload: usize) -> Result<Self, Errno> {
        let queues = possible_cpus()?;
        let allowed = sched_getaffinity(None)?;
        let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let in_a_watch = cpus.count().min(THREADS).min(queues).max(1);
        let depth = (ENTRIES / queues).clamp(*DEPTH.start(), *DEPTH.end());
        // Each with two more, for what a thread watches beside its slots.
        let entries = u32::try_from(queues.div_ceil(in_a_watch) + 2);
        let entries = entries.map_err(|_| Errno::TOOBIG)?;
        let memory = rustix::fs::memfd_create("mica-ring", MemfdFlags::CLOEXEC)?;
        let size = queues * depth * Slot::stride(payload);
        rustix::fs::ftruncate(&memory, size as u64)?;
        Ok(Self {
            idle: (0..in_a_watch * depth)
                .map(|_| IdleRing::new(entries))
                .collect::<Result<_, _>>()?,
            spare: Some(IdleRing::new(1)?),
            in_a_watch,
            queues,
            depth,
            map: sys::map_memory(memory.as_fd())?,
            memory,
        })
    }

    /// Deals entries out to threads: each gets one of the queue of every so-manieth CPU.
    pub(crate) fn deal(&mut self) -> Vec<Share<'_>> {
        let in_a_watch = self.in_a_watch;
        let mut shares: Vec<Share<'_>> = std::mem::take(&mut self.idle)
            .into_iter()
            .enumerate()
            .map(|(thread, ring)| Share {
                ring,
                slots: Vec::new(),
                cpus: (thread % in_a_watch..self.queues)
                    .step_by(in_a_watch)
                    .collect(),
                turn: Turn::of(thread >= in_a_watch, thread % in_a_watch == in_a_watch - 1),
            })
            .collect();
        let stride = self.map.len() / (self.queues * self.depth).max(1);
        for (index, bytes) in self.map.chunks_exact_mut(stride.max(1)).enumerate() {
            let (watch, queue) = (index / self.queues, index % self.queues);
            let Some(share) = shares.get_mut(watch * in_a_watch + queue % in_a_watch) else {
                continue;
            };
            let place = (index * stride) as u64;
            let number = share.slots.len();
            let slot = Slot::new(bytes, (self.memory.as_fd(), place), queue, number);
            share.slots.extend(slot);
        }
        shares
    }

    /// Takes what is needed to do without the rings.
    pub(crate) fn way_back(&mut self) -> Option<WayBack> {
        self.spare.take().map(WayBack)
    }
}

/// What it takes to have requests come by the descriptor.
#[derive(Debug)]
pub(crate) struct WayBack(IdleRing);

impl WayBack {
    /// Has the kernel refuse a command, after which it does without rings, unless it has a
    /// slot for every queue already.
    pub(crate) fn take(self, session: BorrowedFd<'_>) -> Result<(), Errno> {
        let memory = rustix::fs::memfd_create("mica-ring", MemfdFlags::CLOEXEC)?;
        let mut bytes = vec![0_u64; Slot::stride(0) / size_of::<u64>()];
        let no_queue = usize::from(u16::MAX);
        let slot = Slot::new(bytes.as_mut_bytes(), (memory.as_fd(), 0), no_queue, 0);
        let mut ring = CommandRing::start(self.0, session, 1)?;
        if slot.is_some_and(|slot| ring.register(slot)) {
            ring.enter(true, None)?;
        }
        Ok(())
    }
}

/// Returns how many CPUs there may ever be: the kernel has a queue for each.
fn possible_cpus() -> Result<usize, Errno> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    count_cpus(text.trim()).ok_or(Errno::INVAL)
}

/// Counts the CPUs of a list such as `0-3,8`.
fn count_cpus(ranges: &str) -> Option<usize> {
    let mut count = 0;
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_counted() {
        let cases = [
            ("0", Some(1)),
            ("0-1", Some(2)),
            ("0-3,8", Some(5)),
            ("", None),
            ("3-0", None),
            ("x", None),
        ];
        for (list, expected) in cases {
            assert_eq!(count_cpus(list), expected, "{list}");
        }
    }
}

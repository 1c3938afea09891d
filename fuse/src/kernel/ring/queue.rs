//! The loop of one thread: take requests of its queues, answer them, wait.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tracing::{debug, error};

use super::desk::{Desk, Job};
use super::listener::Listener;
use super::slot::Extent;
use super::{Share, Slot};
use crate::kernel::company::Caller;
use crate::kernel::decode::Message;
use crate::kernel::encode::{encode, encode_done, encode_error};
use crate::kernel::serve::{Service, is_at_hand};
use crate::sys::ring::{CommandRing, Completion};

/// Commands that may fail before a thread gives up.
const FAILURES: u32 = 10_000;

/// What a thread watches beside its slots.
const LEAVE: u32 = 0;
const BELL: u32 = 1;

/// Requests after which a thread looks for what comes beside the ring.
const LOOK: u32 = 32;

/// How much memory of a buffer is kept while nothing is asked.
const KEEP: usize = 64 * 1024;

/// How long nothing is asked before memory is given back.
const REST: Duration = Duration::from_millis(100);

/// One thread that serves queues.
#[derive(Debug)]
pub(crate) struct Queue<'s> {
    service: &'s Service<'s>,
    desk: &'s Desk<'s>,
    listener: &'s Listener<'s>,
    /// Requests since the last look at what comes beside the ring.
    requests: u32,
    /// The number of this thread and of its tray.
    number: usize,
    ring: CommandRing<'s>,
    /// Readable when the thread is to leave.
    leave: BorrowedFd<'s>,
    extents: Vec<Extent<'s>>,
    /// Which slots had more than is kept.
    swollen: Vec<bool>,
    /// Slots whose command failed, since the start.
    failures: u32,
    /// Requests that came before the thread began to serve.
    early: Vec<Slot<'s>>,
    head: Vec<u8>,
    caller: Caller<'s>,
}

/// Why a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It was told to.
    Told,
    /// The file system was unmounted or the connection was aborted.
    Gone,
}

impl<'s> Queue<'s> {
    /// Binds the calling thread to the CPUs of its share and lends the kernel its slots.
    /// Requests come by the rings once the kernel has one of every queue, and only then.
    pub(crate) fn start(
        (service, desk): (&'s Service<'s>, &'s Desk<'s>),
        listener: &'s Listener<'s>,
        (number, share): (usize, Share<'s>),
        leave: BorrowedFd<'s>,
    ) -> Result<Self, Errno> {
        bind(&share.cpus);
        let ring = CommandRing::start(share.ring, service.session, share.slots.len())?;
        let mut queue = Self {
            service,
            desk,
            listener,
            requests: 0,
            number,
            ring,
            leave,
            extents: share.slots.iter().map(Slot::extent).collect(),
            swollen: vec![false; share.slots.len()],
            failures: 0,
            early: Vec::new(),
            head: Vec::new(),
            caller: Caller::bound(service.company, share.cpus.first().copied()),
        };
        for slot in share.slots {
            if !queue.ring.register(slot) {
                return Err(Errno::NOSPC);
            }
        }
        queue.lend_all()?;
        Ok(queue)
    }

    /// Lends what was registered: what the kernel refuses comes back at once.
    fn lend_all(&mut self) -> Result<(), Errno> {
        self.ring.enter(false, None)?;
        let mut outcome = Ok(());
        while let Some(completion) = self.ring.next() {
            match completion {
                Completion::Slot(slot, Ok(())) => self.early.push(slot),
                Completion::Slot(_, Err(errno)) => outcome = Err(errno),
                Completion::Ready(_) => {}
            }
        }
        outcome
    }

    /// Serves until the session is over.
    pub(crate) fn run(mut self) -> Result<Left, Errno> {
        self.watch(LEAVE);
        self.watch(BELL);
        for slot in std::mem::take(&mut self.early) {
            self.serve(slot);
        }
        loop {
            while let Some(completion) = self.ring.next() {
                match completion {
                    Completion::Slot(slot, Ok(())) => self.serve(slot),
                    Completion::Slot(_, Err(Errno::NOTCONN | Errno::CONNABORTED)) => {
                        return Ok(Left::Gone);
                    }
                    Completion::Slot(slot, Err(errno)) => self.lend_again(slot, errno)?,
                    Completion::Ready(BELL) => self.collect(),
                    Completion::Ready(_) => return Ok(Left::Told),
                }
                // Nobody waits for an answer longer than for that answer.
                if self.ring.has_more() {
                    self.ring.enter(false, None)?;
                }
            }
            self.wait()?;
        }
    }

    /// Sends what is answered and waits for more; gives memory back when nothing comes.
    fn wait(&mut self) -> Result<(), Errno> {
        if self.requests > LOOK {
            self.requests = 0;
            self.ring.enter(false, None)?;
            self.listener.glance()?;
        }
        let is_swollen = self.swollen.contains(&true);
        self.ring.enter(true, is_swollen.then_some(REST))?;
        if is_swollen && !self.ring.has_more() {
            self.give_memory_back();
        }
        Ok(())
    }

    /// Gives memory of slots back, but of none that a clerk has: an answer may be in it.
    fn give_memory_back(&mut self) {
        for (number, (extent, swollen)) in self.extents.iter().zip(&mut self.swollen).enumerate() {
            if *swollen && self.ring.has(number) {
                *swollen = false;
                if let Err(errno) = extent.shrink(KEEP) {
                    debug!("give memory of a buffer back: {errno}");
                }
            }
        }
    }

    fn serve(&mut self, mut slot: Slot<'s>) {
        self.requests += 1;
        let since = Instant::now();
        let header = slot.in_header();
        let opcode = header.map_or(0, |header| header.opcode);
        self.service.statistics.count(opcode);
        self.caller
            .request(since, header.map_or(0, |header| header.pid));
        self.take_note(&slot);
        if answer(self.service, &mut slot, &mut self.head, Wait::Refuse) {
            self.service.statistics.took(opcode, since.elapsed());
            self.commit(slot);
        } else {
            let tray = self.number;
            self.desk.hand_in(Job { slot, tray, since });
        }
    }

    fn collect(&mut self) {
        for slot in self.desk.collect(self.number) {
            self.commit(slot);
        }
        self.watch(BELL);
    }

    fn commit(&mut self, slot: Slot<'s>) {
        self.take_note(&slot);
        if !self.ring.commit(slot) {
            error!("an answer found no place in the ring");
        }
    }

    fn take_note(&mut self, slot: &Slot<'_>) {
        if slot.used() > KEEP
            && let Some(swollen) = self.swollen.get_mut(slot.number())
        {
            *swollen = true;
        }
    }

    /// The kernel did not take an answer, since nobody waits for it, or a signal came in
    /// between: the entry is empty, and unknown to it.
    fn lend_again(&mut self, slot: Slot<'s>, errno: Errno) -> Result<(), Errno> {
        debug!("an entry of the ring came back: {errno}");
        self.failures += 1;
        if self.failures > FAILURES || !self.ring.register(slot) {
            return Err(errno);
        }
        Ok(())
    }

    fn watch(&mut self, token: u32) {
        let descriptor = match token {
            BELL => self.desk.bell(self.number),
            _ => Some(self.leave),
        };
        if let Some(descriptor) = descriptor
            && !self.ring.watch(descriptor, token)
        {
            error!("a descriptor found no place in the ring");
        }
    }
}

/// Answers what is handed in until the desk is closed.
pub(crate) fn clerk<'s>(service: &'s Service<'s>, desk: &Desk<'s>) {
    let mut head = Vec::new();
    while let Some(mut job) = desk.next() {
        let opcode = job.slot.in_header().map_or(0, |header| header.opcode);
        answer(service, &mut job.slot, &mut head, Wait::Allow);
        service.statistics.took(opcode, job.since.elapsed());
        desk.hand_back(job);
    }
}

/// Whether an answer may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Allow,
    Refuse,
}

/// Answers the request of a slot in the slot; `false` leaves it as it is, if it would have
/// to wait.
fn answer(service: &Service<'_>, slot: &mut Slot<'_>, head: &mut Vec<u8>, wait: Wait) -> bool {
    let question = match slot.message() {
        Ok(Message::Ask(question)) => question,
        Ok(message) => {
            // None of these comes by a ring; an entry without an answer would be lost.
            debug!(?message, "came by the ring");
            let unique = slot.in_header().map_or(0, |header| header.unique);
            encode_done(unique, head);
            return fill(slot, head);
        }
        Err(malformed) => {
            malformed.report();
            encode_error(malformed.unique.unwrap_or(0), Errno::IO, head);
            return fill(slot, head);
        }
    };
    let route = service.shown.route(question.request.node);
    if wait == Wait::Refuse && route.may_wait(&question.request) {
        return false;
    }
    let (unique, node) = (question.unique, question.request.node);
    let answer = route.answer(&question.request);
    let answer = answer.map(|reply| service.statistics.watch(reply));
    let data = encode(&question, answer, route.timeout().into(), head);
    let Some(data) = data else {
        encode_done(unique, head);
        return fill(slot, head);
    };
    if wait == Wait::Refuse && !data.iter().all(is_at_hand) {
        return false;
    }
    if let Err(errno) = slot.fill(head, &data) {
        error!("{}: answer with contents: {errno}", route.describe(node));
        encode_error(unique, Errno::IO, head);
        return fill(slot, head);
    }
    true
}

fn fill(slot: &mut Slot<'_>, head: &[u8]) -> bool {
    if let Err(errno) = slot.fill(head, &[]) {
        error!("answer by the ring: {errno}");
    }
    true
}

/// Binds the calling thread to those of the CPUs that it may run on.
fn bind(cpus: &[usize]) {
    let bound = sched_getaffinity(None).and_then(|allowed| {
        let mut set = CpuSet::new();
        for cpu in cpus {
            if allowed.is_set(*cpu) {
                set.set(*cpu);
            }
        }
        if set.count() == 0 {
            return Ok(());
        }
        sched_setaffinity(None, &set)
    });
    if let Err(errno) = bound {
        debug!("bind a thread to its CPUs: {errno}");
    }
}

//! The loop of one thread: take a message, let the tree answer it, send the answer.
//!
//! Between two messages the watch may poll for a moment before it sleeps; whether it
//! does is a matter of [`Pace`]. Nothing runs when nothing is asked.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use memmap2::MmapMut;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tracing::{debug, error};

use super::abi::opcode;
use super::company::{Caller, Company};
use super::crew::{Crew, Duty, Watch};
use super::decode::{Message, caller_of, decode, opcode_of};
use super::device::{Device, Sent, Taken};
use super::encode::{encode, encode_done, encode_error};
use super::pace::Pace;
use super::statistics::Statistics;
use crate::{Segment, Shown, sys};

/// Messages in a row without a pause after which the watch calls a helper.
const BACKLOG: u32 = 2;

/// What the threads of one session share.
#[derive(Debug)]
pub(crate) struct Service<'s> {
    pub(crate) shown: &'s Shown,
    pub(crate) crew: &'s Crew,
    /// Where a companion pays.
    pub(crate) company: Option<&'s Company>,
    pub(crate) statistics: &'s Statistics,
    /// The descriptor of the session.
    pub(crate) session: BorrowedFd<'s>,
    /// Readable once the session is over.
    pub(crate) over: BorrowedFd<'s>,
    /// How long the watch polls before it sleeps.
    pub(crate) patience: Duration,
    /// The bytes that one read of the device must have room for.
    pub(crate) buffer: usize,
}

/// One thread of a session.
#[derive(Debug)]
pub(crate) struct Server<'s> {
    service: &'s Service<'s>,
    device: Device,
    /// Pages of an anonymous map: those that no message reached cost no memory.
    buffer: MmapMut,
    head: Vec<u8>,
    pace: Pace,
    caller: Caller<'s>,
}

/// What answering one message means for the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stay,
    /// The watch is another's, because the answer had to wait for a disk.
    WatchIsGiven,
    Leave,
}

impl<'s> Server<'s> {
    pub(crate) fn new(service: &'s Service<'s>, device: Device) -> Result<Self, Errno> {
        let buffer = MmapMut::map_anon(service.buffer)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOMEM))?;
        Ok(Self {
            service,
            device,
            buffer,
            head: Vec::new(),
            pace: Pace::new(service.patience, Instant::now()),
            caller: Caller::new(service.company),
        })
    }

    /// Serves until the session is over; the end of one thread is the end of all.
    pub(crate) fn run(mut self) -> Result<(), Errno> {
        let _dismissal = Dismissal(self.service.crew);
        loop {
            let next = match self.service.crew.next_duty() {
                Duty::Watch(watch) => self.watch(watch)?,
                Duty::Help => self.help()?,
                Duty::Leave => Next::Leave,
            };
            let next = match next {
                Next::WatchIsGiven => self.help()?,
                other => other,
            };
            if next == Next::Leave {
                return Ok(());
            }
        }
    }

    /// Answers what is there; returns whether the session is over.
    pub(crate) fn take_all(&mut self) -> Result<bool, Errno> {
        loop {
            match self.device.take(&mut self.buffer)? {
                Taken::Message(length) => {
                    if self.attend(length, None, Instant::now())? == Next::Leave {
                        return Ok(true);
                    }
                }
                Taken::Nothing => return Ok(false),
                Taken::Gone => return Ok(true),
            }
        }
    }

    fn watch(&mut self, mut watch: Watch) -> Result<Next, Errno> {
        let mut in_a_row = 0;
        loop {
            let taken = match self.device.take(&mut self.buffer)? {
                Taken::Nothing => {
                    in_a_row = 0;
                    self.poll_for_a_moment()?
                }
                taken => {
                    in_a_row += u32::from(self.is_asked(taken));
                    taken
                }
            };
            if in_a_row > BACKLOG {
                in_a_row = 0;
                self.service.crew.call_help();
            }
            let next = match taken {
                Taken::Message(length) => {
                    let now = Instant::now();
                    self.pace.request(now);
                    let caller = self.buffer.get(..length).and_then(caller_of);
                    self.caller.request(now, caller.unwrap_or(0));
                    self.service.crew.begin_answer(&mut watch);
                    match self.attend(length, Some(&mut watch), now)? {
                        Next::Stay if !self.service.crew.end_answer(&mut watch) => {
                            Next::WatchIsGiven
                        }
                        next => next,
                    }
                }
                Taken::Nothing => self.sleep()?,
                Taken::Gone => Next::Leave,
            };
            if next != Next::Stay {
                return Ok(next);
            }
        }
    }

    /// Returns whether somebody waits for the answer to what was taken.
    fn is_asked(&self, taken: Taken) -> bool {
        let Taken::Message(length) = taken else {
            return false;
        };
        let opcode = self.buffer.get(..length).and_then(opcode_of);
        !matches!(opcode, Some(opcode::FORGET | opcode::BATCH_FORGET))
    }

    fn help(&mut self) -> Result<Next, Errno> {
        let is_over = self.take_all()?;
        Ok(if is_over { Next::Leave } else { Next::Stay })
    }

    fn poll_for_a_moment(&mut self) -> Result<Taken, Errno> {
        let patience = self.pace.patience();
        if patience.is_zero() {
            return Ok(Taken::Nothing);
        }
        let start = Instant::now();
        while start.elapsed() < patience {
            let taken = self.device.take(&mut self.buffer)?;
            if taken != Taken::Nothing {
                return Ok(taken);
            }
            std::hint::spin_loop();
        }
        Ok(Taken::Nothing)
    }

    fn sleep(&self) -> Result<Next, Errno> {
        let mut descriptors = [
            PollFd::new(&self.device, PollFlags::IN),
            PollFd::from_borrowed_fd(self.service.over, PollFlags::IN),
        ];
        match poll(&mut descriptors, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let [_, over] = descriptors;
        Ok(if over.revents().is_empty() {
            Next::Stay
        } else {
            Next::Leave
        })
    }

    /// Answers a message that was taken at `start`.
    fn attend(
        &mut self,
        length: usize,
        watch: Option<&mut Watch>,
        start: Instant,
    ) -> Result<Next, Errno> {
        let opcode = self.buffer.get(..length).and_then(opcode_of).unwrap_or(0);
        self.service.statistics.count(opcode);
        let next = self.answer(length, watch);
        self.service.statistics.took(opcode, start.elapsed());
        next
    }

    fn answer(&mut self, length: usize, mut watch: Option<&mut Watch>) -> Result<Next, Errno> {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let question = match decode(bytes) {
            Ok(Message::Ask(question)) => question,
            Ok(Message::Forget(nodes)) => {
                for request in nodes {
                    if let Err(error) = self.service.shown.route(request.node).answer(&request) {
                        debug!(node = request.node.0, "forget: {error}");
                    }
                }
                return Ok(Next::Stay);
            }
            // An answer of ENOSYS to the first is taken as "never": the kernel then waits
            // for answers, all of which come soon.
            Ok(Message::Interrupt { unique }) => return refuse(&self.device, unique, Errno::NOSYS),
            Ok(Message::Destroy { unique }) => {
                encode_done(unique, &mut self.head);
                self.device.send(&self.head, &[])?;
                return Ok(Next::Leave);
            }
            Err(malformed) => {
                malformed.report();
                return match malformed.unique {
                    Some(unique) => refuse(&self.device, unique, Errno::IO),
                    None => Ok(Next::Stay),
                };
            }
        };
        let route = self.service.shown.route(question.request.node);
        let crew = self.service.crew;
        let mut next = Next::Stay;
        if let Some(watch) = watch.take_if(|_| route.may_wait(&question.request)) {
            crew.hand_over(watch);
            next = Next::WatchIsGiven;
        }
        let answer = route.answer(&question.request);
        let answer = answer.map(|reply| self.service.statistics.watch(reply));
        let Some(data) = encode(&question, answer, route.timeout().into(), &mut self.head) else {
            return Ok(next);
        };
        if let Some(watch) = watch.take_if(|_| !data.iter().all(is_at_hand)) {
            crew.hand_over(watch);
            next = Next::WatchIsGiven;
        }
        match self.device.send(&self.head, &data)? {
            Sent::Done => Ok(next),
            Sent::Gone => Ok(Next::Leave),
            Sent::Unreadable => {
                error!(
                    "{}: data is shorter than the index says",
                    route.describe(question.request.node)
                );
                refuse(&self.device, question.unique, Errno::IO)?;
                Ok(next)
            }
        }
    }
}

/// Sends the other threads away when one ends, however it ends.
struct Dismissal<'s>(&'s Crew);

impl Drop for Dismissal<'_> {
    fn drop(&mut self) {
        self.0.dismiss();
    }
}

fn refuse(device: &Device, unique: u64, errno: Errno) -> Result<Next, Errno> {
    let mut head = Vec::new();
    encode_error(unique, errno, &mut head);
    device.send(&head, &[])?;
    Ok(Next::Stay)
}

/// Returns whether sending the segment waits for no disk.
pub(crate) fn is_at_hand(segment: &Segment<'_>) -> bool {
    match segment {
        Segment::Mapped(bytes) => sys::is_resident(bytes),
        Segment::Owned(_) | Segment::Zeros(_) => true,
    }
}

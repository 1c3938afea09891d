//! An `io_uring` whose commands lend buffers to the FUSE driver and get them back.
//!
//! A buffer that the kernel has is out of reach until its completion: it lies in the ring
//! itself meanwhile.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;
use zerocopy::{Immutable, IntoBytes};

use crate::kernel::abi::{RING_COMMIT_AND_FETCH, RING_REGISTER, RingCommand};
use crate::kernel::ring::Slot;

/// `IORING_OP_URING_CMD` of `io_uring.h`.
const URING_CMD: u8 = 46;

/// Marks completions that belong to no slot.
const WATCHED: u64 = 1 << 63;

/// A ring that no thread has taken yet.
pub(crate) struct IdleRing(IoUring<squeue::Entry128>);

/// The ring of one thread.
pub(crate) struct CommandRing<'m> {
    /// Dropped first: a ring that is closed writes to no buffer any more.
    ring: IoUring<squeue::Entry128>,
    device: BorrowedFd<'m>,
    /// What the kernel has, by number.
    lent: Vec<Option<Slot<'m>>>,
    /// The `struct iovec` pairs of registrations, which the kernel reads at submission.
    vectors: Box<[[usize; 4]]>,
}

/// What came back.
pub(crate) enum Completion<'m> {
    /// A slot, with a request if the result is good.
    Slot(Slot<'m>, Result<(), Errno>),
    /// A descriptor of [`CommandRing::watch`] is ready.
    Ready(u32),
}

/// `struct io_uring_sqe` with `IORING_SETUP_SQE128`, as commands use it. The crate's own
/// command has no place for `len`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Submission {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    cmd_op: u32,
    pad1: u32,
    addr: u64,
    len: u32,
    uring_cmd_flags: u32,
    user_data: u64,
    buf_index: u16,
    personality: u16,
    file_index: u32,
    cmd: [u8; 80],
}

impl IdleRing {
    /// Makes a ring for so many submissions at once.
    pub(crate) fn new(entries: u32) -> Result<Self, Errno> {
        IoUring::builder()
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(entries)
            .map(Self)
            .map_err(|error| errno(&error))
    }
}

impl<'m> CommandRing<'m> {
    /// Makes the ring that of the calling thread, which alone may use it.
    pub(crate) fn start(
        idle: IdleRing,
        device: BorrowedFd<'m>,
        slots: usize,
    ) -> Result<Self, Errno> {
        let ring = idle.0;
        ring.submitter()
            .register_enable_rings()
            .map_err(|error| errno(&error))?;
        ring.submitter()
            .register_files(&[device.as_raw_fd()])
            .map_err(|error| errno(&error))?;
        Ok(Self {
            ring,
            device,
            lent: (0..slots).map(|_| None).collect(),
            vectors: vec![[0; 4]; slots].into_boxed_slice(),
        })
    }

    /// Gives a slot to the kernel for the first time. `false` if it has no place.
    pub(crate) fn register(&mut self, mut slot: Slot<'m>) -> bool {
        let number = slot.number();
        let Some(vectors) = self.vectors.get_mut(number) else {
            return false;
        };
        *vectors = slot.addresses();
        let addr = vectors.as_ptr().expose_provenance() as u64;
        let command = RingCommand {
            qid: slot.queue(),
            ..RingCommand::default()
        };
        self.lend(slot, RING_REGISTER, command, (addr, 2))
    }

    /// Gives a slot to the kernel with the answer in it. `false` if it has no place.
    pub(crate) fn commit(&mut self, slot: Slot<'m>) -> bool {
        let command = RingCommand {
            qid: slot.queue(),
            commit_id: slot.commit_id(),
            ..RingCommand::default()
        };
        self.lend(slot, RING_COMMIT_AND_FETCH, command, (0, 0))
    }

    /// Has a completion come once the descriptor is readable.
    pub(crate) fn watch(&mut self, descriptor: BorrowedFd<'m>, token: u32) -> bool {
        let poll = opcode::PollAdd::new(types::Fd(descriptor.as_raw_fd()), libc::POLLIN as u32);
        let entry = poll.build().user_data(WATCHED | u64::from(token));
        self.push(&entry.into())
    }

    /// Submits what was pushed, and waits for a completion if `wait`, at most so long.
    pub(crate) fn enter(&mut self, wait: bool, limit: Option<Duration>) -> Result<(), Errno> {
        let entered = match limit {
            Some(limit) if wait => {
                let limit = types::Timespec::from(limit);
                let args = types::SubmitArgs::new().timespec(&limit);
                self.ring.submitter().submit_with_args(1, &args)
            }
            _ => self.ring.submit_and_wait(usize::from(wait)),
        };
        match entered.map_err(|error| errno(&error)) {
            // ETIME: nothing came in time.
            Ok(_) | Err(Errno::INTR | Errno::TIME) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Returns the next completion that is there.
    pub(crate) fn next(&mut self) -> Option<Completion<'m>> {
        loop {
            let entry: cqueue::Entry = self.ring.completion().next()?;
            let data = entry.user_data();
            if data & WATCHED != 0 {
                return Some(Completion::Ready(u32::try_from(data & !WATCHED).ok()?));
            }
            let lent = usize::try_from(data)
                .ok()
                .and_then(|number| self.lent.get_mut(number));
            if let Some(slot) = lent.and_then(Option::take) {
                let result = match entry.result() {
                    0.. => Ok(()),
                    error => Err(Errno::from_raw_os_error(-error)),
                };
                return Some(Completion::Slot(slot, result));
            }
        }
    }

    /// Returns whether the kernel has this slot.
    pub(crate) fn has(&self, number: usize) -> bool {
        matches!(self.lent.get(number), Some(Some(_)))
    }

    /// Returns whether a completion is there.
    pub(crate) fn has_more(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    fn lend(
        &mut self,
        slot: Slot<'m>,
        cmd_op: u32,
        command: RingCommand,
        (addr, len): (u64, u32),
    ) -> bool {
        let number = slot.number();
        let mut cmd = [0; 80];
        for (to, from) in cmd.iter_mut().zip(command.as_bytes()) {
            *to = *from;
        }
        let submission = Submission {
            opcode: URING_CMD,
            flags: squeue::Flags::FIXED_FILE.bits(),
            ioprio: 0,
            fd: 0,
            cmd_op,
            pad1: 0,
            addr,
            len,
            uring_cmd_flags: 0,
            user_data: number as u64,
            buf_index: 0,
            personality: 0,
            file_index: 0,
            cmd,
        };
        // SAFETY: `Entry128` is a `repr(C)` structure of integers for which all bytes are
        // good, and what is pushed is such an entry of the kernel's, which has this layout.
        let entry = unsafe { mem::transmute::<Submission, squeue::Entry128>(submission) };
        match self.lent.get_mut(number) {
            Some(place @ None) => *place = Some(slot),
            _ => return false,
        }
        self.push(&entry)
    }

    fn push(&mut self, entry: &squeue::Entry128) -> bool {
        loop {
            // SAFETY: what the entry points to outlives the operation. Descriptors and slots
            // are borrowed for longer than the ring lives, and the vectors are its own; a
            // slot is not touched before its completion, since it lies in `lent` until then.
            // The kernel writes to slots only while this thread is in `enter`
            // (`DEFER_TASKRUN`), so not after the ring is closed either.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return true;
            }
            if self.ring.submit().is_err() {
                return false;
            }
        }
    }
}

impl std::fmt::Debug for IdleRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdleRing")
    }
}

impl std::fmt::Debug for CommandRing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandRing")
            .field("device", &self.device)
            .field("slots", &self.lent.len())
            .finish_non_exhaustive()
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

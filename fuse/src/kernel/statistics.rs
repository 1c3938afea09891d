//! Counts of what the kernel asked, and of the time that answers took.
//!
//! They lie in a file in memory, so that another process can read them at any time, also
//! while this one waits for something: whoever may open `/proc/<pid>/fd/<descriptor>` has
//! them ([`Counts::read`]). Nobody can change the size of the file, and nothing is trusted
//! that is read from it here but numbers.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::abi::opcode;
use crate::sys::Counters;
use crate::{Listing, Reply};

/// One more than the highest opcode that is counted by itself; what is beyond is counted as
/// opcode 0, which no request has.
const OPCODES: usize = 64;

/// The first number of the file; what follows depends on it.
const MAGIC: u64 = u64::from_be_bytes(*b"mica-st1");

/// Where entries that were given ahead are counted, and where the opcodes begin.
const AHEAD: usize = 1;
const FIRST: usize = 2;

/// The numbers of an opcode: messages, and nanoseconds.
const EACH: usize = 2;

const NUMBERS: usize = FIRST + OPCODES * EACH;

/// The counts of one session, as they grow.
pub struct Statistics {
    memory: OwnedFd,
    counters: Counters,
}

/// What was counted until a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that came with their nodes in listings: look-ups that need not be asked.
    pub given_ahead: u64,
    /// The requests, by opcode; none that never came.
    pub requests: Vec<RequestCounts>,
}

/// What was counted of one opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCounts {
    /// The opcode of the kernel's `fuse.h`; 0 for all that are unknown.
    pub opcode: u32,
    /// Messages that came, those without an answer included.
    pub messages: u64,
    /// From taking them to giving the kernel the answers, all together.
    pub time: Duration,
}

impl RequestCounts {
    /// Returns the name of the opcode, as in `fuse.h` but in small letters.
    pub fn name(&self) -> &'static str {
        opcode::name(self.opcode)
    }

    /// Returns how long one message took.
    pub fn mean(&self) -> Duration {
        let nanoseconds = self.time.as_nanos() / u128::from(self.messages.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Counts {
    /// Reads what another process counts.
    ///
    /// `InvalidData` if the file is not one of counts, or of another version.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; NUMBERS * size_of::<u64>()];
        file.read_exact_at(&mut bytes, 0)?;
        let (numbers, _) = bytes.as_chunks();
        let mut numbers = numbers.iter().map(|number| u64::from_ne_bytes(*number));
        if numbers.next() != Some(MAGIC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self::of(numbers))
    }

    /// Takes the numbers that follow the first.
    fn of(mut numbers: impl Iterator<Item = u64>) -> Self {
        let given_ahead = numbers.next().unwrap_or(0);
        let mut requests = Vec::new();
        for opcode in 0.. {
            let (Some(messages), Some(time)) = (numbers.next(), numbers.next()) else {
                break;
            };
            if messages > 0 {
                requests.push(RequestCounts {
                    opcode,
                    messages,
                    time: Duration::from_nanos(time),
                });
            }
        }
        Self {
            given_ahead,
            requests,
        }
    }
}

impl Statistics {
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("mica-statistics", flags)?;
        rustix::fs::ftruncate(&memory, (NUMBERS * size_of::<u64>()) as u64)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let counters = Counters::map(memory.as_fd(), NUMBERS)?;
        if let Some(first) = counters.first() {
            first.store(MAGIC, Ordering::Relaxed);
        }
        Ok(Self { memory, counters })
    }

    /// Returns the file that [`Counts::read`] understands.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Returns what was counted until now.
    pub fn counts(&self) -> Counts {
        let numbers = self.counters.iter().skip(1);
        Counts::of(numbers.map(|number| number.load(Ordering::Relaxed)))
    }

    /// Returns how many messages with this opcode of `fuse.h` were read.
    pub fn messages(&self, opcode: u32) -> u64 {
        self.counter(place(opcode))
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Returns how many messages were read, those without an answer included.
    pub fn total(&self) -> u64 {
        let counts = self.counts();
        counts.requests.iter().map(|one| one.messages).sum()
    }

    pub(crate) fn count(&self, opcode: u32) {
        self.add(place(opcode), 1);
    }

    /// Takes note of how long a counted message took.
    pub(crate) fn took(&self, opcode: u32, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.add(place(opcode) + 1, nanoseconds);
    }

    /// Has the entries counted that come with their nodes when a listing is taken.
    pub(crate) fn watch<'r>(&'r self, reply: Reply<'r>) -> Reply<'r> {
        let Reply::Listing(listing) = reply else {
            return reply;
        };
        let Listing { entries, give_back } = listing;
        Reply::Listing(Listing {
            entries: Box::new(entries.inspect(|entry| {
                if entry.as_ref().is_ok_and(|entry| entry.entry.is_some()) {
                    self.add(AHEAD, 1);
                }
            })),
            give_back: Box::new(move |entry| {
                self.add(AHEAD, 1_u64.wrapping_neg());
                give_back(entry);
            }),
        })
    }

    fn add(&self, place: usize, number: u64) {
        if let Some(counter) = self.counter(place) {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    fn counter(&self, place: usize) -> Option<&AtomicU64> {
        self.counters.get(place)
    }
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts().fmt(f)
    }
}

/// Returns where messages with this opcode are counted; their time is next to it.
fn place(opcode: u32) -> usize {
    let known = (opcode as usize) < OPCODES;
    FIRST + if known { opcode as usize * EACH } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_can_be_read_by_whoever_has_the_file() {
        let statistics = Statistics::new().unwrap();
        for (opcode, micros) in [(opcode::LOOKUP, 3), (opcode::LOOKUP, 5), (9_999, 1)] {
            statistics.count(opcode);
            statistics.took(opcode, Duration::from_micros(micros));
        }
        let file = File::from(rustix::io::dup(statistics.descriptor()).unwrap());
        let counts = Counts::read(&file).unwrap();
        assert_eq!(counts, statistics.counts());
        let seen: Vec<_> = counts
            .requests
            .iter()
            .map(|one| (one.name(), one.messages, one.mean().as_micros()))
            .collect();
        assert_eq!(seen, [("unknown", 1, 1), ("lookup", 2, 4)]);
        assert_eq!(statistics.total(), 3);
    }

    #[test]
    fn nobody_can_cut_the_file_short() {
        let statistics = Statistics::new().unwrap();
        let outcome = rustix::fs::ftruncate(statistics.descriptor(), 0);
        assert_eq!(outcome, Err(Errno::PERM));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for (content, kind) in [
            (vec![0; 4096], io::ErrorKind::InvalidData),
            (vec![0; 10], io::ErrorKind::UnexpectedEof),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = Counts::read(&File::open(&path).unwrap()).unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }
}

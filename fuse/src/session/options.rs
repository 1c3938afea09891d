//! How a view is mounted and served.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::Access;
use crate::kernel::company::Company;

/// Most threads without being asked for more.
const THREADS: usize = 4;

/// How a view is mounted and served.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a mount option of its own"
)]
pub struct MountOptions {
    /// The source of the mount in `/proc/mounts`.
    pub source: String,
    /// Who checks permissions.
    pub access: Access,
    /// Whether other users than the one who mounts may enter.
    pub allow_other: bool,
    /// Whether set-user-ID bits and file capabilities have effect.
    pub suid: bool,
    /// Whether device nodes can be opened.
    pub dev: bool,
    /// Whether the mount point may have entries, which the mount then hides.
    pub allow_nonempty: bool,
    /// Threads that serve; by default as many as CPUs, two to four.
    pub threads: Option<NonZeroUsize>,
    /// How long a thread polls for the next request before it sleeps.
    pub patience: Duration,
}

impl MountOptions {
    /// How long a thread polls by default: callers that go through a tree ask again
    /// within a few microseconds, and one that works in between is worth one wake-up.
    pub const PATIENCE: Duration = Duration::from_micros(100);

    /// Returns what suits the access mode: everybody, set-user-ID and devices where the
    /// kernel checks modes, as a directory of root's would; otherwise nothing of these.
    pub fn new(source: impl Into<String>, access: Access) -> Self {
        let is_enforced = matches!(access, Access::Enforce);
        Self {
            source: source.into(),
            access,
            allow_other: is_enforced,
            suid: is_enforced,
            dev: is_enforced,
            allow_nonempty: false,
            threads: None,
            patience: Self::PATIENCE,
        }
    }

    pub(crate) fn effective_threads(&self) -> usize {
        self.threads
            .map_or_else(|| cpus().clamp(2, THREADS), NonZeroUsize::get)
    }

    /// Returns how long the watch may poll: on a single CPU the caller could not ask
    /// meanwhile, and on two a companion serves better.
    pub(crate) fn effective_patience(&self) -> Duration {
        if cpus() <= 2 {
            Duration::ZERO
        } else {
            self.patience
        }
    }

    /// Returns the company of the threads that serve, where there are two CPUs to share.
    pub(crate) fn company(&self) -> Option<Company> {
        if self.patience.is_zero() {
            return None;
        }
        let allowed = sched_getaffinity(None).ok()?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        match (cpus.next(), cpus.next(), cpus.next()) {
            (Some(one), Some(other), None) => Some(Company::new([one, other])),
            _ => None,
        }
    }
}

fn cpus() -> usize {
    // The count can be unknown under odd limits; then nothing is known to run beside.
    available_parallelism().map_or(1, NonZeroUsize::get)
}

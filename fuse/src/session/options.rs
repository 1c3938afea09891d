//! How a view is mounted and served.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity};
use tracing::debug;

use crate::Access;
use crate::kernel::company::Company;
use crate::kernel::ring::Rings;

/// Most threads of a read-only mount without being asked for more.
const THREADS: usize = 4;

/// Threads of a writable mount: while some copy files up, others must be there to answer.
const WRITABLE_THREADS: usize = 8;

/// The subtype of the file system without being asked for another.
pub(crate) const SUBTYPE: &str = "mica";

/// How requests come from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// As suits most on this machine.
    #[default]
    Auto,
    /// FUSE over `io_uring`, served on the CPU that asks. Linux has it from 6.14 on, where
    /// the parameter `enable_uring` of its module says so; otherwise as with `Poll`.
    Ring,
    /// From `/dev/fuse`, with the server kept awake during runs of requests.
    Poll,
    /// From `/dev/fuse`, asleep until a request comes.
    Block,
}

/// Where the contents of a writable mount's files are cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// In the kernel, for reading: a write is answered when the tree has it.
    #[default]
    Through,
    /// In the kernel, for writing too: the tree gets what was written later.
    Writeback,
    /// With the file behind: the kernel reads and writes by itself what the tree registers,
    /// and all else as with `Through`. The process needs `CAP_SYS_ADMIN` in the first user
    /// namespace, and without it all is as with `Through`.
    Passthrough,
}

impl CacheMode {
    /// Returns the mode in which this process serves fastest: the kernel takes files to
    /// read and write by itself only from root of the first user namespace.
    pub fn best_for_process() -> Self {
        let is_first = std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
        if is_first && rustix::process::geteuid().is_root() {
            Self::Passthrough
        } else {
            Self::Writeback
        }
    }
}

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
    /// Whether programs can be run.
    pub exec: bool,
    /// Whether the mount point may have entries, which the mount then hides.
    pub allow_nonempty: bool,
    /// Whether a tree that takes changes gets them; otherwise the kernel refuses them all.
    pub writable: bool,
    /// Where the contents of files are cached, if the mount is writable.
    pub cache: CacheMode,
    /// Whether access control lists have effect, where the kernel checks modes.
    pub acl: bool,
    /// Whether the mount says of itself that reading changes no access time. It does not
    /// either way.
    pub noatime: bool,
    /// What comes after `fuse.` in the type of the file system in `/proc/mounts`.
    pub subtype: String,
    /// Threads that serve; by default eight if the mount is writable, otherwise as many as
    /// CPUs, two to four.
    pub threads: Option<NonZeroUsize>,
    /// How requests come.
    pub transport: Transport,
    /// Whether another process is to go on when this one is gone
    /// ([`Session::handover`](super::Session::handover)). Requests then come by one
    /// descriptor and by no ring.
    pub held: bool,
}

/// `Ring` is faster where much is written, but for reading it is not, and archives of cold files
/// take longer by it.
const AUTO: Transport = Transport::Poll;

/// How long a thread polls before it sleeps: callers that go through a tree ask again within
/// a few microseconds, and one that works in between is worth one wake-up.
const PATIENCE: Duration = Duration::from_micros(100);

impl MountOptions {
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
            exec: true,
            allow_nonempty: false,
            writable: false,
            cache: CacheMode::default(),
            acl: true,
            noatime: false,
            subtype: SUBTYPE.to_owned(),
            threads: None,
            transport: Transport::default(),
            held: false,
        }
    }

    pub(crate) fn effective_threads(&self) -> usize {
        match self.threads {
            Some(threads) => threads.get(),
            None if self.writable => WRITABLE_THREADS,
            None => cpus().clamp(2, THREADS),
        }
    }

    /// Returns the type of the file system as `/proc/mounts` shows it.
    pub fn file_system_type(&self) -> String {
        format!("fuse.{}", self.subtype())
    }

    pub(crate) fn subtype(&self) -> String {
        option_value(&self.subtype)
    }

    /// Returns the source as `/proc/mounts` shows it.
    pub(crate) fn source(&self) -> String {
        option_value(&self.source)
    }

    /// Returns how long the watch may poll: on a single CPU the caller could not ask
    /// meanwhile, and on two a companion serves better.
    pub(crate) fn patience(&self) -> Duration {
        if cpus() <= 2 || self.transport == Transport::Block {
            Duration::ZERO
        } else {
            PATIENCE
        }
    }

    /// Returns what it takes to be asked by rings, where that is to be and may be.
    pub(crate) fn rings(&self, payload: usize) -> Option<Rings> {
        let is_wanted = match self.transport {
            Transport::Auto => AUTO == Transport::Ring,
            asked => asked == Transport::Ring,
        };
        if !is_wanted || self.held {
            return None;
        }
        Rings::new(payload)
            .inspect_err(|errno| debug!("make rings: {errno}"))
            .ok()
    }

    /// Returns the company of the threads that serve, where there are two CPUs to share.
    pub(crate) fn company(&self) -> Option<Company> {
        if self.transport == Transport::Block {
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

/// Returns the text as it can stand in a mount option: the helper splits them at commas, and
/// the kernel takes no NUL.
fn option_value(text: &str) -> String {
    let value = text.replace([',', '\\', '\0'], "_");
    if value.is_empty() {
        SUBTYPE.to_owned()
    } else {
        value
    }
}

fn cpus() -> usize {
    // The count can be unknown under odd limits; then nothing is known to run beside.
    available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::FILE_SYSTEM_TYPE;

    #[test]
    fn the_type_of_the_file_system_is_one_mount_option() {
        let cases = [
            (SUBTYPE, FILE_SYSTEM_TYPE),
            ("fuse-overlayfs", "fuse.fuse-overlayfs"),
            ("a,suid\\", "fuse.a_suid_"),
            ("", FILE_SYSTEM_TYPE),
        ];
        for (subtype, expected) in cases {
            let mut options = MountOptions::new("source", Access::Owner);
            options.subtype = subtype.to_owned();
            assert_eq!(options.file_system_type(), expected, "{subtype}");
        }
    }

    #[test]
    fn a_writable_mount_has_threads_to_spare() {
        let mut options = MountOptions::new("source", Access::Owner);
        assert!(options.effective_threads() <= THREADS);
        options.writable = true;
        assert_eq!(options.effective_threads(), WRITABLE_THREADS);
        options.threads = NonZeroUsize::new(3);
        assert_eq!(options.effective_threads(), 3, "asked for");
    }
}

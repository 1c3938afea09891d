//! The mount and the answer to INIT, both by fuser; nothing of fuser lives longer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use fuser::{Config, Filesystem, InitFlags, KernelConfig, MountOption, Request, SessionACL};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::{CacheMode, MountError, MountOptions};
use crate::{Access, sys};

/// What INIT says of the largest write, in bytes. The largest read and the largest listing
/// follow from it too (fuser derives `max_pages` from it), and so does the size of each
/// buffer for messages, whose pages beyond the first only a write touches.
pub(crate) const MAX_WRITE: u32 = 1024 * 1024;

/// Requests that nobody waits for, read-ahead above all, that may be under way at once.
const MAX_BACKGROUND: u16 = 64;

/// How many file systems may be stacked if the kernel passes through to the files behind
/// ours: they must not be stacked themselves.
const STACK_DEPTH: u32 = 1;

/// What was agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// The descriptor of the session.
    pub(crate) descriptor: OwnedFd,
    /// Whether requests come by rings once the kernel has them.
    pub(crate) rings: bool,
}

/// Answers INIT and nothing else.
struct Handshake {
    /// What is asked for where the kernel offers it.
    capabilities: InitFlags,
    /// What must be offered.
    required: InitFlags,
    /// What was offered.
    offered: Arc<OnceLock<InitFlags>>,
}

impl Filesystem for Handshake {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let offered = config.capabilities();
        self.offered.get_or_init(|| offered);
        let unsupported = |_| io::Error::from(Errno::OPNOTSUPP);
        config
            .add_capabilities(self.capabilities & offered | self.required)
            .map_err(unsupported)?;
        if self.capabilities.contains(InitFlags::FUSE_PASSTHROUGH) {
            config
                .set_max_stack_depth(STACK_DEPTH)
                .map_err(|_| io::ErrorKind::InvalidInput)?;
        }
        config
            .set_max_write(MAX_WRITE)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        config
            .set_max_background(MAX_BACKGROUND)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(())
    }
}

/// Mounts at `point` and answers INIT; asks for rings if there are any.
pub(crate) fn mount(
    point: &Path,
    options: &MountOptions,
    has_xattrs: bool,
    has_rings: bool,
) -> Result<Agreed, MountError> {
    occupy_standard_descriptors().map_err(MountError::system("open", Path::new("/dev/null")))?;
    find_device()?;
    let rings = if has_rings {
        InitFlags::FUSE_OVER_IO_URING
    } else {
        InitFlags::empty()
    };
    let offered = Arc::default();
    let handshake = Handshake {
        capabilities: capabilities(options, has_xattrs) | rings,
        required: required(options),
        offered: Arc::clone(&offered),
    };
    let session = fuser::Session::new(handshake, point, &config(options))
        .map_err(|error| explain(error, point))?;
    let descriptor =
        take_over(&session).map_err(MountError::system("take over the descriptor of", point))?;
    let offered = offered.get().copied().unwrap_or(InitFlags::empty());
    Ok(Agreed {
        descriptor,
        rings: offered.intersects(rings),
    })
}

/// Returns a descriptor of our own, and makes fuser's one that looks unmounted to it, so
/// that it leaves the mount alone when its session is dropped. Its own unmount would go
/// by the path and could hit what somebody else mounted there later.
fn take_over(session: &fuser::Session<Handshake>) -> rustix::io::Result<OwnedFd> {
    let own = rustix::io::fcntl_dupfd_cloexec(session, 3)?;
    // fuser 0.18 takes a device for mounted when it polls as nothing or as POLLERR
    // (`mnt::is_mounted`). A pipe without a writer polls as POLLHUP.
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    drop(writer);
    sys::replace_descriptor(session.as_fd(), reader.as_fd())?;
    Ok(own)
}

/// Returns what the kernel is asked for, where it offers it.
fn capabilities(options: &MountOptions, has_xattrs: bool) -> InitFlags {
    let mut flags = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_NO_OPENDIR_SUPPORT
        | InitFlags::FUSE_EXPLICIT_INVAL_DATA
        | InitFlags::FUSE_MAX_PAGES
        | InitFlags::FUSE_NO_EXPORT_SUPPORT
        // The decoder knows this form of SETXATTR only.
        | InitFlags::FUSE_SETXATTR_EXT;
    // With POSIX ACLs the kernel checks modes, whatever the mount options say
    // (`process_init_reply`), which is not what an owner's view is for.
    if has_xattrs && options.acl && matches!(options.access, Access::Enforce) {
        flags |= InitFlags::FUSE_POSIX_ACL;
    }
    if options.writable {
        flags |= writing(options.cache);
    } else {
        flags |= InitFlags::FUSE_NO_OPEN_SUPPORT;
    }
    flags
}

/// Returns what the kernel is asked for if there are changes. Locks stay its own, which it
/// keeps where nobody else is asked.
fn writing(cache: CacheMode) -> InitFlags {
    let flags = InitFlags::FUSE_ATOMIC_O_TRUNC
        | InitFlags::FUSE_BIG_WRITES
        | InitFlags::FUSE_DONT_MASK
        | InitFlags::FUSE_HAS_IOCTL_DIR
        | InitFlags::FUSE_HANDLE_KILLPRIV_V2;
    // The kernel refuses to write back and to pass through at once.
    match cache {
        CacheMode::Through => flags,
        CacheMode::Writeback => flags | InitFlags::FUSE_WRITEBACK_CACHE,
        CacheMode::Passthrough => flags | InitFlags::FUSE_PASSTHROUGH,
    }
}

/// Returns what a mount cannot do without. Old kernels lack it, and mount nevertheless
/// where nothing is set.
fn required(options: &MountOptions) -> InitFlags {
    if options.writable {
        InitFlags::FUSE_SETXATTR_EXT
    } else {
        InitFlags::empty()
    }
}

fn config(options: &MountOptions) -> Config {
    let mut mount_options = vec![
        if options.writable {
            MountOption::RW
        } else {
            MountOption::RO
        },
        MountOption::FSName(options.source()),
        // fuser drops its own `Subtype` where it mounts directly.
        MountOption::CUSTOM(format!("subtype={}", options.subtype())),
        if options.suid {
            MountOption::Suid
        } else {
            MountOption::NoSuid
        },
        if options.dev {
            MountOption::Dev
        } else {
            MountOption::NoDev
        },
    ];
    if matches!(options.access, Access::Enforce) {
        mount_options.push(MountOption::DefaultPermissions);
    }
    if !options.exec {
        mount_options.push(MountOption::NoExec);
    }
    if options.noatime {
        mount_options.push(MountOption::NoAtime);
    }
    let mut config = Config::default();
    config.mount_options = mount_options;
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config
}

/// fuser panics if `/dev/fuse` becomes one of the standard descriptors.
fn occupy_standard_descriptors() -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    loop {
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        if std::os::fd::AsRawFd::as_raw_fd(&null) > 2 {
            return Ok(());
        }
        // Stays open as the standard descriptor that was missing.
        std::mem::forget(null);
    }
}

/// Says what is wrong with `/dev/fuse` better than a failed mount would.
fn find_device() -> Result<(), MountError> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map(drop::<File>);
    device.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => MountError::NoDevice,
        Some(Errno::ACCESS | Errno::PERM) => MountError::DeviceRefused,
        errno => MountError::system("open", Path::new("/dev/fuse"))(errno.unwrap_or(Errno::IO)),
    })
}

/// fuser gives what the helper printed as the text of an error without an errno, and a
/// helper that is missing as "not found": the mount point and the device are there.
fn explain(error: io::Error, point: &Path) -> MountError {
    let point = point.to_path_buf();
    if error.kind() == io::ErrorKind::NotFound {
        return MountError::NoFusermount;
    }
    // Root needs no helper.
    if Errno::from_io_error(&error) == Some(Errno::ACCESS) && !rustix::process::geteuid().is_root()
    {
        return MountError::HelperRefused;
    }
    let message = error.to_string().trim().to_owned();
    if error.raw_os_error().is_none() && message.contains("fusermount") {
        return MountError::FusermountRefused { point, message };
    }
    MountError::Mount {
        point,
        source: error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is asked for with the changes that `change` makes to the usual options.
    fn asked(access: Access, change: impl FnOnce(&mut MountOptions)) -> InitFlags {
        let mut options = MountOptions::new("source", access);
        change(&mut options);
        capabilities(&options, true)
    }

    #[test]
    fn opens_and_masks_are_the_trees_own_if_it_is_writable() {
        let real = InitFlags::FUSE_DONT_MASK | InitFlags::FUSE_ATOMIC_O_TRUNC;
        let read_only = asked(Access::Enforce, |_| {});
        assert!(read_only.contains(InitFlags::FUSE_NO_OPEN_SUPPORT) && !read_only.intersects(real));
        let writable = asked(Access::Enforce, |options| options.writable = true);
        assert!(writable.contains(real) && !writable.contains(InitFlags::FUSE_NO_OPEN_SUPPORT));
        let locks = InitFlags::FUSE_POSIX_LOCKS | InitFlags::FUSE_FLOCK_LOCKS;
        assert!(!writable.intersects(locks), "the kernel's own");
    }

    #[test]
    fn writing_back_and_passing_through_exclude_each_other() {
        let (back, pass) = (InitFlags::FUSE_WRITEBACK_CACHE, InitFlags::FUSE_PASSTHROUGH);
        let cases = [
            (CacheMode::Through, true, InitFlags::empty()),
            (CacheMode::Writeback, true, back),
            (CacheMode::Passthrough, true, pass),
            (CacheMode::Writeback, false, InitFlags::empty()),
            (CacheMode::Passthrough, false, InitFlags::empty()),
        ];
        for (cache, writable, expected) in cases {
            let flags = asked(Access::Enforce, |options| {
                options.cache = cache;
                options.writable = writable;
            });
            assert_eq!(flags & (back | pass), expected, "{cache:?}, {writable}");
        }
    }

    #[test]
    fn lists_have_effect_where_the_kernel_checks_and_nobody_objects() {
        let cases = [
            (Access::Enforce, true, true),
            (Access::Enforce, false, false),
            (Access::Owner, true, false),
        ];
        for (access, acl, expected) in cases {
            let flags = asked(access, |options| options.acl = acl);
            let has = flags.contains(InitFlags::FUSE_POSIX_ACL);
            assert_eq!(has, expected, "{access:?}, {acl}");
        }
    }
}

//! The mount and the answer to INIT, both by fuser; nothing of fuser lives longer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fuser::{Config, Filesystem, InitFlags, KernelConfig, MountOption, Request, SessionACL};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::{MountError, MountOptions};
use crate::{Access, sys};

/// What INIT says of the largest write, in bytes. Nothing is written to a read-only
/// view, but the largest read and the largest listing follow from it (fuser derives
/// `max_pages` from it), and so does the size of each buffer for messages, whose pages
/// beyond the first are never touched.
pub(crate) const MAX_WRITE: u32 = 1024 * 1024;

/// Requests that nobody waits for, read-ahead above all, that may be under way at once.
const MAX_BACKGROUND: u16 = 64;

/// Answers INIT and nothing else.
struct Handshake {
    capabilities: InitFlags,
}

impl Filesystem for Handshake {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let offered = config.capabilities();
        let unsupported = |_| io::Error::from(io::ErrorKind::Unsupported);
        config
            .add_capabilities(self.capabilities & offered)
            .map_err(unsupported)?;
        config
            .set_max_write(MAX_WRITE)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        config
            .set_max_background(MAX_BACKGROUND)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(())
    }
}

/// Mounts at `point`, answers INIT and returns the descriptor of the session.
pub(crate) fn mount(
    point: &Path,
    options: &MountOptions,
    has_xattrs: bool,
) -> Result<OwnedFd, MountError> {
    occupy_standard_descriptors().map_err(MountError::system("open", Path::new("/dev/null")))?;
    find_device()?;
    let handshake = Handshake {
        capabilities: capabilities(options.access, has_xattrs),
    };
    let session = fuser::Session::new(handshake, point, &config(options))
        .map_err(|error| explain(error, point))?;
    take_over(&session).map_err(MountError::system("take over the descriptor of", point))
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
fn capabilities(access: Access, has_xattrs: bool) -> InitFlags {
    let mut flags = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_NO_OPEN_SUPPORT
        | InitFlags::FUSE_NO_OPENDIR_SUPPORT
        | InitFlags::FUSE_EXPLICIT_INVAL_DATA
        | InitFlags::FUSE_MAX_PAGES
        | InitFlags::FUSE_NO_EXPORT_SUPPORT;
    // With POSIX ACLs the kernel checks modes, whatever the mount options say
    // (`process_init_reply`), which is not what an owner's view is for.
    if has_xattrs && matches!(access, Access::Enforce) {
        flags |= InitFlags::FUSE_POSIX_ACL;
    }
    flags
}

fn config(options: &MountOptions) -> Config {
    let mut mount_options = vec![
        MountOption::RO,
        MountOption::FSName(source_name(&options.source)),
        // fuser drops its own `Subtype` where it mounts directly.
        MountOption::CUSTOM("subtype=mica".to_owned()),
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
    let mut config = Config::default();
    config.mount_options = mount_options;
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config
}

/// The helper splits its options at commas, and the kernel takes no NUL.
fn source_name(source: &str) -> String {
    let name: String = source
        .chars()
        .map(|c| {
            if matches!(c, ',' | '\\' | '\0') {
                '_'
            } else {
                c
            }
        })
        .collect();
    if name.is_empty() {
        "mica".to_owned()
    } else {
        name
    }
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
    let message = error.to_string().trim().to_owned();
    if error.raw_os_error().is_none() && message.contains("fusermount") {
        return MountError::FusermountRefused { point, message };
    }
    MountError::Mount {
        point,
        source: error,
    }
}

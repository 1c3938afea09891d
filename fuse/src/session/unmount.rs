//! Takes mounts of this crate away, and no others.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use tracing::warn;

use super::{Mount, MountError, mountinfo, mountpoint};

/// What to do with a mount that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Leave it where it is: [`MountError::Busy`].
    Refuse,
    /// Take it out of the tree; it ends when its last user leaves.
    Detach,
    /// End it: what users have written is written back, and whatever they ask from then on
    /// is an error (`ECONNABORTED`, `ENOTCONN`). As [`Busy::Detach`] for who is not root.
    Abort,
}

impl Busy {
    /// Returns how to insist, if at all.
    fn insistence(self) -> Option<UnmountFlags> {
        match self {
            Self::Refuse => None,
            Self::Detach => Some(UnmountFlags::DETACH),
            Self::Abort => Some(UnmountFlags::DETACH | UnmountFlags::FORCE),
        }
    }
}

/// Unmounts what is mounted at `point`, if it is a mount of this crate.
pub fn unmount(point: &Path, busy: Busy) -> Result<(), MountError> {
    unmount_if(point, busy, Mount::is_ours)
}

/// Unmounts what is mounted at `point`, if it is what the caller looks for.
pub(crate) fn unmount_if(
    point: &Path,
    busy: Busy,
    is_sought: impl Fn(&Mount) -> bool,
) -> Result<(), MountError> {
    let point = mountpoint::resolve(point)?;
    match mountinfo::topmost(&point)? {
        None => return Err(MountError::NotMounted { point }),
        Some(mount) if !is_sought(&mount) => {
            let file_system_type = mount.file_system_type;
            return Err(MountError::NotOurs {
                point,
                file_system_type,
            });
        }
        Some(_) => {}
    }
    let mut result = rustix::mount::unmount(&point, UnmountFlags::NOFOLLOW);
    if let (Err(Errno::BUSY), Some(flags)) = (result, busy.insistence()) {
        if busy == Busy::Abort {
            write_back(&point);
        }
        result = rustix::mount::unmount(&point, UnmountFlags::NOFOLLOW | flags);
    }
    match result {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(MountError::Busy { point }),
        Err(Errno::PERM) => unmount_by_helper(&point, busy),
        Err(errno) => Err(MountError::system("unmount", &point)(errno)),
    }
}

/// Has the kernel write what it keeps for a while.
fn write_back(point: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = rustix::fs::open(point, flags, Mode::empty()).and_then(rustix::fs::syncfs);
    if let Err(errno) = written {
        warn!("write back {}: {errno}", point.display());
    }
}

/// Lets the set-user-ID helper unmount what its user mounted.
fn unmount_by_helper(point: &Path, busy: Busy) -> Result<(), MountError> {
    let mut command = Command::new("fusermount3");
    command.arg("-u").stdin(Stdio::null());
    if busy != Busy::Refuse {
        command.arg("-z");
    }
    let output = command
        .arg("--")
        .arg(point)
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => MountError::NoFusermount,
            _ => MountError::Mount {
                point: point.to_path_buf(),
                source: error,
            },
        })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let point = point.to_path_buf();
    if message.contains("busy") {
        return Err(MountError::Busy { point });
    }
    Err(MountError::FusermountFailed { point, message })
}

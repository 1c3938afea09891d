//! Takes mounts of this crate away, and no others.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::{Mount, MountError, mountinfo, mountpoint};

/// What to do with a mount that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Leave it where it is: [`MountError::Busy`].
    Refuse,
    /// Take it out of the tree; it ends when its last user leaves.
    Detach,
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
    if result == Err(Errno::BUSY) && busy == Busy::Detach {
        result = rustix::mount::unmount(&point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
    }
    match result {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(MountError::Busy { point }),
        Err(Errno::PERM) => unmount_by_helper(&point, busy),
        Err(errno) => Err(MountError::system("unmount", &point)(errno)),
    }
}

/// Lets the set-user-ID helper unmount what its user mounted.
fn unmount_by_helper(point: &Path, busy: Busy) -> Result<(), MountError> {
    let mut command = Command::new("fusermount3");
    command.arg("-u").stdin(Stdio::null());
    if busy == Busy::Detach {
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

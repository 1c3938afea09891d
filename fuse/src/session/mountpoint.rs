//! What a mount point must be before anything is mounted on it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::mountinfo::{self, resolve_parent};
use super::{Busy, MountError, MountOptions, unmount};

/// Returns the mount point resolved, or why it cannot be one.
///
/// The table of mounts is asked before the directory: a mount whose process has died
/// answers nothing but ENOTCONN.
pub(crate) fn check(point: &Path, options: &MountOptions) -> Result<PathBuf, MountError> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => MountError::Missing {
            point: point.to_path_buf(),
        },
        io::ErrorKind::NotADirectory => MountError::NotADirectory {
            point: point.to_path_buf(),
        },
        _ => MountError::Mount {
            point: point.to_path_buf(),
            source: error,
        },
    };
    let unresolved = resolve_parent(point).map_err(refused)?;
    refuse_second_mount(&unresolved)?;
    let resolved = point.canonicalize().map_err(refused)?;
    refuse_second_mount(&resolved)?;
    if !resolved.metadata().map_err(refused)?.is_dir() {
        return Err(MountError::NotADirectory { point: resolved });
    }
    if !options.allow_nonempty && resolved.read_dir().map_err(refused)?.next().is_some() {
        return Err(MountError::NotEmpty { point: resolved });
    }
    Ok(resolved)
}

/// Refuses a point that has a mount of this kind; one whose process has died is taken away.
fn refuse_second_mount(point: &Path) -> Result<(), MountError> {
    while mountinfo::topmost(point)?.is_some_and(|mount| mount.is_ours()) {
        // What the kernel keeps of a dead mount it still tells, but it keeps nothing of this.
        if rustix::fs::statvfs(point).err() != Some(Errno::NOTCONN) {
            return Err(MountError::AlreadyMounted {
                point: point.to_path_buf(),
            });
        }
        unmount(point, Busy::Detach)?;
    }
    Ok(())
}

/// Returns the mount point as the table of mounts has it: absolute and free of symbolic
/// links, also where the mount is dead and cannot be resolved itself.
pub fn resolve(point: &Path) -> Result<PathBuf, MountError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => MountError::Missing {
            point: point.to_path_buf(),
        },
        _ => MountError::Mount {
            point: point.to_path_buf(),
            source: error,
        },
    };
    // The table goes first: a mount whose process has died, or is just dying, answers nothing.
    let unresolved = resolve_parent(point).map_err(failed)?;
    if mountinfo::topmost(&unresolved)?.is_some() {
        return Ok(unresolved);
    }
    point.canonicalize().map_err(failed)
}

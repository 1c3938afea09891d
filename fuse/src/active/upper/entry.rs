//! Single names of directories of the upper.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::Result;
use crate::layer::directory::{Listing, RealAttr};

/// Opens a subdirectory as a place for names.
pub(in crate::active) fn subdirectory(above: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(above, name, flags, Mode::empty())?)
}

/// Opens a directory for reading.
pub(in crate::active) fn readable(directory: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, c".", flags, Mode::empty())?)
}

/// Reads the names of a directory, its marks taken into account.
pub(in crate::active) fn list(directory: impl AsFd) -> Result<Listing> {
    Ok(Listing::of_open(&readable(directory)?)?)
}

/// Takes a name away that is no directory.
pub(in crate::active) fn unlink(directory: impl AsFd, name: &[u8]) -> Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
}

/// Takes an empty directory away.
pub(in crate::active) fn rmdir(directory: impl AsFd, name: &[u8]) -> Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// Renames within the upper.
pub(in crate::active) fn rename(
    from: (impl AsFd, &[u8]),
    to: (impl AsFd, &[u8]),
    flags: RenameFlags,
) -> Result<()> {
    Ok(rustix::fs::renameat_with(
        from.0, from.1, to.0, to.1, flags,
    )?)
}

/// Returns whether there is something under a name.
pub(in crate::active) fn has(directory: impl AsFd, name: &[u8]) -> Result<bool> {
    match RealAttr::at(directory, name) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the names of a directory last.
pub(in crate::active) fn sync_directory(directory: impl AsFd) -> Result<()> {
    Ok(rustix::fs::fsync(readable(directory)?)?)
}

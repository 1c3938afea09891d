//! Something new: what it is to be, and how it is made on disk.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use tracing::warn;

use crate::active::ActiveView;
use crate::active::upper::{Inode, with_umask};
use crate::{Attr, Caller, Error, FileType, Result};

/// Something that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct New<'a> {
    pub(super) caller: Caller,
    pub(super) umask: u32,
    pub(super) mode: u32,
    pub(super) what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    Directory,
    File,
    Special { rdev: u32 },
    Symlink { target: &'a [u8] },
}

impl ActiveView {
    /// Makes it under a name that is free.
    pub(super) fn make_at(
        &self,
        new: &New<'_>,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Inode> {
        let mode = self.mode_on_disk(new.mode);
        with_umask(new.umask, || {
            match new.what {
                What::File => return Inode::make_file(directory, name, mode),
                What::Special { .. } if self.upper.overrides() => {
                    return Inode::make_file(directory, name, mode);
                }
                What::Directory => rustix::fs::mkdirat(directory, name, mode)?,
                What::Special { rdev } => {
                    let kind = new.file_type().for_mknod();
                    rustix::fs::mknodat(directory, name, kind, mode, u64::from(rdev))?;
                }
                What::Symlink { target } if self.upper.links_are_files() => {
                    return Inode::make_link_file(directory, name, target);
                }
                What::Symlink { target } => rustix::fs::symlinkat(target, directory, name)?,
            }
            Inode::at(directory, name).inspect_err(|_| {
                // Nobody knows of it yet.
                let flags = match new.what {
                    What::Directory => AtFlags::REMOVEDIR,
                    _ => AtFlags::empty(),
                };
                if let Err(errno) = rustix::fs::unlinkat(directory, name, flags) {
                    warn!("take back what was made: {errno}");
                }
            })
        })
    }

    /// Returns the mode with which something is made: without privileges, where it is
    /// never to have them on disk.
    pub(super) fn mode_on_disk(&self, mode: u32) -> Mode {
        let bits = if self.upper.overrides() {
            0o777
        } else {
            0o7777
        };
        Mode::from_raw_mode(mode & bits)
    }

    /// Gives something new to its owner; `gid` is the group that it inherits.
    pub(super) fn give(&self, inode: &Inode, new: &New<'_>, gid: Option<u32>) -> Result<()> {
        let real = inode.attr()?.attr;
        let (uid, mode) = (new.caller.uid, real.mode);
        let inherits = gid.is_some();
        let gid = gid.unwrap_or(new.caller.gid);
        if self.upper.overrides() {
            let attr = Attr {
                mode: new.mode_with(mode, inherits),
                uid,
                gid,
                rdev: new.rdev(),
                ..real
            };
            return self.upper.set_permissions(inode, &attr);
        }
        self.upper.set_owner(inode, Some(uid), Some(gid))?;
        // A change of owner clears them, but those of a directory.
        if mode & (libc::S_ISUID | libc::S_ISGID) != 0 && mode & libc::S_IFMT != libc::S_IFDIR {
            inode.chmod(mode)?;
        }
        Ok(())
    }
}

impl New<'_> {
    pub(super) fn file_type(&self) -> FileType {
        match self.what {
            What::Directory => FileType::Directory,
            What::File => FileType::Regular,
            What::Symlink { .. } => FileType::Symlink,
            What::Special { .. } => FileType::of_mode(self.mode).unwrap_or(FileType::Regular),
        }
    }

    fn rdev(&self) -> u32 {
        match self.what {
            What::Special { rdev } => rdev,
            _ => 0,
        }
    }

    /// Returns the type and mode of what was made with the bits of `made` and, besides,
    /// those that are privileges.
    fn mode_with(&self, made: u32, inherits: bool) -> u32 {
        let special = self.mode & 0o7000;
        let inherited = match self.what {
            What::Directory if inherits => libc::S_ISGID,
            _ => 0,
        };
        let made = match self.what {
            What::Symlink { .. } => 0o777,
            _ => made & 0o777,
        };
        self.file_type().mode_bits() | made | special | inherited
    }
}

impl What<'_> {
    pub(super) fn is_directory(self) -> bool {
        matches!(self, Self::Directory)
    }
}

/// Returns what `mknod` is to make.
pub(super) fn what_of(mode: u32, rdev: u32) -> Result<What<'static>> {
    match FileType::of_mode(mode) {
        Some(FileType::Regular) | None => Ok(What::File),
        // Nobody could tell it from a whiteout.
        Some(FileType::CharDevice) if rdev == 0 => Err(Error::Refused(Errno::PERM)),
        Some(FileType::Directory) => Err(Error::Refused(Errno::PERM)),
        Some(_) => Ok(What::Special { rdev }),
    }
}

/// Returns whether what this process makes belongs to the caller already.
pub(super) fn is_own(caller: Caller) -> bool {
    rustix::process::geteuid().as_raw() == caller.uid
        && rustix::process::getegid().as_raw() == caller.gid
}

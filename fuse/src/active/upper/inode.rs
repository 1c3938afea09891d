//! One inode of the upper, reached by a descriptor of any kind.
//!
//! What has no call for descriptors opened with `O_PATH` (`EBADF`) goes through the name in
//! `/proc/self/fd`, which leads to the inode itself, symbolic links included.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::layer::directory::{RealAttr, target_in_file, xattr};
use crate::{Error, FileType, Result, SetTime};

/// An inode of the upper.
#[derive(Clone, Debug)]
pub(in crate::active) struct Inode(pub(in crate::active) Arc<OwnedFd>);

impl Inode {
    /// Opens what a name stands for, without following it.
    pub(in crate::active) fn at(directory: impl AsFd, name: &[u8]) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        Ok(Self(Arc::new(fd)))
    }

    /// Makes a regular file, open for reading and writing.
    pub(in crate::active) fn make_file(
        directory: impl AsFd,
        name: &[u8],
        mode: Mode,
    ) -> Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, mode)?;
        Ok(Self(Arc::new(file)))
    }

    /// Returns the descriptor.
    pub(in crate::active) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens the inode, a regular file, for reading and, where that is allowed, writing.
    pub(in crate::active) fn open(&self) -> Result<OwnedFd> {
        let path = self.path();
        open_as_allowed(|flags| {
            rustix::fs::openat(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty())
        })
    }

    /// Opens the regular file that a name stands for in the same way. The caller knows that
    /// it is one: the opening of a device has effects.
    pub(in crate::active) fn open_at(directory: impl AsFd, name: &[u8]) -> Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = open_as_allowed(|how| {
            rustix::fs::openat(&directory, name, how | flags, Mode::empty())
        })?;
        Ok(Self(Arc::new(file)))
    }

    /// Returns the attributes.
    pub(in crate::active) fn attr(&self) -> Result<RealAttr> {
        Ok(RealAttr::of(&*self.0)?)
    }

    /// Sets owner and group.
    pub(in crate::active) fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        Ok(rustix::fs::chownat(
            &*self.0,
            c"",
            uid.map(Uid::from_raw),
            gid.map(Gid::from_raw),
            AtFlags::EMPTY_PATH,
        )?)
    }

    /// Sets the permission bits. A symbolic link has none that count.
    pub(in crate::active) fn chmod(&self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let set = match rustix::fs::fchmod(&*self.0, mode) {
            Err(Errno::BADF) => rustix::fs::chmodat(CWD, self.path(), mode, AtFlags::empty()),
            set => set,
        };
        Ok(set?)
    }

    /// Sets the times that are there.
    pub(in crate::active) fn set_times(
        &self,
        atime: Option<SetTime>,
        mtime: Option<SetTime>,
    ) -> Result<()> {
        let times = Timestamps {
            last_access: timespec(atime),
            last_modification: timespec(mtime),
        };
        let set = match rustix::fs::utimensat(&*self.0, c"", &times, AtFlags::EMPTY_PATH) {
            // Linux before 5.8.
            Err(Errno::INVAL) => rustix::fs::utimensat(CWD, self.path(), &times, AtFlags::empty()),
            set => set,
        };
        Ok(set?)
    }

    /// Sets an attribute under the name that is on disk.
    pub(in crate::active) fn set_stored_xattr(
        &self,
        name: &[u8],
        value: &[u8],
        flags: u32,
    ) -> Result<()> {
        let flags = XattrFlags::from_bits_retain(flags);
        let set = match rustix::fs::fsetxattr(&*self.0, name, value, flags) {
            Err(Errno::BADF) => rustix::fs::setxattr(self.path(), name, value, flags),
            set => set,
        };
        Ok(set?)
    }

    /// Takes an attribute away by the name that is on disk.
    pub(in crate::active) fn remove_stored_xattr(&self, name: &[u8]) -> Result<()> {
        let removed = match rustix::fs::fremovexattr(&*self.0, name) {
            Err(Errno::BADF) => rustix::fs::removexattr(self.path(), name),
            removed => removed,
        };
        Ok(removed?)
    }

    /// Returns the value of an attribute by the name that is on disk; an error where the
    /// file system has none.
    pub(super) fn value(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(xattr::stored_value(&self.0, name)?)
    }

    /// Returns the value of an attribute by the name that is on disk.
    pub(in crate::active) fn stored_xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match xattr::stored_value(&self.0, name) {
            Ok(value) => Ok(value),
            // The file system has no attributes.
            Err(Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the names of the attributes that are no marks.
    pub(super) fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        Ok(xattr::names(&self.0)?)
    }

    /// Makes a regular file that stands for a symbolic link.
    pub(in crate::active) fn make_link_file(
        directory: impl AsFd,
        name: &[u8],
        target: &[u8],
    ) -> Result<Self> {
        let inode = Self::make_file(directory, name, Mode::RUSR | Mode::WUSR)?;
        match rustix::io::pwrite(&*inode.0, target, 0)? {
            length if length == target.len() => Ok(inode),
            _ => Err(Error::Refused(Errno::NOSPC)),
        }
    }

    /// Returns the target of a symbolic link, or of a file that stands for one.
    pub(in crate::active) fn link_target(&self) -> Result<Vec<u8>> {
        if self.attr()?.file_type() != FileType::Regular {
            return Ok(rustix::fs::readlinkat(&*self.0, c"", Vec::new())?.into_bytes());
        }
        let target = target_in_file(&self.open()?)?;
        target.ok_or(Error::Refused(Errno::IO))
    }

    /// Gives the inode one more name.
    pub(in crate::active) fn link(&self, directory: impl AsFd, name: &[u8]) -> Result<()> {
        Ok(rustix::fs::linkat(
            CWD,
            self.path(),
            directory,
            name,
            AtFlags::SYMLINK_FOLLOW,
        )?)
    }

    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

/// Opens for reading and writing, or as far as permissions and flags of the inode allow it.
fn open_as_allowed(open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>) -> Result<OwnedFd> {
    match open(OFlags::RDWR) {
        // One that can only be appended to, and one that can only be read.
        Err(Errno::PERM) => match open(OFlags::RDWR | OFlags::APPEND) {
            Err(Errno::PERM | Errno::ACCESS) => Ok(open(OFlags::RDONLY)?),
            opened => Ok(opened?),
        },
        Err(Errno::ACCESS) => Ok(open(OFlags::RDONLY)?),
        opened => Ok(opened?),
    }
}

fn timespec(time: Option<SetTime>) -> rustix::fs::Timespec {
    let nanoseconds = |tv_nsec| rustix::fs::Timespec { tv_sec: 0, tv_nsec };
    match time {
        None => nanoseconds(rustix::fs::UTIME_OMIT),
        Some(SetTime::Now) => nanoseconds(rustix::fs::UTIME_NOW),
        Some(SetTime::At(time)) => rustix::fs::Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        },
    }
}

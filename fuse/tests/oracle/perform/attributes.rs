//! Changes of attributes, and questions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{
    Access, AtFlags, Mode, OFlags, RawDir, SeekFrom, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
    XattrFlags, accessat, chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr, fremovexattr,
    fsetxattr, fstat, ftruncate, futimens, getxattr, lgetxattr, listxattr, llistxattr,
    lremovexattr, lsetxattr, openat, readlinkat, removexattr, seek, setxattr, statat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::done;
use crate::operation::{Change, Look, Octal, Place, Target, Time};
use crate::seen::Seen;
use crate::side::{Answer, Outcome, Side};

pub(super) fn change(side: &Side, target: &Target, change: &Change) -> Outcome {
    done(match target {
        Target::Open(slot) => change_open(side.file(*slot)?.as_fd(), change),
        Target::Path(place, follow) => change_path(side, place, *follow, change),
    })
}

fn change_open(file: BorrowedFd<'_>, change: &Change) -> Result<(), Errno> {
    match change {
        Change::Mode(Octal(mode)) => fchmod(file, Mode::from_raw_mode(*mode)),
        Change::Owner(uid, gid) => fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw)),
        Change::Times(access, modification) => futimens(file, &times(*access, *modification)),
        Change::Size(size) => ftruncate(file, *size),
        Change::SetXattr(name, value, flags) => fsetxattr(file, *name, value, *flags),
        Change::RemoveXattr(name) => fremovexattr(file, *name),
    }
}

fn change_path(side: &Side, place: &Place, follow: bool, change: &Change) -> Result<(), Errno> {
    let base = side.base(place)?;
    let path = place.path();
    let flags = flags(follow);
    match change {
        Change::Mode(Octal(mode)) => {
            chmodat(base, path, Mode::from_raw_mode(*mode), AtFlags::empty())
        }
        Change::Owner(uid, gid) => {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            chownat(base, path, uid, gid, flags)
        }
        Change::Times(access, modification) => {
            utimensat(base, path, &times(*access, *modification), flags)
        }
        Change::Size(length) => truncate(base, place, *length),
        Change::SetXattr(name, value, flags) => {
            let path = absolute(base, place);
            set_xattr(follow, &path, name, value, *flags)
        }
        Change::RemoveXattr(name) if follow => removexattr(absolute(base, place), *name),
        Change::RemoveXattr(name) => lremovexattr(absolute(base, place), *name),
    }
}

fn set_xattr(
    follow: bool,
    path: &PathBuf,
    name: &str,
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Errno> {
    if follow {
        setxattr(path, name, value, flags)
    } else {
        lsetxattr(path, name, value, flags)
    }
}

/// `truncate(2)` by path.
fn truncate(base: BorrowedFd<'_>, place: &Place, size: u64) -> Result<(), Errno> {
    crate::sys::truncate(&absolute(base, place), size)
}

fn flags(follow: bool) -> AtFlags {
    if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    }
}

/// Returns the path for calls that take no directory.
fn absolute(base: BorrowedFd<'_>, place: &Place) -> PathBuf {
    let mut path = OsString::from(format!("/proc/self/fd/{}/", base.as_raw_fd()));
    path.push(place.path());
    PathBuf::from(path)
}

fn times(access: Time, modification: Time) -> Timestamps {
    let time = |time| {
        let (seconds, nanoseconds) = match time {
            Time::Now => (0, UTIME_NOW),
            Time::Omit => (0, UTIME_OMIT),
            Time::At(seconds, nanoseconds) => (seconds, nanoseconds),
        };
        Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        }
    };
    Timestamps {
        last_access: time(access),
        last_modification: time(modification),
    }
}

pub(super) fn look(side: &Side, target: &Target, look: &Look) -> Outcome {
    match target {
        Target::Open(slot) => look_open(side.file(*slot)?.as_fd(), look),
        Target::Path(place, follow) => look_path(side, place, *follow, look),
    }
}

fn look_open(file: BorrowedFd<'_>, look: &Look) -> Outcome {
    match look {
        Look::Stat => Ok(Answer::Stat(Seen::of(&fstat(file)?))),
        Look::Xattr(name, size) => value(*size, |buffer| fgetxattr(file, *name, buffer)),
        Look::Xattrs(size) => names(*size, |buffer| flistxattr(file, buffer)),
        Look::Target => Ok(Answer::Bytes(
            readlinkat(file, "", Vec::new())?.into_bytes(),
        )),
        Look::List => {
            seek(file, SeekFrom::Start(0))?;
            list(file)
        }
        Look::Access(mask) => done(accessat(file, ".", access(*mask), AtFlags::EACCESS)),
    }
}

fn look_path(side: &Side, place: &Place, follow: bool, look: &Look) -> Outcome {
    let base = side.base(place)?;
    let path = place.path();
    match look {
        Look::Stat => Ok(Answer::Stat(Seen::of(&statat(base, path, flags(follow))?))),
        Look::Xattr(name, room) => {
            let path = absolute(base, place);
            value(*room, |buffer| {
                if follow {
                    getxattr(&path, *name, buffer)
                } else {
                    lgetxattr(&path, *name, buffer)
                }
            })
        }
        Look::Xattrs(room) => {
            let path = absolute(base, place);
            names(*room, |buffer| {
                if follow {
                    listxattr(&path, buffer)
                } else {
                    llistxattr(&path, buffer)
                }
            })
        }
        Look::Target => Ok(Answer::Bytes(
            readlinkat(base, path, Vec::new())?.into_bytes(),
        )),
        Look::List => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            list(openat(base, path, flags, Mode::empty())?.as_fd())
        }
        Look::Access(mask) => done(accessat(base, path, access(*mask), AtFlags::EACCESS)),
    }
}

fn access(mask: u32) -> Access {
    Access::from_bits_retain(mask)
}

/// Asks for a value with a buffer of that size.
fn value(size: usize, ask: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Outcome {
    let mut buffer = vec![0; size];
    let length = ask(&mut buffer)?;
    Ok(if size == 0 {
        Answer::Count(length)
    } else {
        Answer::Bytes(buffer[..length].to_vec())
    })
}

/// As [`value`], for names each of which ends with NUL.
fn names(size: usize, ask: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Outcome {
    Ok(match value(size, ask)? {
        Answer::Bytes(list) => Answer::Xattrs(sorted_names(&list)),
        answer => answer,
    })
}

/// Splits a list of names each of which ends with NUL.
pub(crate) fn sorted_names(list: &[u8]) -> Vec<Vec<u8>> {
    let names = list.split(|byte| *byte == 0);
    let mut names: Vec<_> = names
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    names.sort_unstable();
    names
}

/// Lists an open directory from where it is.
fn list(directory: BorrowedFd<'_>) -> Outcome {
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = BTreeMap::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if names.insert(name.to_vec(), entry.file_type()).is_some() {
            return Ok(Answer::Wrong(format!(
                "{} is listed twice",
                name.escape_ascii()
            )));
        }
    }
    Ok(Answer::Names(names))
}

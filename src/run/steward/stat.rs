//! What `stat` and its like tell of files of the view, in a user namespace with one id: the
//! owners on disk, which the kernel can show nobody there.
//!
//! Every such call comes by here, so it has to be quick: a file is looked at by a path through
//! `/proc`, as the process means it, and whose it is, the view has noted when the kernel asked
//! for its attributes ([`mica_fuse::Owners`]). Only of files of others than root is the kernel
//! not left to tell, nor of what is not found.

use std::ffi::CString;
use std::mem::offset_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

use mica_fuse::Ino;
use rustix::fs::{AtFlags, makedev};

use super::process::Memory;
use super::{Answer, Steward, WORKING_DIRECTORY, find, word};
use crate::sys;

/// What a call may say of how a path is followed.
const FOLLOWING: AtFlags = AtFlags::SYMLINK_NOFOLLOW
    .union(AtFlags::NO_AUTOMOUNT)
    .union(AtFlags::STATX_FORCE_SYNC)
    .union(AtFlags::STATX_DONT_SYNC);

/// A call that asks for the attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    directory: i32,
    path: Vec<u8>,
    flags: AtFlags,
    /// Where the process wants the answer.
    buffer: u64,
    /// What of `struct statx` is asked for; `None` for `struct stat`.
    statx: Option<u32>,
}

impl Question {
    /// Returns what a call asks, if it is one of these and makes sense.
    fn of(number: i64, pid: u32, args: &[u64; 6]) -> Option<Self> {
        let [one, two, three, four, five, _] = *args;
        let question = |directory: i32, path: u64, flags: AtFlags, buffer: u64| {
            let path = match path {
                0 => Vec::new(),
                address => Memory::of(pid).string(address).ok()?,
            };
            Some(Self {
                directory,
                path,
                flags,
                buffer,
                statx: None,
            })
        };
        let directory = word(one).cast_signed();
        let flags = |argument| AtFlags::from_bits_retain(word(argument));
        match number {
            libc::SYS_newfstatat => question(directory, two, flags(four), three),
            libc::SYS_fstat => question(directory, 0, AtFlags::EMPTY_PATH, two),
            libc::SYS_statx => Some(Self {
                statx: Some(word(four)),
                ..question(directory, two, flags(three), five)?
            }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => question(WORKING_DIRECTORY, one, AtFlags::empty(), two),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => question(WORKING_DIRECTORY, one, AtFlags::SYMLINK_NOFOLLOW, two),
            _ => None,
        }
    }
}

/// A path by which the steward reaches a file, and how far it is to be followed.
#[derive(Debug)]
struct Place {
    path: CString,
    flags: AtFlags,
    /// What the path leads through.
    _open: Option<OwnedFd>,
}

impl Steward {
    /// Tells the attributes of a file of somebody else than root.
    pub(super) fn tell_attributes(&self, pid: u32, number: i64, args: &[u64; 6]) -> Answer {
        let known = Question::of(number, pid, args).and_then(|question| {
            let attributes = self.attributes(pid, &question)?;
            let put = Memory::of(pid).put_bytes(question.buffer, &attributes);
            // Where that is no place for them, the kernel has the error.
            put.ok()
        });
        known.map_or(Answer::Continue, |()| Answer::Done(0))
    }

    /// Returns the structure that is asked for, if the owner in it is not what the kernel says.
    fn attributes(&self, pid: u32, question: &Question) -> Option<Vec<u8>> {
        let place = self.place(pid, question)?;
        let (mut bytes, form) = match question.statx {
            None => (
                sys::stat_bytes(&place.path, place.flags & !SYNCHRONISING).ok()?,
                &STAT,
            ),
            Some(mask) => (
                sys::statx_bytes(&place.path, place.flags, mask).ok()?,
                &STATX,
            ),
        };
        let device = (form.device)(&bytes)?;
        let ino = Ino(u64::from_ne_bytes(field(&bytes, form.ino)?));
        let owner = self.owners.of(ino).filter(|_| device == self.device)?;
        for (at, id) in [(form.user, owner.0), (form.group, owner.1)] {
            bytes
                .get_mut(at..at + 4)?
                .copy_from_slice(&id.to_ne_bytes());
        }
        Some(bytes)
    }

    /// Returns where the file is that a process means.
    fn place(&self, pid: u32, question: &Question) -> Option<Place> {
        let Question {
            directory,
            path,
            flags,
            ..
        } = question;
        let base = match *directory {
            _ if path.first() == Some(&b'/') => format!("{pid}/root"),
            WORKING_DIRECTORY => format!("{pid}/cwd"),
            number => format!("{pid}/fd/{number}"),
        };
        let is_base = path.is_empty();
        if is_base && !flags.contains(AtFlags::EMPTY_PATH) {
            return None;
        }
        if self.has_one_root && is_base {
            return Place::of(base.into_bytes(), *flags & !AtFlags::SYMLINK_NOFOLLOW, None);
        }
        if self.has_one_root {
            return Place::of([base.as_bytes(), b"/", path].concat(), *flags, None);
        }
        let file = find(pid, *directory, path, flags.bits()).ok()?;
        let path = format!("self/fd/{}", file.as_raw_fd());
        let flags = *flags & !AtFlags::SYMLINK_NOFOLLOW;
        Place::of(path.into_bytes(), flags, Some(file))
    }
}

impl Place {
    fn of(path: Vec<u8>, flags: AtFlags, open: Option<OwnedFd>) -> Option<Self> {
        Some(Self {
            path: CString::new(path).ok()?,
            flags: flags & FOLLOWING,
            _open: open,
        })
    }
}

/// What only `statx` takes.
const SYNCHRONISING: AtFlags = AtFlags::STATX_FORCE_SYNC.union(AtFlags::STATX_DONT_SYNC);

/// Where a structure has what is looked at and changed.
struct Form {
    device: fn(&[u8]) -> Option<u64>,
    ino: usize,
    user: usize,
    group: usize,
}

const STAT: Form = Form {
    device: |bytes| {
        Some(u64::from_ne_bytes(field(
            bytes,
            offset_of!(libc::stat, st_dev),
        )?))
    },
    ino: offset_of!(libc::stat, st_ino),
    user: offset_of!(libc::stat, st_uid),
    group: offset_of!(libc::stat, st_gid),
};

const STATX: Form = Form {
    device: |bytes| {
        let number = |at| Some(u32::from_ne_bytes(field(bytes, at)?));
        let major = number(offset_of!(libc::statx, stx_dev_major))?;
        Some(makedev(
            major,
            number(offset_of!(libc::statx, stx_dev_minor))?,
        ))
    },
    ino: offset_of!(libc::statx, stx_ino),
    user: offset_of!(libc::statx, stx_uid),
    group: offset_of!(libc::statx, stx_gid),
};

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

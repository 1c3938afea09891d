//! What `stat` and its like tell of files of the view, in a user namespace with one id: the
//! owners that are recorded, which the kernel can show nobody there.
//!
//! Only of files of others than root is the kernel not left to tell.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::process::Memory;
use super::{Answer, OWNER, Steward, WORKING_DIRECTORY, find, word};
use crate::sys;

/// Where `struct statx` has the owner and the group.
const STATX_OWNER: [usize; 2] = [20, 24];

/// The longest value of the attribute that tells an owner.
const LONGEST: usize = 32;

/// A call that asks for the attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    directory: i32,
    path: Vec<u8>,
    flags: u32,
    /// Where the process wants the answer.
    buffer: u64,
    /// What of `struct statx` is asked for; `None` for `struct stat`.
    statx: Option<u32>,
}

impl Question {
    /// Returns what a call asks, if it is one of these.
    pub(super) fn of(number: i64, pid: u32, args: &[u64; 6]) -> Result<Option<Self>, Errno> {
        let at = |index: usize| word(args.get(index).copied().unwrap_or_default());
        let path = |index: usize| match args.get(index).copied().unwrap_or_default() {
            0 => Ok(Vec::new()),
            address => Memory::of(pid)?.string(address),
        };
        let question = |directory: i32, path, flags, buffer: usize| Self {
            directory,
            path,
            flags,
            buffer: args.get(buffer).copied().unwrap_or_default(),
            statx: None,
        };
        let directory = at(0).cast_signed();
        Ok(Some(match number {
            libc::SYS_newfstatat => question(directory, path(1)?, at(3), 2),
            libc::SYS_fstat => question(directory, Vec::new(), AtFlags::EMPTY_PATH.bits(), 1),
            libc::SYS_statx => Self {
                statx: Some(at(3)),
                ..question(directory, path(1)?, at(2), 4)
            },
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => question(WORKING_DIRECTORY, path(0)?, 0, 1),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => {
                let flags = AtFlags::SYMLINK_NOFOLLOW.bits();
                question(WORKING_DIRECTORY, path(0)?, flags, 1)
            }
            _ => return Ok(None),
        }))
    }
}

impl Steward {
    /// Tells the attributes of a file of somebody else than root.
    pub(super) fn tell_attributes(&self, pid: u32, question: &Question) -> Result<Answer, Errno> {
        // What is not found is for the kernel to say.
        let Ok(file) = find(pid, question.directory, &question.path, question.flags) else {
            return Ok(Answer::Continue);
        };
        if !self.is_ours(file.as_fd())? {
            return Ok(Answer::Continue);
        }
        let Some(owner) = owner(&file).filter(|owner| *owner != [0, 0]) else {
            return Ok(Answer::Continue);
        };
        let (mut bytes, places) = match question.statx {
            None => (
                sys::stat_bytes(file.as_fd())?,
                [
                    std::mem::offset_of!(libc::stat, st_uid),
                    std::mem::offset_of!(libc::stat, st_gid),
                ],
            ),
            Some(mask) => (sys::statx_bytes(file.as_fd(), mask)?, STATX_OWNER),
        };
        for (place, id) in places.into_iter().zip(owner) {
            let field = bytes.get_mut(place..place + 4).ok_or(Errno::FAULT)?;
            field.copy_from_slice(&id.to_ne_bytes());
        }
        Memory::of(pid)?.put_bytes(question.buffer, &bytes)?;
        Ok(Answer::Done(0))
    }
}

/// Returns the user and the group that are recorded for a file of the view.
fn owner(file: &OwnedFd) -> Option<[u32; 2]> {
    let mut value = [0; LONGEST];
    let path = format!("self/fd/{}", file.as_raw_fd());
    let length = rustix::fs::getxattr(path, OWNER, &mut value[..]).ok()?;
    let (uid, gid) = std::str::from_utf8(value.get(..length)?)
        .ok()?
        .split_once(':')?;
    Some([uid.parse().ok()?, gid.parse().ok()?])
}

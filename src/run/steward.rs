//! Does for root inside what the kernel does for the machine's root alone.
//!
//! A filter of system calls (`seccomp_unotify(2)`) stops the calls by which a process takes an
//! owner or makes a device that it cannot have, and the server answers them: it changes what the
//! view records ([`mica_fuse::Appearance::by_xattr`]), so that a layer that an ordinary user makes
//! is the one that root would make. Without subordinate ids it also tells the owners of files
//! ([`stat`]), so that who copies them copies the true ones, and plays the ids that a process
//! gives itself ([`Table`]): it is told that it has them, and stays root.
//!
//! The server acts on files of the view alone, from within the root inside; whatever else is
//! asked is left to the kernel. What a process says may change while it is read, and it is
//! believed no more than the process itself: it can do nothing to others.

mod credentials;
mod filter;
mod process;
mod stat;

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use libc::{seccomp_notif, seccomp_notif_resp};
use mica_fuse::Owners;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags, openat, openat2, renameat_with,
    setxattr, unlinkat,
};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::{RunError, failed_call};
use crate::sys;
use credentials::{Change, Table};
pub(super) use filter::Filter;
use filter::{ATTRIBUTES, ROOTS};
use process::{Memory, Status};

/// What stands for the working directory of a process.
const WORKING_DIRECTORY: i32 = libc::AT_FDCWD;

/// The attribute of a file of the view that takes its owner.
const OWNER: &str = "security.mica.owner";

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The kernel goes on with it.
    Continue,
    /// It is done, and returns this.
    Done(i64),
}

/// Answers the calls of one run.
#[derive(Debug)]
struct Steward {
    listener: OwnedFd,
    /// That of the view.
    device: u64,
    /// Those on disk.
    owners: Arc<Owners>,
    /// Whether all processes have the root that this thread has.
    has_one_root: bool,
    table: Table,
    nodes: u64,
}

/// Answers calls on a thread of its own, which takes part in the root of process `pid`; `owners`
/// are those of the view.
pub(super) fn start(listener: OwnedFd, pid: u32, owners: Arc<Owners>) -> Result<(), RunError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    thread::Builder::new()
        .name("mica-steward".to_owned())
        .spawn(move || {
            let steward = Steward::enter(listener, pid, owners);
            let entered = steward.as_ref().map(drop).map_err(|errno| *errno);
            // The caller waits for it.
            sender.send(entered).ok();
            if let Ok(mut steward) = steward {
                steward.answer_all();
            }
        })
        .map_err(super::failed("start", "a thread"))?;
    match receiver.recv().unwrap_or(Err(Errno::IO)) {
        // It has ended already.
        Ok(()) | Err(Errno::NOENT | Errno::SRCH) => Ok(()),
        Err(errno) => Err(failed_call("enter", "the root of the command")(errno)),
    }
}

impl Steward {
    /// Gives this thread the root inside, and `/proc` of outside for its working directory.
    fn enter(listener: OwnedFd, pid: u32, owners: Arc<Owners>) -> Result<Self, Errno> {
        sys::unshare(UnshareFlags::FS)?;
        rustix::process::chdir("/proc")?;
        rustix::process::chroot(format!("{pid}/root"))?;
        let root = rustix::fs::stat("/")?;
        match sys::answer_in_place(listener.as_fd()) {
            // An old kernel.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
        Ok(Self {
            listener,
            device: root.st_dev,
            owners,
            has_one_root: true,
            table: Table::default(),
            nodes: 0,
        })
    }

    fn answer_all(&mut self) {
        loop {
            let call = match sys::next_call(self.listener.as_fd()) {
                Ok(call) => call,
                // ENOENT: the process has ended meanwhile.
                Err(Errno::INTR | Errno::NOENT) => continue,
                Err(errno) => return tracing::warn!("answer system calls: {errno}"),
            };
            let mut response = seccomp_notif_resp {
                id: call.id,
                val: 0,
                error: 0,
                flags: 0,
            };
            match self.answer(&call) {
                Ok(Answer::Continue) => {
                    response.flags =
                        u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or_default();
                }
                Ok(Answer::Done(value)) => response.val = value,
                Err(errno) => response.error = -errno.raw_os_error(),
            }
            match sys::answer_call(self.listener.as_fd(), &mut response) {
                // ENOENT: it has ended, or a signal has interrupted the call.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return tracing::warn!("answer system calls: {errno}"),
            }
        }
    }

    fn answer(&mut self, call: &seccomp_notif) -> Result<Answer, Errno> {
        let (pid, number, args) = (call.pid, i64::from(call.data.nr), call.data.args);
        let at = |index: usize| word(args.get(index).copied().unwrap_or_default());
        let descriptor = |index| at(index).cast_signed();
        let path = |index: usize| -> Result<Vec<u8>, Errno> {
            Memory::of(pid).string(args.get(index).copied().unwrap_or_default())
        };
        let no_follow = AtFlags::SYMLINK_NOFOLLOW.bits();
        match number {
            libc::SYS_fchown => {
                let place = (descriptor(0), Vec::new(), AtFlags::EMPTY_PATH.bits());
                self.change_owner(pid, place, (at(1), at(2)))
            }
            libc::SYS_fchownat => {
                self.change_owner(pid, (descriptor(0), path(1)?, at(4)), (at(2), at(3)))
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => {
                self.change_owner(pid, (WORKING_DIRECTORY, path(0)?, 0), (at(1), at(2)))
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => {
                let place = (WORKING_DIRECTORY, path(0)?, no_follow);
                self.change_owner(pid, place, (at(1), at(2)))
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_mknod => self.make_node(pid, (WORKING_DIRECTORY, path(0)?), (at(1), at(2))),
            libc::SYS_mknodat => self.make_node(pid, (descriptor(0), path(1)?), (at(2), at(3))),
            number if ROOTS.contains(&number) => {
                self.has_one_root = false;
                Ok(Answer::Continue)
            }
            number if ATTRIBUTES.contains(&number) => Ok(self.tell_attributes(pid, number, &args)),
            _ => match Change::of(number, pid, &args)? {
                Some(change) => self.table.change(pid, &change).map(|()| Answer::Done(0)),
                None => self.table.tell(pid, number, &args),
            },
        }
    }

    /// Does what `chown` and its like do.
    fn change_owner(
        &mut self,
        pid: u32,
        (directory, path, flags): (i32, Vec<u8>, u32),
        (uid, gid): (u32, u32),
    ) -> Result<Answer, Errno> {
        let file = find(pid, directory, &path, flags)?;
        if !self.is_ours(file.as_fd())? {
            return Ok(Answer::Continue);
        }
        if !self.table.is_root(pid) {
            return Err(Errno::PERM);
        }
        set_attribute(file.as_fd(), OWNER, format!("{uid}:{gid}").as_bytes())?;
        Ok(Answer::Done(0))
    }

    /// Does what `mknod` does: the device gets a name that nobody knows, and then its own, as a
    /// file does that is moved.
    fn make_node(
        &mut self,
        pid: u32,
        (directory, path): (i32, Vec<u8>),
        (mode, device): (u32, u32),
    ) -> Result<Answer, Errno> {
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => path.split_at(at + 1),
            None => (&b"."[..], &path[..]),
        };
        if name.is_empty() {
            return Err(Errno::NOENT);
        }
        let parent = find(pid, directory, above, 0)?;
        if !self.is_ours(parent.as_fd())? {
            return Ok(Answer::Continue);
        }
        let status = Status::of(pid)?;
        if status.effective_uid != 0 || !self.table.is_root(pid) {
            return Err(Errno::PERM);
        }
        self.nodes += 1;
        let hidden = format!(".mica-node-{}-{}", std::process::id(), self.nodes);
        let value = format!("{mode}:{device}:{}:{hidden}", status.umask);
        set_attribute(parent.as_fd(), "security.mica.node", value.as_bytes())?;
        renameat_with(&parent, &hidden, &parent, name, RenameFlags::NOREPLACE)
            .inspect_err(|_| drop_name(&parent, &hidden))?;
        Ok(Answer::Done(0))
    }

    fn is_ours(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        Ok(rustix::fs::fstat(file)?.st_dev == self.device)
    }
}

/// Opens what a process means by a path, without more than that it is there.
fn find(pid: u32, directory: i32, path: &[u8], flags: u32) -> Result<OwnedFd, Errno> {
    let flags = AtFlags::from_bits_retain(flags);
    let how = OFlags::PATH | OFlags::CLOEXEC;
    let last = if flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
        how | OFlags::NOFOLLOW
    } else {
        how
    };
    let open = |name: String| rustix::fs::open(name, how, Mode::empty());
    let base = || match directory {
        WORKING_DIRECTORY => open(format!("{pid}/cwd")),
        number if number >= 0 => open(format!("{pid}/fd/{number}")).map_err(|errno| match errno {
            Errno::NOENT => Errno::BADF,
            errno => errno,
        }),
        _ => Err(Errno::BADF),
    };
    if path.is_empty() {
        return if flags.contains(AtFlags::EMPTY_PATH) {
            base()
        } else {
            Err(Errno::NOENT)
        };
    }
    if path.first() == Some(&b'/') {
        let root = open(format!("{pid}/root"))?;
        return openat2(root, path, last, Mode::empty(), ResolveFlags::IN_ROOT);
    }
    openat(base()?, path, last, Mode::empty())
}

/// Takes the hidden name of a device away that did not get its own.
fn drop_name(parent: &OwnedFd, name: &str) {
    if let Err(errno) = unlinkat(parent, name, AtFlags::empty()) {
        tracing::warn!("remove {name}: {errno}");
    }
}

/// Sets an attribute of any kind of file, symbolic links included.
fn set_attribute(file: BorrowedFd<'_>, name: &str, value: &[u8]) -> Result<(), Errno> {
    let path = format!("self/fd/{}", file.as_raw_fd());
    setxattr(path, name, value, XattrFlags::empty())
}

/// Returns an argument of 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes no more of it"
)]
fn word(argument: u64) -> u32 {
    argument as u32
}

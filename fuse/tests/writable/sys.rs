//! The calls that the compiler cannot check, each behind a safe function.

#![expect(unsafe_code, reason = "the one place for it in this test")]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

const LENGTH: usize = 4096;

/// The first page of a file, mapped to be read and shared.
#[derive(Debug)]
pub(crate) struct Mapping(*mut libc::c_void);

impl Mapping {
    pub(crate) fn of(file: &File) -> Self {
        // SAFETY: a new mapping, where nothing is; nobody gets a reference into it.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                LENGTH,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        Self(address.unwrap())
    }

    /// Reads the first byte.
    pub(crate) fn first(&self) -> u8 {
        // SAFETY: within the mapping; others may change it, hence volatile.
        unsafe { self.0.cast::<u8>().read_volatile() }
    }

    /// Gives the page up, so that the kernel may drop it from its cache.
    pub(crate) fn give_up(&self) {
        // SAFETY: the mapping is of a file, and shared: nothing is lost.
        unsafe { madvise(self.0, LENGTH, Advice::LinuxDontNeed) }.unwrap();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping of `of`, to which nobody has a reference.
        unsafe { munmap(self.0, LENGTH) }.unwrap();
    }
}

/// `truncate(2)`, which opens nothing.
pub(crate) fn truncate(path: &Path, size: i64) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with NUL and lives longer than the call.
    let result = unsafe { libc::truncate(path.as_ptr(), size) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A call that waits in [`intercept`]ed threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    id: u64,
    pub(crate) number: libc::c_long,
}

/// Makes the calls with these numbers wait, in this thread and in all that it starts from
/// now on, until they are answered through what is returned (`seccomp(2)`).
pub(crate) fn intercept(calls: &[libc::c_long]) -> OwnedFd {
    let operation = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf,
        k,
    };
    let ends_with = |value| operation(libc::BPF_RET | libc::BPF_K, value, 0);
    // The number of the call is the first word of what a filter sees.
    let mut filter = vec![operation(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for call in calls {
        let number = u32::try_from(*call).unwrap();
        let is_equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(operation(is_equal, number, 1));
        filter.push(ends_with(libc::SECCOMP_RET_USER_NOTIF));
    }
    filter.push(ends_with(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter live longer than the call, which returns a
    // descriptor that nobody else has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: as above.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(result).unwrap()) }
}

/// Returns the next call that waits; it may have been given up meanwhile.
pub(crate) fn next_call(listener: BorrowedFd<'_>) -> Option<Call> {
    // SAFETY: all bytes zero are a value of it, and the kernel wants them so.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such value.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut call,
        )
    };
    (result == 0).then_some(Call {
        id: call.id,
        number: call.data.nr.into(),
    })
}

/// Has a call fail, or else be made.
pub(crate) fn answer_call(listener: BorrowedFd<'_>, call: Call, failure: Option<Errno>) {
    let mut answer = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error: failure.map_or(0, |errno| -errno.raw_os_error()),
        flags: match failure {
            None => u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap(),
            Some(_) => 0,
        },
    };
    // SAFETY: the kernel reads one such value. An error says that nobody waits any more.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut answer,
        )
    };
}

/// Keeps whoever opens a file waiting until this is dropped (`fanotify(7)`).
#[derive(Debug)]
pub(crate) struct Gate(OwnedFd);

impl Gate {
    pub(crate) fn before(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: what is returned is a new descriptor, unless it is -1.
        let gate = unsafe {
            let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
            let descriptor = libc::fanotify_init(flags, libc::O_RDONLY as u32);
            assert_ne!(descriptor, -1, "{}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(descriptor)
        };
        // SAFETY: the path ends with NUL and lives longer than the call.
        let result = unsafe {
            let (how, what) = (libc::FAN_MARK_ADD, libc::FAN_OPEN_PERM);
            libc::fanotify_mark(gate.as_raw_fd(), how, what, libc::AT_FDCWD, path.as_ptr())
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        Self(gate)
    }

    /// Waits until somebody waits.
    pub(crate) fn has_somebody(&self) -> bool {
        let patience = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        let mut descriptors = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut descriptors, Some(&patience)).unwrap() == 1
    }
}

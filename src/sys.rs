//! The only unsafe code of this crate.
#![expect(unsafe_code, reason = "a system call that has no safe wrapper")]

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::AtFlags;
use rustix::io::{Errno, FdFlags};
use rustix::thread::UnshareFlags;

/// Closes every descriptor above the standard ones: what a careless caller left open
/// must not live as long as a mount does.
///
/// Must be called before this process has opened anything itself.
pub(crate) fn close_inherited() -> Result<(), Errno> {
    // SAFETY: nothing in this process owns a descriptor yet, as the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    checked(result).map(drop)
}

/// Gives this process namespaces of its own (unshare(2)).
///
/// For a new user namespace it must have a single thread, or the kernel refuses.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: of all flags only FILES can take a descriptor away from a thread, and it is
    // masked out.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }
}

/// Has `steps` done in the child that a command starts, right before it becomes the other
/// program.
///
/// The steps are system calls alone: they may not allocate where this process has threads.
pub(crate) fn before_exec(
    command: &mut Command,
    steps: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the steps take no lock that another thread could have held at the fork, as the
    // caller promises.
    unsafe { command.pre_exec(steps) };
}

/// Takes over a descriptor that this process was started with, by its number.
///
/// Must be called at most once for a number, before anything else can have got it.
pub(crate) fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: as the caller promises, nobody else owns the number; where it is not open, it is
    // given up again at once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    match rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC) {
        Ok(()) => Ok(descriptor),
        Err(errno) => {
            let _not_open = descriptor.into_raw_fd();
            Err(errno)
        }
    }
}

/// Makes a tree of mounts read-only, with all that is mounted in it.
pub(crate) fn make_read_only(tree: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    // SAFETY: the structure is `struct mount_attr` of `linux/mount.h`, four 64-bit numbers that
    // the kernel only reads, of the size that is given; the path is empty.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    checked(result).map(drop)
}

/// Has the calling thread run only when no other one wants the processor (`SCHED_IDLE`).
pub(crate) fn run_when_idle() -> Result<(), Errno> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel only reads the structure; thread 0 is the calling one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_IDLE,
            &raw const parameter,
        )
    };
    checked(result).map(drop)
}

fn checked(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Becomes another program (execve(2)); returns only if that fails.
///
/// Unlike `execvp`, which the standard library calls, it takes no file of an unknown form for a
/// script.
pub(crate) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |words: &[CString]| -> Vec<*const c_char> {
        let ends = words.iter().map(|word| word.as_ptr());
        ends.chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: all strings end with NUL, and both arrays of pointers with a null, and they live
    // until the call returns.
    let result =
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    checked(result.into()).err().unwrap_or(Errno::IO)
}

const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;

/// Has the kernel ask about system calls of this process from now on, and of those that it
/// starts; returns the descriptor by which it asks (`seccomp_unotify(2)`).
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the structure gives the place and the length of the program, which the kernel
        // only reads, and lives until the call returns.
        checked(unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                std::ptr::from_ref(&program),
            )
        })
    };
    // A call that is being answered is not interrupted: some never fail with EINTR.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let result = match install(flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        // Linux before 5.19.
        Err(Errno::INVAL) => install(flags),
        installed => installed,
    };
    let number = RawFd::try_from(result?).map_err(|_| Errno::BADF)?;
    // SAFETY: the call has just opened it for the caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Waits for the next call that the kernel asks about.
pub(crate) fn next_call(listener: BorrowedFd<'_>) -> Result<libc::seccomp_notif, Errno> {
    // SAFETY: a structure of numbers, for which zero will do; the kernel wants it zeroed.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the opcode fills the structure that it is given the place of, and no more.
    let result = unsafe {
        let place = std::ptr::from_mut(&mut call);
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, place)
    };
    checked(result.into()).map(|_| call)
}

/// Answers such a call.
pub(crate) fn answer_call(
    listener: BorrowedFd<'_>,
    response: &mut libc::seccomp_notif_resp,
) -> Result<(), Errno> {
    // SAFETY: the opcode reads the structure that it is given the place of, and no more.
    let result = unsafe {
        let place = std::ptr::from_mut(response);
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, place)
    };
    checked(result.into()).map(drop)
}

/// Has the kernel answer where the caller runs: who answers need not be waited for on another
/// processor. A matter of speed alone, from Linux 6.6 on.
pub(crate) fn answer_in_place(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    const SECCOMP_IOCTL_NOTIF_SET_FLAGS: libc::Ioctl = 0x4008_2104;
    const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the opcode takes its flags as a number, and no pointer.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP,
        )
    };
    checked(result.into()).map(drop)
}

/// Returns `struct stat` of a file, as the kernel writes it.
pub(crate) fn stat_bytes(path: &CStr, flags: AtFlags) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size_of::<libc::stat>()];
    // SAFETY: the path ends with NUL, and the kernel writes the structure, of this size, into the
    // bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            libc::AT_FDCWD,
            path.as_ptr(),
            bytes.as_mut_ptr(),
            flags.bits(),
        )
    };
    checked(result).map(|_| bytes)
}

/// Returns `struct statx` of a file, with what `mask` asks for.
pub(crate) fn statx_bytes(path: &CStr, flags: AtFlags, mask: u32) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; size_of::<libc::statx>()];
    // SAFETY: the path ends with NUL, and the kernel writes the structure, of this size, into the
    // bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags.bits(),
            mask,
            bytes.as_mut_ptr(),
        )
    };
    checked(result).map(|_| bytes)
}

/// Fills bytes from the memory of another process, all of them or none.
pub(crate) fn read_memory(pid: u32, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
    let own = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let (pid, other) = (pid.cast_signed(), foreign(address, bytes.len())?);
    // SAFETY: the kernel writes into the bytes that are lent, as far as they go; the other
    // address means something in the other process alone.
    whole(bytes.len(), unsafe {
        libc::process_vm_readv(pid, &raw const own, 1, &raw const other, 1, 0)
    })
}

/// Puts bytes into the memory of another process, as far as that can be written to.
pub(crate) fn write_memory(pid: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let own = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let (pid, other) = (pid.cast_signed(), foreign(address, bytes.len())?);
    // SAFETY: the kernel only reads the bytes that are lent; the other address means something in
    // the other process alone.
    whole(bytes.len(), unsafe {
        libc::process_vm_writev(pid, &raw const own, 1, &raw const other, 1, 0)
    })
}

/// Returns a place in the memory of another process.
fn foreign(address: u64, length: usize) -> Result<libc::iovec, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    Ok(libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: length,
    })
}

fn whole(length: usize, moved: libc::ssize_t) -> Result<(), Errno> {
    let moved = checked(moved as libc::c_long)?;
    if usize::try_from(moved) == Ok(length) {
        Ok(())
    } else {
        Err(Errno::FAULT)
    }
}

//! Which system calls the server is asked about.

use libc::{c_long, sock_filter};

use crate::run::Ids;

/// The architecture in `AUDIT_ARCH_…` whose numbers the filter knows; calls of others pass.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Where `struct seccomp_data` has the number, the architecture and the arguments.
const NUMBER: u32 = 0;
const ARCHITECTURE_FIELD: u32 = 4;
const ARGUMENTS: u32 = 16;

/// When the server is asked about a call.
#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    /// Where these arguments are ids, and one of them is not root's.
    Owner(u32, u32),
    /// Where this argument is the mode of a device.
    Device(u32),
}

/// A program for the kernel.
#[derive(Clone, Debug)]
pub(in crate::run) struct Filter(Vec<sock_filter>);

impl Filter {
    /// Returns the filter that root inside needs; `None` if it can do all by itself, or the
    /// numbers of this machine's calls are not known.
    pub(in crate::run) fn of(ids: &Ids) -> Option<Self> {
        if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
            return None;
        }
        let mut rules = Vec::from(DEVICES);
        match ids {
            Ids::Host => return None,
            Ids::Single { .. } => {
                rules.extend(OWNERS);
                rules.extend(ATTRIBUTES.map(|number| (number, When::Always)));
                rules.extend(IDS.map(|number| (number, When::Always)));
                rules.extend(ROOTS.map(|number| (number, When::Always)));
            }
            Ids::Subordinate { .. } => {}
        }
        Some(Self::make(&rules))
    }

    pub(in crate::run) fn program(&self) -> &[sock_filter] {
        &self.0
    }

    fn make(rules: &[(c_long, When)]) -> Self {
        let mut program = vec![
            load(ARCHITECTURE_FIELD),
            jump_if(ARCHITECTURE, 1, 0),
            give(libc::SECCOMP_RET_ALLOW),
            load(NUMBER),
        ];
        for (number, when) in rules {
            let body = body(*when);
            let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
            program.push(jump_if(
                u32::try_from(*number).unwrap_or(u32::MAX),
                0,
                length,
            ));
            program.extend(body);
        }
        program.push(give(libc::SECCOMP_RET_ALLOW));
        Self(program)
    }
}

#[cfg(target_arch = "x86_64")]
const DEVICES: [(c_long, When); 2] = [
    (libc::SYS_mknod, When::Device(1)),
    (libc::SYS_mknodat, When::Device(2)),
];
#[cfg(not(target_arch = "x86_64"))]
const DEVICES: [(c_long, When); 1] = [(libc::SYS_mknodat, When::Device(2))];

#[cfg(target_arch = "x86_64")]
const OWNERS: [(c_long, When); 4] = [
    (libc::SYS_chown, When::Owner(1, 2)),
    (libc::SYS_lchown, When::Owner(1, 2)),
    (libc::SYS_fchown, When::Owner(1, 2)),
    (libc::SYS_fchownat, When::Owner(2, 3)),
];
#[cfg(not(target_arch = "x86_64"))]
const OWNERS: [(c_long, When); 2] = [
    (libc::SYS_fchown, When::Owner(1, 2)),
    (libc::SYS_fchownat, When::Owner(2, 3)),
];

/// The calls that tell the attributes of a file.
#[cfg(target_arch = "x86_64")]
pub(super) const ATTRIBUTES: [c_long; 5] = [
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_stat,
    libc::SYS_lstat,
];
#[cfg(not(target_arch = "x86_64"))]
pub(super) const ATTRIBUTES: [c_long; 3] = [libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx];

/// The calls about a process's own ids.
const IDS: [c_long; 14] = [
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
];

/// The calls that give a process another root than its parent has.
pub(super) const ROOTS: [c_long; 3] = [libc::SYS_chroot, libc::SYS_pivot_root, libc::SYS_setns];

/// Returns what decides about a call; every way through it ends there.
fn body(when: When) -> Vec<sock_filter> {
    let (ask, pass) = (
        give(libc::SECCOMP_RET_USER_NOTIF),
        give(libc::SECCOMP_RET_ALLOW),
    );
    let argument = |index: u32| load(ARGUMENTS + 8 * index);
    match when {
        When::Always => vec![ask],
        When::Owner(user, group) => vec![
            argument(user),
            jump_if(0, 2, 0),
            jump_if(u32::MAX, 1, 0),
            ask,
            argument(group),
            jump_if(0, 2, 0),
            jump_if(u32::MAX, 1, 0),
            ask,
            pass,
        ],
        When::Device(mode) => vec![
            argument(mode),
            statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, libc::S_IFMT),
            jump_if(libc::S_IFCHR, 2, 0),
            jump_if(libc::S_IFBLK, 1, 0),
            pass,
            ask,
        ],
    }
}

/// Loads four bytes of `struct seccomp_data`: of an argument the lower half, as the
/// architectures that the filter knows have it first.
fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn give(action: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn jump_if(value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter {
        jt: then,
        jf: otherwise,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
    }
}

fn statement(code: u32, value: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: 0,
        k: value,
    }
}

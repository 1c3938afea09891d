//! The command itself: found, and started as whom it is to be.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, Gid, Uid, UnshareFlags, remove_capability_from_bounding_set, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::steward::Filter;
use super::user::User;
use super::{Ids, ProcessPlan, RunError, failed, terminal};
use crate::sys;

/// Where programs are looked for if the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a root of this machine keeps inside: what containers of other tools have.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Starts the command; `terminal` becomes the one that controls it, and the server gets to know
/// of the calls that it is to answer.
pub(super) fn start(
    plan: &ProcessPlan,
    ids: &Ids,
    user: &User,
    terminal: Option<&OwnedFd>,
    server: UnixStream,
) -> Result<Child, RunError> {
    let environment = environment(plan, user);
    let name = plan.arguments.first().ok_or(RunError::NoCommand)?;
    enter(&plan.directory)?;
    let program = find(name, variable(&environment, "PATH"))?;
    let mut command = Command::new(&program);
    if let Some(terminal) = terminal {
        let handle = || terminal.try_clone().map(Stdio::from);
        let failed = failed("duplicate", "/dev/console");
        command
            .stdin(handle().map_err(&failed)?)
            .stdout(handle().map_err(&failed)?);
        if rustix::termios::isatty(io::stderr()) {
            command.stderr(handle().map_err(&failed)?);
        }
    }
    let (has_terminal, identity) = (terminal.is_some(), Identity::of(ids, user)?);
    let image = Image::of(&program, &plan.arguments, &environment)?;
    // Who is not root may not do what the server could do for it.
    let filter = Filter::of(ids).filter(|_| user.uid == 0);
    sys::before_exec(&mut command, move || {
        rustix::process::setsid()?;
        if let Some(filter) = &filter {
            install(filter, &server)?;
        }
        if has_terminal {
            rustix::process::ioctl_tiocsctty(io::stdin().as_fd())?;
        }
        identity.assume()?;
        Err(image.execute())
    });
    command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RunError::NotFound(name.clone()),
        _ => RunError::NotExecutable {
            program: name.clone(),
            source,
        },
    })
}

/// Has the server answer some of this process's calls, where the kernel can have that.
fn install(filter: &Filter, server: &UnixStream) -> io::Result<()> {
    match sys::install_filter(filter.program()) {
        Ok(listener) => Ok(terminal::send(server.as_fd(), Some(listener.as_fd()))?),
        // EBUSY: some other program answers calls of all that is run in here. EINVAL, ENOSYS: an
        // old kernel.
        Err(Errno::BUSY | Errno::INVAL | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A program with its arguments and environment, as the kernel takes them.
#[derive(Debug)]
struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    fn of(
        program: &Path,
        arguments: &[OsString],
        environment: &[(OsString, OsString)],
    ) -> Result<Self, RunError> {
        let refused = |error: NulError| failed("start", program)(error.into());
        let words = |words: &mut dyn Iterator<Item = Vec<u8>>| {
            let words: Result<Vec<CString>, NulError> = words.map(CString::new).collect();
            words.map_err(refused)
        };
        let variable = |(name, value): &(OsString, OsString)| {
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        };
        let name = program.as_os_str().as_bytes();
        Ok(Self {
            program: CString::new(name).map_err(refused)?,
            arguments: words(&mut arguments.iter().map(|word| word.as_bytes().to_vec()))?,
            environment: words(&mut environment.iter().map(variable))?,
        })
    }

    fn execute(&self) -> io::Error {
        sys::execute(&self.program, &self.arguments, &self.environment).into()
    }
}

/// Changes to the directory to start in, and makes it where that can be done.
fn enter(directory: &Path) -> Result<(), RunError> {
    // What cannot be made cannot be entered, which says more.
    drop(fs::create_dir_all(directory));
    std::env::set_current_dir(directory).map_err(|source| RunError::NoDirectory {
        path: directory.to_owned(),
        source,
    })
}

/// Returns the environment, with what every program expects.
pub(super) fn environment(plan: &ProcessPlan, user: &User) -> Vec<(OsString, OsString)> {
    let mut environment = plan.environment.clone();
    let home = user.home.as_deref().filter(|home| !home.is_empty());
    for (name, value) in [("PATH", PATH), ("HOME", home.unwrap_or("/"))] {
        if variable(&environment, name).is_none() {
            environment.push((name.into(), value.into()));
        }
    }
    environment
}

fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let found = environment.iter().rev().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_os_str())
}

/// Finds a program as execvp(3) does.
fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, RunError> {
    let not_executable = |errno: Errno| RunError::NotExecutable {
        program: name.to_owned(),
        source: errno.into(),
    };
    if name.as_bytes().contains(&b'/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(RunError::NotFound(name.to_owned())),
            Err(errno) => Err(not_executable(errno)),
        };
    }
    let mut outcome = RunError::NotFound(name.to_owned());
    if name.is_empty() {
        return Err(outcome);
    }
    for directory in std::env::split_paths(path.unwrap_or_default()) {
        let candidate = directory.join(name);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => outcome = not_executable(Errno::ACCESS),
            Err(_) => {}
        }
    }
    Err(outcome)
}

/// Says whether a file is a program.
fn check(path: &Path) -> Result<(), Errno> {
    let metadata =
        fs::metadata(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        Ok(())
    } else {
        Err(Errno::ACCESS)
    }
}

/// Whom a process becomes, and how.
#[derive(Debug)]
enum Identity {
    /// It stays root of its user namespace.
    Root,
    /// A user of this user namespace; of a root of this machine's some power is taken.
    User {
        uid: Uid,
        gid: Gid,
        groups: Vec<Gid>,
        is_host: bool,
    },
    /// A user in another user namespace, for which root stands in this one.
    Alone { uids: String, gids: String },
}

impl Identity {
    fn of(ids: &Ids, user: &User) -> Result<Self, RunError> {
        if let Ids::Single { .. } = ids {
            return Ok(match (user.uid, user.gid) {
                (0, 0) => Self::Root,
                (uid, gid) => Self::Alone {
                    uids: format!("{uid} 0 1"),
                    gids: format!("{gid} 0 1"),
                },
            });
        }
        let unmapped = |kind, id| RunError::Unmapped { kind, id };
        if !ids.has_user(user.uid) {
            return Err(unmapped("user", user.uid));
        }
        if !ids.has_group(user.gid) {
            return Err(unmapped("group", user.gid));
        }
        let groups = user.groups.iter().filter(|gid| ids.has_group(**gid));
        Ok(Self::User {
            uid: Uid::from_raw(user.uid),
            gid: Gid::from_raw(user.gid),
            groups: groups.map(|gid| Gid::from_raw(*gid)).collect(),
            is_host: !ids.has_namespace(),
        })
    }

    /// Becomes that. Makes system calls alone: it is done between fork and exec.
    fn assume(&self) -> io::Result<()> {
        match self {
            Self::Root => Ok(()),
            Self::User {
                uid,
                gid,
                groups,
                is_host,
            } => {
                if *is_host {
                    give_up_capabilities()?;
                }
                set_thread_groups(groups)?;
                set_thread_res_gid(*gid, *gid, *gid)?;
                Ok(set_thread_res_uid(*uid, *uid, *uid)?)
            }
            Self::Alone { uids, gids } => {
                sys::unshare(UnshareFlags::NEWUSER)?;
                fs::write("/proc/self/setgroups", "deny")?;
                fs::write("/proc/self/uid_map", uids)?;
                fs::write("/proc/self/gid_map", gids)
            }
        }
    }
}

fn give_up_capabilities() -> io::Result<()> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        match remove_capability_from_bounding_set(capability) {
            // EINVAL: this kernel does not know it.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_execvp_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        for (path, mode) in [
            (first.join("plain"), 0o644),
            (first.join("both"), 0o644),
            (second.join("both"), 0o755),
            (second.join("tool"), 0o755),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(second.join("directory")).unwrap();
        let path = std::env::join_paths([&first, &second]).unwrap();
        let absolute = second.join("tool");
        let cases = [
            (
                "in the second directory",
                OsStr::new("tool"),
                Ok(second.join("tool")),
            ),
            (
                "one that is no program is passed over",
                OsStr::new("both"),
                Ok(second.join("both")),
            ),
            ("nowhere", OsStr::new("nope"), Err(127)),
            ("no program anywhere", OsStr::new("plain"), Err(126)),
            ("a directory", OsStr::new("directory"), Err(126)),
            ("nothing", OsStr::new(""), Err(127)),
            ("a path", absolute.as_os_str(), Ok(absolute.clone())),
            ("a path to nothing", OsStr::new("/nope/tool"), Err(127)),
        ];
        for (why, name, expected) in cases {
            let found = find(name, Some(&path)).map_err(|error| error.status());
            assert_eq!(found, expected, "{why}");
        }
    }
}

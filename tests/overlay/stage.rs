//! Directories to mount, the program under its other name, and who runs it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An ordinary user.
const NOBODY: u32 = 65534;

/// A directory with `lower/file`, `upper`, `work` and `point`; nothing is left of it.
pub(crate) struct Stage {
    dir: TempDir,
    user: Option<u32>,
}

impl Stage {
    /// Returns a stage of the user that runs the tests.
    pub(crate) fn new() -> Self {
        Self::of(None)
    }

    /// Returns a stage of root's; `None`, and a word about it, if this process is another's.
    pub(crate) fn of_root() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            return Some(Self::of(None));
        }
        eprintln!("skipped: not root");
        None
    }

    /// Returns a stage of an ordinary user's.
    pub(crate) fn of_nobody() -> Option<Self> {
        Self::of_root().map(|_| Self::of(Some(NOBODY)))
    }

    fn of(user: Option<u32>) -> Self {
        let dir = TempDir::with_prefix("mica-overlay-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { dir, user };
        for name in ["bin", "lower", "upper", "work", "point"] {
            stage.directory(name);
        }
        fs::write(stage.path("lower/file"), "contents\n").unwrap();
        // Not in its place: an ordinary user need not be able to reach that.
        let program = stage.path("bin/mica");
        fs::hard_link(env!("CARGO_BIN_EXE_mica"), &program)
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_mica"), &program).map(drop))
            .unwrap();
        symlink("mica", stage.path("bin/fuse-overlayfs")).unwrap();
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a directory of the user's.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        if self.user.is_some() {
            chown(&path, self.user, self.user).unwrap();
        }
        path
    }

    /// Returns a program of the stage or of the system, to be run in the stage.
    pub(crate) fn command(&self, program: &str) -> Command {
        let own = self.path("bin").join(program);
        let program = if own.exists() { own } else { program.into() };
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = self.path("bin");
        let path = [first.as_os_str(), OsStr::new("/usr/sbin"), &path].join(OsStr::new(":"));
        command
            .current_dir(self.dir.path())
            .env("PATH", path)
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a program until it has ended and nothing has its stdout and stderr open.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        finish(self.command(program).args(arguments))
    }

    /// Mounts at `point` with these options, which must be good.
    pub(crate) fn mount(&self, options: &str) -> Daemon {
        let output = self.run("fuse-overlayfs", &["-o", options, "point"]);
        assert!(output.status.success(), "{options}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
        self.daemon()
    }

    /// Returns the process that serves `point`.
    pub(crate) fn daemon(&self) -> Daemon {
        let found = fs::read_dir("/proc").unwrap().find_map(|entry| {
            let pid: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
            let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_daemon = words.split(|byte| *byte == 0).nth(1) == Some(b"serve-overlay");
            let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            (is_daemon && program == self.path("bin/mica")).then_some(pid)
        });
        Daemon(found.expect("a process serves"))
    }

    /// Returns the line of `point` in `/proc/mounts`.
    pub(crate) fn mounted(&self) -> Option<String> {
        let point = format!(" {} ", self.path("point").display());
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let line = mounts.lines().find(|line| line.contains(&point));
        line.map(ToOwned::to_owned)
    }

    pub(crate) fn unmount(&self) {
        let point = self.path("point");
        let output = match self.user {
            None => self.run("umount", &[point.to_str().unwrap()]),
            Some(_) => self.run("fusermount3", &["-u", point.to_str().unwrap()]),
        };
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for point in ["point", "upper", "."] {
            // Only after a failure is anything left to unmount.
            rustix::mount::unmount(self.path(point), UnmountFlags::DETACH).ok();
        }
    }
}

/// A process that serves.
pub(crate) struct Daemon(pub(crate) u32);

impl Daemon {
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.proc(file)).unwrap()
    }

    pub(crate) fn is_running(&self) -> bool {
        fs::read_to_string(self.proc("stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn ends(&self) {
        eventually("the process ends", || !self.is_running());
    }
}

/// Waits for an end of the program and of its output, as podman and containerd do.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(PATIENCE);
    output.expect("an end of the output").unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

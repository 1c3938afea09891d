//! A store with one image, and who uses it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mica::oci::{Descriptor, Digest, MediaType, Platform};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The programs that the image has beside `sh`.
const PROGRAMS: [&str; 25] = [
    "sh", "cat", "cp", "chgrp", "chmod", "chown", "echo", "env", "false", "hostname", "id", "kill",
    "ls", "mkdir", "mknod", "mount", "ps", "pwd", "rm", "sleep", "stat", "stty", "touch", "true",
    "tty",
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/srv/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:app\napp:x:1001:\n";

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Root.
    Root,
    /// An ordinary user.
    Bare,
    /// An ordinary user who has subordinate ids.
    Subordinate,
}

impl Who {
    pub(crate) const ALL: [Self; 3] = [Self::Root, Self::Bare, Self::Subordinate];
}

/// An ordinary user.
pub(crate) const NOBODY: u32 = 65534;

/// A directory with a store, an image in a layout, and the program; nothing is left of it.
pub(crate) struct Stage {
    dir: TempDir,
    who: Who,
}

impl Stage {
    /// Makes a stage with the image `image`, which is not in the store yet.
    pub(crate) fn new(who: Who) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "the tests run as root"
        );
        let dir = TempDir::with_prefix("mica-run-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stage = Self { dir, who };
        for name in ["bin", "home", "image", "volume"] {
            stage.directory(name);
        }
        // Not in its place: an ordinary user need not be able to reach that.
        let program = stage.path("bin/mica");
        fs::hard_link(env!("CARGO_BIN_EXE_mica"), &program)
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_mica"), &program).map(drop))
            .unwrap();
        fs::write(stage.path("subids"), format!("{NOBODY}:200000:65536\n")).unwrap();
        write_layout(&stage.path("image"), &Platform::host(), &config());
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a directory of the user's.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        if self.who != Who::Root {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    /// Returns the image as the command line names it.
    pub(crate) fn image(&self) -> String {
        format!("oci:{}", self.path("image").display())
    }

    /// Returns a call of the program by the user.
    pub(crate) fn mica(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.path("bin/mica"), "");
        command.arg("--root").arg(self.path("home/store"));
        command.args(arguments);
        command
    }

    /// Returns the same, with its input as the terminal that controls it.
    pub(crate) fn on_terminal(&self, arguments: &[&str]) -> Command {
        self.through(Path::new("setsid"), &["--ctty"], arguments)
    }

    /// Returns the same, as the arguments of a script.
    pub(crate) fn in_shell(&self, script: &str, arguments: &[&str]) -> Command {
        self.through(Path::new("sh"), &["-c", script, "sh"], arguments)
    }

    /// Returns the same by root of a user namespace: of one with the ids of the user alone, or all
    /// that it has.
    pub(crate) fn in_namespace(&self, arguments: &[&str]) -> Command {
        let options: &[&str] = match self.who {
            Who::Subordinate => &["--user", "--map-root-user", "--map-auto"],
            Who::Root | Who::Bare => &["--user", "--map-root-user"],
        };
        self.through(Path::new("unshare"), options, arguments)
    }

    fn through(&self, program: &Path, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.command(program, "");
        command.args(options).arg(self.path("bin/mica"));
        command.arg("--root").arg(self.path("home/store"));
        command.args(arguments);
        command
    }

    /// Returns a call of a program by the user, on a machine with cgroups as runtimes want them.
    pub(crate) fn with_cgroups(&self, program: &Path) -> Command {
        const CGROUPS: &str = "umount -R /sys/fs/cgroup 2>/dev/null; \
            mount -t cgroup2 cgroup2 /sys/fs/cgroup && ";
        self.command(program, CGROUPS)
    }

    /// Returns a call of a program by the user, after a script of root's in a mount namespace
    /// of its own.
    fn command(&self, program: &Path, script: &str) -> Command {
        const SUBIDS: &str =
            "mount --bind \"$1\" /etc/subuid && mount --bind \"$1\" /etc/subgid && ";
        let subids = if self.who == Who::Subordinate {
            SUBIDS
        } else {
            ""
        };
        let is_user = self.who != Who::Root;
        let mut command = if script.is_empty() && subids.is_empty() {
            let mut command = Command::new(program);
            if is_user {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        } else {
            let user = if is_user { NOBODY } else { 0 };
            let script = format!(
                "{script}{subids}shift && \
                exec setpriv --reuid {user} --regid {user} --clear-groups -- \"$@\""
            );
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", &script, "sh"]);
            command.arg(self.path("subids")).arg(program);
            command
        };
        command
            .current_dir("/")
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in the image, with options of `mica run`.
    pub(crate) fn run(&self, options: &[&str], command: &[&str]) -> Output {
        let image = self.image();
        let words = [&["run"], options, &[&image], command].concat();
        self.mica(&words).output().unwrap()
    }

    /// Has the program do something, which must succeed; returns what it prints.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.mica(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text(&output.stdout)
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns how the image is run if nobody says otherwise.
fn config() -> Value {
    json!({
        "Env": ["PATH=/bin", "FROM=image", "KEPT=yes"],
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo from the image"],
        "WorkingDir": "/srv",
    })
}

/// Writes a layout of one image with busybox in it.
pub(crate) fn write_layout(directory: &Path, platform: &Platform, config: &Value) {
    let layer = layer();
    let mut document = serde_json::to_value(platform).unwrap();
    document["config"] = config.clone();
    document["rootfs"] = json!({ "type": "layers", "diff_ids": [Digest::sha256(&layer)] });
    let document = serde_json::to_vec(&document).unwrap();
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "config": Descriptor::of(MediaType::OCI_CONFIG, &document),
        "layers": [Descriptor::of(MediaType::OCI_LAYER, &layer)],
    }))
    .unwrap();
    let descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    for blob in [layer, document, manifest] {
        let name = format!("blobs/sha256/{}", Digest::sha256(&blob).hex());
        fs::write(directory.join(name), blob).unwrap();
    }
    fs::write(
        directory.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    fs::write(
        directory.join("index.json"),
        serde_json::to_vec(&index).unwrap(),
    )
    .unwrap();
}

fn layer() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, mode: u32, owner: u64, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        archive.append_data(&mut header, name, data).unwrap();
    };
    let directory = tar::EntryType::Directory;
    for name in ["bin", "dev", "etc", "proc", "root", "srv", "sys"] {
        add(name, directory, 0o755, 0, b"");
    }
    for name in ["run", "tmp", "var", "var/tmp"] {
        add(name, directory, 0o1777, 0, b"");
    }
    add("srv/app", directory, 0o750, 1000, b"");
    let file = tar::EntryType::Regular;
    add("bin/busybox", file, 0o755, 0, &busybox());
    add("etc/passwd", file, 0o644, 0, PASSWD.as_bytes());
    add("etc/group", file, 0o644, 0, GROUP.as_bytes());
    add("etc/resolv.conf", file, 0o644, 0, b"");
    add("bin/plain", file, 0o644, 0, b"no program");
    add("bin/odd", file, 0o755, 0, b"\x7fELF of another machine");
    for program in PROGRAMS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let name = format!("bin/{program}");
        archive.append_link(&mut header, name, "busybox").unwrap();
    }
    archive.into_inner().unwrap()
}

/// Returns a program for all that the image is to do, which needs no other file.
fn busybox() -> Vec<u8> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("busybox"))
        .find(|path| path.exists());
    fs::read(found.expect("busybox-static is installed")).unwrap()
}

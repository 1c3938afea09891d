//! What a machine may lack or forbid, and what is said about it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mica_fuse::session::{self, Busy};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::layout::{Layout, tar_of};
use crate::mounting::names;

const NOBODY: u32 = 65534;

/// An ordinary user with an image in the store, and a root who changes the machine for one
/// command of that user's.
struct Machine {
    dir: TempDir,
    image: String,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_mica"), dir.path().join("mica")).unwrap();
        fs::create_dir(dir.path().join("roots")).unwrap();
        for name in ["home", "home/point"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            chown(dir.path().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut layout = Layout::new();
        layout.add_tar(&tar_of(&[("file", b"content")]));
        let image = layout.finish().hex().to_owned();
        layout.open_to_all();
        let machine = Self { dir, image };
        let pulled = machine.mica(&["pull", "-q", &layout.source()]);
        assert!(pulled.status.success(), "{pulled:?}");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the user's program.
    fn mica(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        self.output(command.arg(self.path("mica")).args(arguments))
    }

    /// The same, after a script that root runs in mounts of its own, in the directory of the
    /// machine.
    fn apart(&self, script: &str, arguments: &[&str]) -> Output {
        let switch = format!(
            "set -e; cd \"$1\"; shift; {script}
            exec setpriv --reuid=65534 --regid=65534 --clear-groups $wrap \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &switch, "sh"]);
        command.arg(self.dir.path()).arg(self.path("mica"));
        self.output(command.args(arguments))
    }

    fn output(&self, command: &mut Command) -> Output {
        // Where the store is if nobody says.
        command.env("HOME", self.path("home"));
        command.env_remove("XDG_DATA_HOME").output().unwrap()
    }

    /// Returns the process that serves the one mount.
    fn server(&self) -> Pid {
        let output = self.mica(&["mounts", "--json"]);
        let mounts: Value = serde_json::from_slice(&output.stdout).unwrap();
        Pid::from_raw(mounts[0]["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
    }

    /// Kills that process, and waits until its mount is dead; the kernel may list it still.
    fn kill_server(&self, point: &Path) {
        kill_process(self.server(), Signal::KILL).unwrap();
        for _ in 0..2000 {
            if self
                .tool("stat", &["--file-system".as_ref(), point])
                .is_err()
            {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("{} is still served", point.display());
    }

    /// Runs a program as the user; returns what it prints, or says.
    fn tool(&self, program: &str, arguments: &[&Path]) -> Result<Vec<u8>, Vec<u8>> {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
        let output = self.output(command.args(arguments));
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(output.stderr)
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // There is one only after a failure.
        drop(session::unmount(&self.path("home/point"), Busy::Detach));
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_a_machine_lacks_is_told_with_what_to_do() {
    const NO_DEVICE: &str = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3;";
    const CLOSED: &str = "rm -f fuse; mknod -m 600 fuse c 10 229; mount --bind fuse /dev/fuse;";
    const NO_HELPER: &str = "export FUSERMOUNT_PATH=/nonexistent/fusermount3;";
    const ROOTS_HELPER: &str =
        "install -m 700 /bin/true helper; export FUSERMOUNT_PATH=\"$PWD/helper\";";
    const NO_NAMESPACES: &str =
        "wrap='unshare --user --map-current-user --keep-caps sh no-namespaces';
        echo 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"' >no-namespaces;";
    let cases = [
        (
            "no device",
            NO_DEVICE,
            &["mount", "run"][..],
            "there is no /dev/fuse\nhint: load the module (modprobe fuse), or give the container the device (--device /dev/fuse)",
        ),
        (
            "a device for root alone",
            CLOSED,
            &["mount", "run"],
            "/dev/fuse may not be opened by this user\nhint: give the device mode 0666",
        ),
        (
            "no helper",
            NO_HELPER,
            &["mount"],
            "fusermount3 was not found\nhint: install fuse3 (apt-get install fuse3), or mount as root",
        ),
        (
            "a helper for root alone",
            ROOTS_HELPER,
            &["mount"],
            "fusermount3 may not be run by this user\nhint: let its group or everybody run it (chmod 4755), or mount as root",
        ),
        (
            "no user namespaces",
            NO_NAMESPACES,
            &["run"],
            "user namespaces are not allowed for this user\ncaused by: No space left on device (os error 28)\nhint: allow them (sysctl user.max_user_namespaces=10000; where there is one, kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0), or run as root",
        ),
    ];
    let machine = Machine::new();
    let point = machine.path("home/point").display().to_string();
    for (why, script, commands, expected) in cases {
        for command in commands {
            let last = if *command == "run" { "true" } else { &point };
            let output = machine.apart(script, &[command, &machine.image, last]);
            assert_eq!(
                errors(&output),
                format!("error: {expected}\n"),
                "{why}: {command}"
            );
            let status = if *command == "run" { 125 } else { 1 };
            assert_eq!(output.status.code(), Some(status), "{why}: {command}");
        }
    }
}

#[test]
fn a_mount_point_of_somebody_else_is_refused() {
    let machine = Machine::new();
    let point = machine.path("roots");
    let output = machine.apart("", &["mount", &machine.image, point.to_str().unwrap()]);
    let error = errors(&output);
    let expected = format!(
        "error: fusermount3 refused to mount at {}: ",
        point.display()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(
        error
            .ends_with("hint: mount on a directory of your own; `mica doctor` looks at the rest\n"),
        "{error}"
    );
}

#[test]
fn a_mount_whose_process_has_died_is_cleared() {
    let machine = Machine::new();
    let point = machine.path("home/point");
    let place = point.to_str().unwrap();
    let done = |arguments: &[&str]| {
        let output = machine.mica(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    done(&["mount", &machine.image, place]);
    machine.kill_server(&point);
    done(&["mount", &machine.image, place]);
    assert_eq!(
        machine.tool("ls", &[&point]).unwrap(),
        b"file\n",
        "by mount"
    );
    let again = machine.mica(&["mount", &machine.image, place]);
    assert!(
        errors(&again).contains("is already a mount of mica"),
        "{again:?}"
    );
    machine.kill_server(&point);
    done(&["umount", place]);
    assert_eq!(names(&point), [""; 0], "by umount");
}

#[test]
fn a_store_where_files_have_no_attributes_is_refused_at_once() {
    let machine = Machine::new();
    let script = "mount -t ramfs -o mode=777 none roots;";
    let root = machine.path("roots/store").display().to_string();
    for command in [&["images"][..], &["pull", "oci:/nonexistent"]] {
        let arguments = [&["--root", &root], command].concat();
        let output = machine.apart(script, &arguments);
        assert_eq!(
            errors(&output),
            format!(
                "error: the file system of {root} has no extended attributes\n\
                 hint: name a directory on ext4, xfs, btrfs or the like by --root\n"
            ),
            "{command:?}"
        );
        assert_eq!(output.status.code(), Some(1));
    }
}

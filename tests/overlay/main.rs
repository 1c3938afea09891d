//! `mica overlay` under the name `fuse-overlayfs`: the contract with those who call it,
//! with real mounts.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod looks;
mod owners;
mod stage;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use stage::{Daemon, Stage, eventually, finish, stderr};

#[test]
fn the_mount_is_there_when_the_command_has_ended() {
    let stage = Stage::new();
    let daemon = stage.mount("lowerdir=lower");
    let line = stage.mounted().unwrap();
    assert!(line.starts_with("fuse-overlayfs "), "{line}");
    assert!(line.contains(" fuse.fuse-overlayfs "), "{line}");
    assert!(line.contains("noatime,user_id="), "{line}");
    assert!(line.contains(",default_permissions"), "{line}");
    let file = stage.path("point/file");
    assert_eq!(fs::read_to_string(file).unwrap(), "contents\n");
    let written = fs::write(stage.path("point/new"), "").unwrap_err();
    assert_eq!(written.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    stage.unmount();
    daemon.ends();
}

#[test]
fn the_process_has_nothing_of_its_caller() {
    let stage = Stage::new();
    // Not close-on-exec: a caller may be careless.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let daemon = stage.mount("lowerdir=lower");
    drop(writer);
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]).unwrap(), 0);
    for descriptor in ["fd/0", "fd/1", "fd/2"] {
        let null = || fs::read_link(daemon.proc(descriptor)).unwrap() == Path::new("/dev/null");
        eventually(descriptor, null);
    }
    assert_eq!(fs::read_link(daemon.proc("cwd")).unwrap(), Path::new("/"));
    assert_eq!(daemon.read("comm"), "fuse-overlayfs\n");
    assert!(daemon.read("status").contains("Umask:\t0000\n"));
    let limits = daemon.read("limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let files: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "soft and hard");
    let stat = daemon.read("stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    assert_eq!(fields[3], daemon.0.to_string(), "a session of its own");
    stage.unmount();
    daemon.ends();
}

#[test]
fn a_signal_takes_the_mount_away() {
    let stage = Stage::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let daemon = stage.mount("lowerdir=lower");
        let in_use = fs::File::open(stage.path("point/file")).unwrap();
        daemon.signal(signal);
        daemon.ends();
        assert_eq!(stage.mounted(), None, "{signal:?}");
        drop(in_use);
    }
}

#[test]
fn statistics_are_printed_in_the_foreground_alone() {
    let stage = Stage::new();
    let daemon = stage.mount("lowerdir=lower");
    daemon.signal(Signal::USR1);
    assert!(fs::exists(stage.path("point/file")).unwrap());
    stage.unmount();
    daemon.ends();

    let mut command = stage.command("fuse-overlayfs");
    command.args(["-f", "-o", "lowerdir=lower", "point"]);
    let stderr = fs::File::create(stage.path("stderr")).unwrap();
    let mut child = command.stderr(stderr).spawn().unwrap();
    eventually("it is mounted", || stage.mounted().is_some());
    let daemon = Daemon(child.id());
    // The handler is there a moment after the mount.
    eventually("it is counted", || {
        fs::exists(stage.path("point/file")).unwrap()
    });
    eventually("it is caught", || !is_fatal(&daemon, Signal::USR1));
    daemon.signal(Signal::USR1);
    eventually("it is printed", || {
        let text = fs::read_to_string(stage.path("stderr")).unwrap();
        text.starts_with("# REQUESTS: ")
    });
    daemon.signal(Signal::TERM);
    assert!(child.wait().unwrap().success());
    assert_eq!(stage.mounted(), None);
}

fn is_fatal(daemon: &Daemon, signal: Signal) -> bool {
    let status = daemon.read("status");
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:\t"));
    let caught = u64::from_str_radix(caught.unwrap(), 16).unwrap();
    caught >> (signal.as_raw() - 1) & 1 == 0
}

#[test]
fn five_hundred_lowers_by_links_and_relative_paths() {
    let stage = Stage::new();
    stage.directory("l");
    let mut names = Vec::new();
    for number in 0..500 {
        let layer = stage.directory(&format!("layers/{number}/diff"));
        fs::write(layer.join("top"), number.to_string()).unwrap();
        fs::write(layer.join(format!("only-{number}")), "").unwrap();
        let name = format!("l/{number:026}");
        symlink(format!("../layers/{number}/diff"), stage.path(&name)).unwrap();
        names.push(name);
    }
    let daemon = stage.mount(&format!("lowerdir={}", names.join(":")));
    assert_eq!(fs::read_to_string(stage.path("point/top")).unwrap(), "0");
    assert_eq!(fs::read_dir(stage.path("point")).unwrap().count(), 501);
    stage.unmount();
    daemon.ends();
}

#[test]
fn names_of_any_characters() {
    let stage = Stage::new();
    let layers = [
        ("comma,", r"comma\,"),
        ("colon:", r"colon\:"),
        ("colon:twice", r"colon\\:twice"),
        (r"back\slash", r"back\\slash"),
        (r"back\bare", r"back\bare"),
        ("space and tab\t", "space and tab\t"),
        ("new\nline", r"new\012line"),
    ];
    let mut lower = Vec::new();
    for (name, escaped) in layers {
        let layer = stage.directory(name);
        fs::write(layer.join(escaped.len().to_string() + name), "").unwrap();
        lower.push(escaped);
    }
    let options = format!("context=\"a:b,c\",lowerdir={}", lower.join(":"));
    let daemon = stage.mount(&options);
    for (name, escaped) in layers {
        let file = escaped.len().to_string() + name;
        assert!(stage.path("point").join(&file).exists(), "{name}");
    }
    stage.unmount();
    daemon.ends();

    let point = stage.directory("po,in:t \\ 1");
    let output = stage.run("fuse-overlayfs", &["-o", "lowerdir=lower", "po,in:t \\ 1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(point.join("file").exists());
    let daemon = stage.daemon();
    daemon.signal(Signal::TERM);
    daemon.ends();
    assert!(!point.join("file").exists());
}

#[test]
fn the_mount_point_may_be_the_upper_or_lie_above_a_lower() {
    let stage = Stage::new();
    let options = "lowerdir=lower,upperdir=point,workdir=work";
    let daemon = stage.mount(options);
    fs::write(stage.path("point/new"), "written\n").unwrap();
    stage.unmount();
    daemon.ends();
    assert_eq!(fs::read(stage.path("point/new")).unwrap(), b"written\n");

    let below = stage.directory("point/below");
    fs::write(below.join("deep"), "").unwrap();
    let daemon = stage.mount("lowerdir=point/below:lower");
    assert!(stage.path("point/deep").exists() && stage.path("point/file").exists());
    assert!(!stage.path("point/below").exists());
    stage.unmount();
    daemon.ends();
}

#[test]
fn changes_go_to_the_upper() {
    let stage = Stage::new();
    let upper = "lowerdir=lower,upperdir=upper,workdir=work,volatile";
    let daemon = stage.mount(upper);
    assert!(stage.mounted().unwrap().contains(" rw,"));
    fs::write(stage.path("point/file"), "changed\n").unwrap();
    assert_eq!(fs::read(stage.path("upper/file")).unwrap(), b"changed\n");
    assert_eq!(fs::read(stage.path("lower/file")).unwrap(), b"contents\n");
    stage.unmount();
    daemon.ends();
    let daemon = stage.mount(&format!("{upper},ro"));
    let written = fs::write(stage.path("point/file"), "").unwrap_err();
    assert_eq!(written.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read(stage.path("point/file")).unwrap(), b"changed\n");
    stage.unmount();
    daemon.ends();
}

#[test]
fn an_upper_that_was_in_use_a_moment_ago_is_waited_for() {
    let stage = Stage::new();
    // As a process holds it whose mount is gone and which has not ended yet.
    let held = fs::File::open(stage.path("upper")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let ends = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(held);
    });
    let daemon = stage.mount("lowerdir=lower,upperdir=upper,workdir=work");
    ends.join().unwrap();
    stage.unmount();
    daemon.ends();
}

#[test]
fn flags_of_root_reach_the_kernel() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let usual = "noatime,user_id=0,group_id=0,default_permissions,allow_other";
    let cases = [
        ("", format!("ro,nodev,{usual}")),
        ("dev,suid", format!("ro,{usual}")),
        ("nosuid,noexec", format!("ro,nosuid,nodev,noexec,{usual}")),
        ("upperdir=upper,workdir=work", format!("rw,nodev,{usual}")),
    ];
    for (options, expected) in cases {
        let daemon = stage.mount(&format!("lowerdir=lower,{options}"));
        let line = stage.mounted().unwrap();
        assert!(line.contains(&format!(" {expected} ")), "{options}: {line}");
        stage.unmount();
        daemon.ends();
    }
}

#[test]
fn failures_are_told_and_leave_nothing() {
    let stage = Stage::new();
    let cases: [(&[&str], &str); 8] = [
        (&["-o", "lowerdir=lower"], "no mountpoint specified"),
        (
            &["-o", "lowerdir=absent", "point"],
            "cannot read lower dirs",
        ),
        (
            &["-o", "lowerdir=lower/file", "point"],
            "cannot read lower dirs",
        ),
        (
            &["-o", "lowerdir=lower,upperdir=upper", "point"],
            "workdir not specified",
        ),
        (
            &["-o", "lowerdir=lower,upperdir=no,workdir=work", "point"],
            "cannot read upper dir",
        ),
        (
            &["-o", "lowerdir=lower,upperdir=upper,workdir=no", "point"],
            "cannot read upper dir",
        ),
        (&["-o", "lowerdir=lower", "absent"], "absent does not exist"),
        (
            &["-o", "lowerdir=lower,uidmapping=0:1", "point"],
            "invalid mapping specified: 0:1",
        ),
    ];
    for (arguments, expected) in cases {
        let output = stage.run("fuse-overlayfs", arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let message = stderr(&output);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(stage.mounted(), None);
}

#[test]
fn unknown_options_are_ignored() {
    let stage = Stage::new();
    let options = "metacopy=on,lowerdir=lower,private,rw";
    let output = stage.run("fuse-overlayfs", &["-o", options, "--strange", "point"]);
    assert!(output.status.success());
    let told = "unknown argument ignored: metacopy=on\n\
                unknown argument ignored: private\n\
                unknown argument ignored: --strange\n";
    assert_eq!(stderr(&output), told);
    let daemon = stage.daemon();
    stage.unmount();
    daemon.ends();
}

#[test]
fn version_and_help_go_to_stdout() {
    let stage = Stage::new();
    for (flag, expected) in [
        ("--version", "fuse-overlayfs: version "),
        ("-V", "fuse-overlayfs: version "),
        ("-h", "usage: fuse-overlayfs [options] <mountpoint>\n"),
        ("--help", "usage: fuse-overlayfs [options] <mountpoint>\n"),
    ] {
        let output = stage.run("fuse-overlayfs", &[flag]);
        assert!(output.status.success(), "{flag}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with(expected), "{flag}: {text}");
    }
}

#[test]
fn as_a_command_of_mica_and_for_mount_8() {
    let stage = Stage::new();
    symlink("mica", stage.path("bin/mount.fuse.mica")).unwrap();
    let point = stage.path("point");
    let calls: [(&str, &[&str]); 2] = [
        ("mica", &["overlay", "-o", "lowerdir=lower", "point"]),
        (
            "mount.fuse.mica",
            &["none", "point", "-n", "-o", "rw,lowerdir=lower"],
        ),
    ];
    for (program, arguments) in calls {
        let output = stage.run(program, arguments);
        assert!(output.status.success(), "{program}: {}", stderr(&output));
        let line = stage.mounted().unwrap();
        assert!(
            line.starts_with("mica ") && line.contains(" fuse.mica "),
            "{line}"
        );
        let daemon = stage.daemon();
        let store = stage.path("store");
        let arguments = [
            "--root",
            store.to_str().unwrap(),
            "umount",
            point.to_str().unwrap(),
        ];
        let output = stage.run("mica", &arguments);
        assert!(output.status.success(), "{program}: {}", stderr(&output));
        daemon.ends();
    }
}

#[test]
fn as_containerd_calls_it() {
    let Some(stage) = Stage::of_root() else {
        return;
    };
    let lower = format!("lowerdir={}", stage.path("lower").display());
    let upper = format!("upperdir={}", stage.path("upper").display());
    let work = format!("workdir={}", stage.path("work").display());
    let point = stage.path("point");
    let output = stage.run(
        "mount.fuse3",
        &[
            "overlay",
            point.to_str().unwrap(),
            "-o",
            &work,
            "-o",
            &upper,
            "-o",
            &lower,
            "-t",
            "fuse-overlayfs",
        ],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    assert!(
        stage
            .mounted()
            .unwrap()
            .contains(" fuse.fuse-overlayfs rw,noatime,")
    );
    let daemon = stage.daemon();
    stage.unmount();
    daemon.ends();
}

#[test]
fn by_an_ordinary_user() {
    let Some(stage) = Stage::of_nobody() else {
        return;
    };
    let daemon = stage.mount("lowerdir=lower,upperdir=upper,workdir=work");
    let line = stage.mounted().unwrap();
    assert!(
        line.contains(" fuse.fuse-overlayfs rw,nosuid,nodev,noatime,"),
        "{line}"
    );
    assert!(!line.contains("allow_other"), "{line}");
    let script = "cat point/file && echo mine > point/new && rm point/file && ls point";
    let output = finish(stage.command("sh").args(["-ec", script]));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text, "contents\nnew\n", "{}", stderr(&output));
    stage.unmount();
    daemon.ends();
    assert!(stage.path("upper/new").exists());
}

#[test]
fn by_root_of_a_user_namespace_without_a_helper() {
    let Some(stage) = Stage::of_nobody() else {
        return;
    };
    // What is in `only` is all that can be found, and it mounts nothing.
    let only = stage.directory("only");
    for tool in ["cat", "grep", "ls", "sh", "umount"] {
        symlink(format!("/usr/bin/{tool}"), only.join(tool)).unwrap();
    }
    fs::set_permissions(&only, fs::Permissions::from_mode(0o755)).unwrap();
    let script = "
        PATH=$PWD/only
        bin/fuse-overlayfs -o lowerdir=lower,upperdir=upper,workdir=work point
        grep $PWD/point /proc/mounts
        echo mine > point/new
        cat point/file point/new
        umount point";
    let output = stage.run(
        "unshare",
        &["--user", "--map-root-user", "--mount", "sh", "-ec", script],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (line, contents) = text.split_once('\n').unwrap();
    assert!(
        line.contains(" rw,nodev,noatime,user_id=0,group_id=0,default_permissions,allow_other"),
        "{line}"
    );
    assert_eq!(contents, "contents\nmine\n");
    assert!(stage.path("upper/new").exists());
}

//! `mica run`, as root, as an ordinary user, and as one with subordinate ids.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod runtimes;
mod stage;
mod terminal;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mica::oci::Platform;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use stage::{Stage, Who, text, write_layout};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_status_is_that_of_the_command() {
    let cases: [(&str, &[&str], i32); 8] = [
        ("the image's own command", &[], 0),
        ("it succeeds", &["exit 0"], 0),
        ("it fails", &["exit 7"], 7),
        ("a signal ends it", &["kill -TERM $$"], 143),
        ("there is no such program", &["--", "/bin/nope"], 127),
        ("none in the path either", &["--", "nope"], 127),
        ("it is no program", &["--", "plain"], 126),
        ("it is one of no known form", &["--", "/bin/odd"], 126),
    ];
    for who in Who::ALL {
        let stage = Stage::new(who);
        for (why, command, expected) in cases {
            let output = match command {
                ["--", program] => stage.run(&["--entrypoint", program], &[]),
                command => stage.run(&[], command),
            };
            assert_eq!(
                output.status.code(),
                Some(expected),
                "{who:?}, {why}: {output:?}"
            );
            let is_told = text(&output.stderr).contains("error: ");
            assert_eq!(is_told, matches!(expected, 126 | 127), "{who:?}, {why}");
        }
    }
}

#[test]
fn the_command_is_run_as_the_image_and_the_user_say() {
    let cases: [(&str, &[&str], &str, &str); 12] = [
        ("the image's command", &[], "", "from the image"),
        ("who", &[], "id -u; id -g", "0\n0"),
        ("its directory", &[], "pwd", "/srv"),
        ("another directory", &["--workdir", "/etc"], "pwd", "/etc"),
        ("relative to the image's", &["-w", "app"], "pwd", "/srv/app"),
        (
            "its environment",
            &[],
            "echo $FROM $KEPT $HOME $PATH",
            "image yes /root /bin",
        ),
        (
            "other variables",
            &["-e", "FROM=user", "-e", "HOME"],
            "echo $FROM $KEPT",
            "user yes",
        ),
        (
            "a name for the machine",
            &["--hostname", "box"],
            "hostname",
            "box",
        ),
        ("it is the second process", &[], "echo $$", "2"),
        (
            "a user by name",
            &["--user", "app"],
            "id -u; id -g; echo $HOME",
            "1000\n1001\n/srv/app",
        ),
        (
            "by numbers",
            &["--user", "1000:1001"],
            "id -u; id -g",
            "1000\n1001",
        ),
        (
            "devices",
            &[],
            "echo x >/dev/null; ls -L /dev/ptmx; ls /dev/shm",
            "/dev/ptmx",
        ),
    ];
    for who in Who::ALL {
        let stage = Stage::new(who);
        for (why, options, script, expected) in cases {
            let command = if script.is_empty() {
                vec![]
            } else {
                vec![script]
            };
            let output = stage.run(options, &command);
            let printed = text(&output.stdout);
            assert_eq!(printed.trim_end(), expected, "{who:?}, {why}: {output:?}");
        }
    }
}

#[test]
fn without_a_word_nothing_can_be_written_but_scratch() {
    for who in Who::ALL {
        let stage = Stage::new(who);
        let script = "touch /tmp/x /run/x /var/tmp/x && ! touch /etc/x 2>/dev/null && \
            ! touch /sys/x 2>/dev/null && ls /etc";
        let listed = stage.run(&[], &[script]);
        assert!(listed.status.success(), "{who:?}: {listed:?}");
        assert_eq!(
            text(&listed.stdout),
            "group\npasswd\nresolv.conf\n",
            "{who:?}"
        );
    }
}

#[test]
fn what_is_written_is_thrown_away_or_kept() {
    for who in Who::ALL {
        let stage = Stage::new(who);
        let (write, look) = (
            "echo new >/etc/new; rm /bin/plain; cat /etc/new",
            "ls /etc/new",
        );
        let run = |options: &[&str], script: &str| stage.run(options, &[script]);
        assert_eq!(text(&run(&["--rw"], write).stdout), "new\n", "{who:?}");
        assert!(
            !run(&["--rw"], look).status.success(),
            "{who:?}: it was thrown away"
        );
        let left = fs::read_dir(stage.path("home/store/tmp")).unwrap().count();
        assert_eq!(left, 0, "{who:?}: nothing is left of it");
        assert_eq!(
            text(&run(&["--rw", "--keep", "work"], write).stdout),
            "new\n",
            "{who:?}"
        );
        let changed = stage.done(&["diff", "work"]);
        assert_eq!(changed, "D /bin/plain\nA /etc/new\n", "{who:?}");
        let again = stage.done(&["run", "work", "cat /etc/new"]);
        assert_eq!(again, "new\n", "{who:?}: a snapshot is run as an image is");
        let taken = run(&["--rw", "--keep", "work"], write);
        assert_eq!(taken.status.code(), Some(125), "{who:?}: the name is taken");
        stage.done(&["snapshot", "rm", "work"]);
    }
}

#[test]
fn volumes_are_shown_and_can_be_written_to_unless_that_is_not_wanted() {
    for who in Who::ALL {
        let stage = Stage::new(who);
        let volume = stage.path("volume");
        fs::write(volume.join("here"), "outside").unwrap();
        let of = |end: &str| format!("{}:/srv/app{end}", volume.display());
        let (open, closed) = (of(""), of(":ro"));
        let script = "cat /srv/app/here && touch /srv/app/made";
        let output = stage.run(&["-v", &open], &[script]);
        assert!(output.status.success(), "{who:?}: {output:?}");
        assert_eq!(text(&output.stdout), "outside", "{who:?}");
        assert!(volume.join("made").exists(), "{who:?}");
        let output = stage.run(&["-v", &closed], &[script]);
        assert_eq!(text(&output.stdout), "outside", "{who:?}");
        assert!(!output.status.success(), "{who:?}: it cannot be written to");
        let nowhere = format!("{}:/nowhere", volume.display());
        let output = stage.run(&["-v", &nowhere], &["true"]);
        assert_eq!(output.status.code(), Some(125), "{who:?}");
        assert!(
            text(&output.stderr).contains("/nowhere is not in the image"),
            "{output:?}"
        );
        let output = stage.run(&["--rw", "-v", &nowhere], &["ls /nowhere"]);
        assert!(
            text(&output.stdout).contains("here"),
            "{who:?}: a place is made: {output:?}"
        );
    }
}

#[test]
fn an_image_of_another_architecture_is_refused() {
    let stage = Stage::new(Who::Bare);
    let layout = stage.directory("other");
    let foreign = Platform::new("linux", "s390x", "");
    write_layout(&layout, &foreign, &json!({ "Cmd": ["true"] }));
    let source = format!("oci:{}", layout.display());
    let name = "localhost/other:latest";
    stage.done(&["pull", "--quiet", "--platform", "linux/s390x", &source]);
    let output = stage.mica(&["run", name]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let message = text(&output.stderr);
    assert!(
        message.contains("is for linux/s390x, not for linux/"),
        "{message}"
    );
}

#[test]
fn signals_reach_the_command() {
    for who in [Who::Root, Who::Bare] {
        let stage = Stage::new(who);
        let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done";
        let (mut child, mut lines) = started(&stage, script);
        assert_eq!(lines.line(), "ready");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(ended(&mut child), Some(9), "{who:?}");
    }
}

#[test]
fn nothing_is_left_when_the_server_is_killed() {
    for who in [Who::Root, Who::Bare] {
        let stage = Stage::new(who);
        let (mut child, mut lines) = started(&stage, "echo ready; sleep 600; true");
        assert_eq!(lines.line(), "ready");
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        assert_eq!(ended(&mut child), None, "{who:?}: a signal ended it");
        // The pipe has its end only when the last process inside has gone.
        assert_eq!(lines.rest(), "", "{who:?}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let store = stage.path("home/store").display().to_string();
        assert!(!mounts.contains(&store), "{who:?}: {mounts}");
        stage.done(&["gc"]);
    }
}

#[test]
fn orphans_do_not_keep_the_run() {
    let stage = Stage::new(Who::Bare);
    let start = Instant::now();
    let output = stage.run(&[], &["(sleep 600 &) ; (true &) ; exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn what_a_user_may_not_be_has_its_error() {
    let cases = [
        ("nobody", 125, "the image has no user called \"nobody\""),
        (
            "app:nogroup",
            125,
            "the image has no group called \"nogroup\"",
        ),
        ("0:99999999", 125, "group 99999999 is none of the ids"),
    ];
    let stage = Stage::new(Who::Subordinate);
    for (user, expected, message) in cases {
        let output = stage.run(&["--user", user], &["true"]);
        assert_eq!(output.status.code(), Some(expected), "{user}: {output:?}");
        assert!(text(&output.stderr).contains(message), "{user}: {output:?}");
    }
}

#[test]
fn owners_and_devices_are_those_that_root_would_make() {
    let script = "cd /etc && touch f && chown 33:42 f && chmod 4755 f && mknod d c 1 3 && \
        mknod b b 7 0 && mknod p p && ln -s f l && chown -h 0:0 l && mkdir s && chown 5 s && \
        chmod 2775 s && ! mknod d c 1 3 2>/dev/null && chown 1000:0 passwd";
    let layers = Who::ALL.map(|who| {
        let stage = Stage::new(who);
        let output = stage.run(&["--rw", "--keep", "work"], &[script]);
        assert!(output.status.success(), "{who:?}: {output:?}");
        let layer = stage.path("home/layer");
        let path = layer.display().to_string();
        stage.done(&["snapshot", "diff", "work", "-o", &path]);
        let mut archive = tar::Archive::new(fs::File::open(layer).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let header = entry.as_ref().unwrap().header();
            let device = (
                header.device_major().unwrap(),
                header.device_minor().unwrap(),
            );
            (
                text(&entry.as_ref().unwrap().path_bytes()),
                header.entry_type(),
                (header.uid().unwrap(), header.gid().unwrap()),
                header.mode().unwrap(),
                device,
            )
        });
        entries.collect::<Vec<_>>()
    });
    let [root, others @ ..] = &layers;
    assert!(
        root.iter()
            .any(|entry| entry.0 == "etc/d" && entry.4 == (Some(1), Some(3)))
    );
    assert!(
        root.iter()
            .any(|entry| entry.0 == "etc/f" && entry.2 == (33, 42))
    );
    for (who, layer) in Who::ALL[1..].iter().zip(others) {
        assert_eq!(layer, root, "{who:?}");
    }
}

#[test]
fn root_of_a_user_namespace_runs_commands_too() {
    let script = "id -u && stat -c '%u %g' /srv/app && touch /srv/f && chown 33:42 /srv/f && \
        mknod /srv/d c 1 3 && stat -c '%u %g' /srv/f && echo >/dev/null && ls /dev/pts/ptmx";
    for who in Who::ALL {
        let stage = Stage::new(who);
        let arguments = ["run", "--rw", "--keep", "work", &stage.image(), script];
        let output = stage.in_namespace(&arguments).output().unwrap();
        assert_eq!(
            text(&output.stdout),
            "0\n1000 1000\n33 42\n/dev/pts/ptmx\n",
            "{who:?}: {output:?}"
        );
    }
}

#[test]
fn root_inside_sees_and_copies_the_owners_that_are_recorded() {
    let script = "cd /srv && stat -c '%u %g' app /etc/passwd && stat -L -c %u . && ls -ldn app | \
        { read -r mode links uid gid rest; echo $uid $gid; } && touch new && chown 33:42 new && \
        cp -p new copy && stat -c '%u %g' copy && chown 0:0 copy && stat -c '%u %g' copy";
    for who in Who::ALL {
        let stage = Stage::new(who);
        let output = stage.run(&["--rw"], &[script]);
        assert_eq!(
            text(&output.stdout),
            "1000 1000\n0 0\n0\n1000 1000\n33 42\n0 0\n",
            "{who:?}: {output:?}"
        );
    }
}

/// Starts a script in the image, and reads what it prints.
fn started(stage: &Stage, script: &str) -> (Child, Lines) {
    let image = stage.image();
    let mut child = stage
        .mica(&["run", &image, script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = Lines::of(&mut child);
    (child, lines)
}

struct Lines(BufReader<std::process::ChildStdout>);

impl Lines {
    fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().unwrap()))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// Waits for the end of a process, and returns its status if it has one of its own.
fn ended(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(start.elapsed() < PATIENCE, "it goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

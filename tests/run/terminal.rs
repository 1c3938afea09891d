//! A run on a terminal: the command gets one of its own, which the user's shows.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Stdio};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::stage::{Stage, Who, text};
use crate::{Lines, ended};

/// A terminal with a run on it.
struct Terminal {
    controller: File,
    /// Kept open, so that what the terminal is set to stays.
    user: OwnedFd,
    child: Child,
    seen: String,
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Runs a script on a new terminal of 33 lines and 77 columns.
    fn run(stage: &Stage, script: &str) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let controller = openpt(flags).unwrap();
        unlockpt(&controller).unwrap();
        let user = ioctl_tiocgptpeer(&controller, flags).unwrap();
        tcsetwinsize(&controller, size(33, 77)).unwrap();
        let handle = || Stdio::from(user.try_clone().unwrap());
        let image = stage.image();
        let child = stage
            .on_terminal(&["run", &image, script])
            .stdin(handle())
            .stdout(handle())
            .stderr(handle())
            .spawn()
            .unwrap();
        Self {
            controller: File::from(controller),
            user,
            child,
            seen: String::new(),
        }
    }

    /// Reads until `word` has come, or the end.
    fn wait_for(&mut self, word: &str) {
        let mut buffer = [0; 1024];
        while !self.seen.contains(word) {
            let length = self.controller.read(&mut buffer).unwrap();
            self.seen.push_str(&text(&buffer[..length]));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.controller.write_all(keys).unwrap();
    }

    fn status(&mut self) -> Option<i32> {
        ended(&mut self.child)
    }
}

#[test]
fn the_command_has_a_terminal_of_its_own() {
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty && stty size && \
        : </dev/tty && : </dev/console && echo end && exit 5";
    for who in Who::ALL {
        let stage = Stage::new(who);
        let mut terminal = Terminal::run(&stage, script);
        terminal.wait_for("end");
        assert_eq!(terminal.status(), Some(5), "{who:?}: {}", terminal.seen);
        let printed = "/dev/pts/0\r\n33 77\r\nend";
        assert!(
            terminal.seen.contains(printed),
            "{who:?}: {:?}",
            terminal.seen
        );
    }
}

#[test]
fn keys_do_inside_what_they_do() {
    // A program says again what it reads, when it has begun to.
    const TWICE: &str = "ready\r\nready\r\n";
    let trap = "trap 'echo caught; exit 9' INT; while read a; do echo $a; done";
    let cases: [(&str, &str, &[u8], i32); 5] = [
        ("a signal is caught", trap, b"\x03", 9),
        ("or ends the command", "exec cat", b"\x03", 130),
        ("so does another", "exec cat", b"\x1c", 131),
        ("the input ends", "exec cat", b"\x04", 0),
        (
            "a line is read",
            "read a; echo $a; read a; exit $a",
            b"42\r",
            42,
        ),
    ];
    for who in [Who::Root, Who::Bare] {
        let stage = Stage::new(who);
        for (why, script, keys, expected) in cases {
            let mut terminal = Terminal::run(&stage, script);
            let before = tcgetattr(&terminal.user).unwrap();
            terminal.press(b"ready\r");
            terminal.wait_for(TWICE);
            terminal.press(keys);
            let status = terminal.status();
            assert_eq!(status, Some(expected), "{who:?}, {why}: {}", terminal.seen);
            let after = tcgetattr(&terminal.user).unwrap();
            let modes =
                |of: &rustix::termios::Termios| (of.input_modes, of.output_modes, of.local_modes);
            assert_eq!(modes(&after), modes(&before), "{who:?}, {why}");
        }
    }
}

#[test]
fn the_terminal_inside_gets_the_size_of_the_users() {
    let script =
        "trap 'stty size; echo end; exit 3' WINCH; echo ready; while :; do sleep 0.05; done";
    for who in [Who::Root, Who::Bare] {
        let stage = Stage::new(who);
        let mut terminal = Terminal::run(&stage, script);
        terminal.wait_for("ready");
        tcsetwinsize(terminal.controller.as_fd(), size(40, 120)).unwrap();
        terminal.wait_for("end");
        assert!(
            terminal.seen.contains("40 120"),
            "{who:?}: {}",
            terminal.seen
        );
        assert_eq!(terminal.status(), Some(3), "{who:?}");
    }
}

#[test]
fn without_a_terminal_there_is_none_inside() {
    let script = "[ -t 0 ] || [ -t 1 ] || echo none; \
        (: </dev/tty) || echo refused; read line; echo $?";
    let stage = Stage::new(Who::Bare);
    let output = stage.run(&[], &[script]);
    assert_eq!(text(&output.stdout), "none\nrefused\n1\n", "{output:?}");
    // Nothing at all as input, and nobody who reads the errors.
    let image = stage.image();
    let mut command = stage.in_shell("exec \"$@\" <&- 2>&-", &["run", &image, "echo on; exit 6"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Lines::of(&mut child);
    assert_eq!(lines.rest(), "on\n");
    assert_eq!(ended(&mut child), Some(6));
}

/// A terminal that is hung up ends the run.
#[test]
fn a_run_ends_with_its_terminal() {
    let stage = Stage::new(Who::Bare);
    let script = "echo ready; exec sleep 600";
    let Terminal {
        controller,
        user,
        mut child,
        ..
    } = {
        let mut terminal = Terminal::run(&stage, script);
        terminal.wait_for("ready");
        terminal
    };
    drop((controller, user));
    assert_eq!(ended(&mut child), Some(128 + 1));
}

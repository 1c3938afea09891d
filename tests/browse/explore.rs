//! `mica explore`, driven in tmux: keys go in, and the screen is looked at.

use std::process::Command;

use serde_json::json;

use crate::eventually;
use crate::layout::{Layout, tar_of};
use crate::program::Mica;

/// A terminal of its own, gone at the end.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn run(mica: &Mica, (columns, lines): (u16, u16), arguments: &[&str]) -> Self {
        let socket = format!("mica-test-{}-{columns}", std::process::id());
        let terminal = Self { socket };
        let command = mica.command(arguments);
        let words = [command.get_program()]
            .into_iter()
            .chain(command.get_args());
        let mut start = terminal.tmux();
        start.args(["-f", "/dev/null", "new-session", "-d"]);
        start.args(["-x", &columns.to_string(), "-y", &lines.to_string()]);
        let status = start.args(words).status().unwrap();
        assert!(status.success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]);
        command
    }

    fn screen(&self) -> String {
        let output = self.tmux().args(["capture-pane", "-p"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, keys: &[&str]) {
        let status = self.tmux().arg("send-keys").args(keys).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the screen has all these texts, and none of the others.
    fn shows(&self, texts: &[&str], not: &[&str]) {
        let has = |screen: &str, text: &&str| screen.contains(*text);
        let is_right = eventually(|| {
            let screen = self.screen();
            texts.iter().all(|text| has(&screen, text))
                && !not.iter().any(|text| has(&screen, text))
        });
        assert!(is_right, "{texts:?} and not {not:?}:\n{}", self.screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.tmux().arg("kill-server").output());
    }
}

/// An image of two layers.
fn image() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[
        ("etc/gone", b"gone"),
        ("etc/motd", b"first\n"),
        ("usr/kept", &[0; 2048]),
    ]));
    layout.add_tar(&tar_of(&[
        ("etc/.wh.gone", b""),
        ("etc/motd", b"second\n"),
        ("new", b"new"),
    ]));
    layout.finish_with(&json!({
        "history": [{"created_by": "ADD base"}, {"created_by": "RUN change"}],
    }));
    layout
}

#[test]
fn a_small_terminal_shows_one_side() {
    let mica = Mica::new();
    let digest = mica.ok(["pull", "-q", &image().source()]);
    let terminal = Terminal::run(&mica, (40, 8), &["explore", digest.trim()]);
    terminal.shows(&["ADD base", "RUN change"], &["files", "efficient"]);
    terminal.press(&["Tab"]);
    terminal.shows(&["files after layer 1", "v etc", "motd"], &["ADD base"]);
    terminal.press(&["Down", "Down", "Enter"]);
    terminal.shows(&["etc/motd", "first"], &["files"]);
    // By itself: what follows it at once is part of another key.
    terminal.press(&["Escape"]);
    terminal.shows(&["files", "motd"], &["first"]);
    terminal.press(&["Left", "Left"]);
    terminal.shows(&["> etc", "kept"], &["motd"]);
    terminal.press(&["Right"]);
    terminal.shows(&["v etc", "motd"], &[]);
}

#[test]
fn an_image_is_explored_by_keys() {
    let mica = Mica::new();
    let digest = mica.ok(["pull", "-q", &image().source()]);
    let terminal = Terminal::run(&mica, (110, 30), &["explore", digest.trim()]);
    terminal.shows(
        &[
            "ADD base",
            "RUN change",
            "files after layer 1",
            "v etc",
            "+    2.00 KiB     kept",
        ],
        &["new"],
    );
    terminal.press(&["Down"]);
    terminal.shows(
        &[
            "files after layer 2",
            "1 added, 1 changed",
            "1 deleted",
            "-         4 B     gone",
            "~         7 B     motd",
            "+         3 B   new",
            "     2.00 KiB     kept",
        ],
        &[],
    );
    terminal.press(&["c"]);
    terminal.shows(&["motd"], &["kept"]);
    terminal.press(&["c", "/", "o", "t", "d", "Enter"]);
    terminal.shows(&["only names with \"otd\"", "motd"], &["kept", "gone"]);
    terminal.press(&["Down", "Enter"]);
    terminal.shows(&["etc/motd", "second"], &[]);
    terminal.press(&["/", "Escape"]);
    terminal.shows(&["kept", "Tab: other side"], &["only names"]);
    terminal.press(&["Home", "Enter"]);
    terminal.shows(&["> etc"], &["motd"]);
    terminal.press(&["q"]);
    assert!(eventually(|| !terminal
        .tmux()
        .arg("list-sessions")
        .output()
        .unwrap()
        .status
        .success()));
    let error = mica.fails(["explore", digest.trim()]);
    assert!(error.contains("needs a terminal"), "{error}");
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let mica = Mica::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = mica.ok(["completions", shell]);
        assert!(
            script.contains("browse") && script.contains("no-unpack"),
            "{shell}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    mica.ok([std::path::Path::new("man"), directory.path()]);
    let page = std::fs::read_to_string(directory.path().join("mica-browse.1")).unwrap();
    assert!(page.contains("\\-\\-pull"), "{page}");
    assert!(!mica.root().exists(), "nothing of a store is needed");
}

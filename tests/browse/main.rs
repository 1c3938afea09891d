//! What shows the store to people: the tree of the whole store, and the commands that look.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod doctor;
mod explore;
mod layers;
#[path = "../pull/layout.rs"]
#[expect(dead_code, reason = "the tests of pulls use the rest")]
mod layout;
#[path = "../pull/program.rs"]
#[expect(dead_code, reason = "the tests of pulls use the rest")]
mod program;
#[path = "../support/registry.rs"]
#[expect(dead_code, reason = "the tests of the registry client use the rest")]
mod support;
mod tree;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use layout::{Layout, tar_of};
use program::Mica;
use tempfile::TempDir;

/// A store, shown at a directory until this is dropped.
struct Browsed {
    mica: Mica,
    point: TempDir,
}

impl Browsed {
    fn new(mica: Mica, options: &[&str]) -> Self {
        let point = tempfile::tempdir().unwrap();
        let mut command = mica.command(["browse"]);
        let output = command.args(options).arg(point.path()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        Self { mica, point }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.point.path().join(path)
    }

    /// Returns the sorted names in a directory.
    fn names(&self, path: &str) -> Vec<String> {
        names(&self.path(path))
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }
}

impl Drop for Browsed {
    fn drop(&mut self) {
        self.mica
            .run([Path::new("umount"), Path::new("--lazy"), self.point.path()]);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns an image of two layers, of which the upper one changes the lower one.
fn two_layers() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[
        ("both", b"lower"),
        ("etc/gone", b"gone"),
        ("etc/kept", b"kept"),
    ]));
    layout.add_tar(&tar_of(&[
        ("both", b"upper"),
        ("etc/.wh.gone", b""),
        ("new", b"new"),
    ]));
    layout.finished()
}

/// Returns whether something becomes true before it takes too long.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

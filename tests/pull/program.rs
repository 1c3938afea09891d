//! The program under test, with a store of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mica::oci::Digest;
use tempfile::TempDir;

/// Runs `mica` on one store.
pub(crate) struct Mica {
    root: PathBuf,
    _dir: Option<TempDir>,
}

impl Mica {
    /// Returns the program with an empty store.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            root: dir.path().join("store"),
            _dir: Some(dir),
        }
    }

    /// Returns the program with the store at `root`.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root, _dir: None }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where a partial download of a blob stands.
    pub(crate) fn ingest(&self, digest: &Digest) -> PathBuf {
        let id = format!("sha256-{}", digest.hex());
        self.root.join("content/ingests").join(id)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mica"));
        command.arg("--root").arg(&self.root).args(arguments);
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail; returns its message.
    pub(crate) fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "results only on success");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("error: "), "{error}");
        error
    }

    pub(crate) fn json<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> serde_json::Value {
        let mut command = self.command(arguments);
        let output = command.arg("--json").output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the data of a layer, as the store has it.
    pub(crate) fn read_layer(&self, diff_id: &Digest) -> Vec<u8> {
        std::fs::read(
            self.root
                .join("layers/sha256")
                .join(diff_id.hex())
                .join("data"),
        )
        .unwrap()
    }

    /// Asserts that a failed pull is not to be seen.
    pub(crate) fn assert_nothing_visible(&self, why: &str) {
        for list in [
            ["images"].as_slice(),
            &["snapshot", "ls"],
            &["content", "ls"],
        ] {
            assert_eq!(
                self.json(list).as_array().unwrap().len(),
                0,
                "{why}: {list:?}"
            );
        }
        assert_eq!(
            count(&self.root.join("tmp")),
            0,
            "{why}: something half-made is left"
        );
    }
}

/// Returns the number of entries of a directory.
pub(crate) fn count(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

//! The program under test, with a store of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mica::oci::Digest;
use tempfile::TempDir;

/// Runs `mica` on one store.
pub(crate) struct Mica {
    program: PathBuf,
    root: PathBuf,
    /// Whose program it is, if not this process's user's.
    user: Option<u32>,
    _dir: Option<TempDir>,
}

/// An ordinary user.
const NOBODY: u32 = 65534;

impl Mica {
    /// Returns the program with an empty store.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            root: dir.path().join("store"),
            _dir: Some(dir),
            ..Self::at(PathBuf::new())
        }
    }

    /// Returns the program with an empty store, as an ordinary user has it; `None` if this
    /// process cannot become one.
    pub(crate) fn of_nobody() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("mica");
        fs::copy(env!("CARGO_BIN_EXE_mica"), &program).unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        Some(Self {
            program,
            root: home.join("store"),
            user: Some(NOBODY),
            _dir: Some(dir),
        })
    }

    /// Returns the program with the store at `root`.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_mica").into(),
            root,
            user: None,
            _dir: None,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where a partial download of a layer stands.
    pub(crate) fn ingest(&self, digest: &Digest) -> PathBuf {
        // Pulls write for all namespaces, so there is none before the reference.
        let id = Digest::sha256(format!("\0layer-{digest}").as_bytes());
        self.root.join("content/ingests").join(id.hex())
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.tool(&self.program);
        command.arg("--root").arg(&self.root).args(arguments);
        command
    }

    /// Runs a script as the user whose program it is; returns what it printed, or what it
    /// said when it failed.
    pub(crate) fn shell(&self, script: &str, arguments: &[&Path]) -> Result<String, String> {
        let mut shell = self.tool(Path::new("sh"));
        shell.args(["-ec", script, "sh"]).args(arguments);
        let output = shell.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    /// Returns an empty directory of that user's.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.root.with_file_name(name);
        self.shell(r#"mkdir "$1""#, &[&path]).unwrap();
        path
    }

    fn tool(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = self.user {
            command.uid(user).gid(user).current_dir("/");
        }
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

    /// Runs a command; returns all that it has printed.
    pub(crate) fn shown<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&all).into_owned()
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

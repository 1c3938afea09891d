//! A server of a store of its own, and mounts of what it hands out.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mica::api::Way;
use mica_proto::snapshots::snapshots_client::SnapshotsClient;
use mica_proto::types::Mount;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Pid;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A process that serves; ended and its mounts taken away at the end.
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
}

/// A snapshot that is mounted.
pub(crate) struct Mounted(PathBuf);

impl Server {
    pub(crate) fn start() -> Self {
        let directory = TempDir::with_prefix("mica-api-").unwrap();
        let process = serve(directory.path());
        Self { process, directory }
    }

    /// Kills the server and starts another.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = serve(self.directory.path());
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Returns the process that serves the views of the store.
    pub(crate) fn views(&self) -> Option<Pid> {
        let store = self.directory.path().join("store").canonicalize().unwrap();
        let ends = ["serve-views".as_bytes(), store.as_os_str().as_bytes(), b""].join(&0);
        let mut processes = std::fs::read_dir("/proc").unwrap();
        processes.find_map(|entry| {
            let path = entry.unwrap().path();
            let command = std::fs::read(path.join("cmdline")).ok()?;
            let number = path.file_name()?.to_str()?.parse().ok()?;
            command.ends_with(&ends).then(|| Pid::from_raw(number))?
        })
    }

    /// Waits until no process serves the views any more.
    pub(crate) fn wait_for_end_of_views(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.views().is_some() {
            assert!(Instant::now() < end, "the process goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) async fn way(&self) -> Way {
        Way::to(&self.socket()).await.unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        let socket = self.socket();
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel().await)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/socket")
    }

    /// Runs a command beside the server, and returns what it prints.
    pub(crate) fn mica(&self, arguments: &[&str]) -> String {
        let output = Command::new(program())
            .arg("--root")
            .arg(self.directory.path().join("store"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Mounts what a client was told to mount.
    pub(crate) fn mount(&self, mounts: &[Mount]) -> Mounted {
        mount(self.directory.path(), mounts)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        take_views_away(&self.store());
    }
}

/// Mounts what a client was told to mount, somewhere in a directory.
pub(crate) fn mount(directory: &Path, mounts: &[Mount]) -> Mounted {
    let [mount] = mounts else {
        panic!("one mount: {mounts:?}");
    };
    assert_eq!(mount.r#type, "bind");
    let point = tempfile::tempdir_in(directory).unwrap().keep();
    rustix::mount::mount_bind(&mount.source, &point).unwrap();
    let mounted = Mounted(point);
    if mount.options.iter().any(|option| option == "ro") {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        rustix::mount::mount_remount(mounted.path(), flags, "").unwrap();
    }
    mounted
}

/// Takes away the views of a store, which outlive its server.
pub(crate) fn take_views_away(store: &Path) {
    rustix::mount::unmount(store.join("views/shown"), UnmountFlags::DETACH).ok();
}

impl Mounted {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).ok();
    }
}

fn serve(directory: &Path) -> Child {
    let mut process = Command::new(program())
        .arg("--root")
        .arg(directory.join("store"))
        .args(["serve", "--socket"])
        .arg(directory.join("run/socket"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = process.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line:?}");
    process
}

/// Checks the code of a refusal, and how its message ends.
pub(crate) fn refused<T>(result: Result<T, Status>, code: Code, end: &str) {
    let Err(status) = result else {
        panic!("not refused: {end}");
    };
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().ends_with(end), "{status}");
}

/// Returns the program that is tested.
pub(crate) fn program() -> OsString {
    std::env::var_os("MICA_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_mica").into())
}

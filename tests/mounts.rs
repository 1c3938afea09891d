//! Mounts that outlive the command: the process that serves them starts, reports, lets
//! go of its parent, and ends with its mount.
//!
//! The program of this test serves its own mounts, so it has no test harness: started
//! with the hidden command it is the serving process.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mica::daemon::DaemonError;
use mica::mounts::{
    self, AccessMode, LayerPlan, MountPlan, MountRecord, MountsError, Records, RequestStatistics,
    SERVE_COMMAND, TransportMode,
};
use mica_fuse::session::{self, Busy};
use tempfile::TempDir;

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    if first.as_deref() == Some(SERVE_COMMAND) {
        return match mounts::serve_child() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let tests: [(&str, Test); 9] = [
        ("it_is_listed_and_stopped", it_is_listed_and_stopped),
        (
            "the_transport_that_was_asked_for_is_listed",
            the_transport_that_was_asked_for_is_listed,
        ),
        ("what_was_asked_can_be_read", what_was_asked_can_be_read),
        (
            "a_signal_takes_the_mount_away",
            a_signal_takes_the_mount_away,
        ),
        (
            "it_ends_when_somebody_unmounts",
            it_ends_when_somebody_unmounts,
        ),
        (
            "it_keeps_nothing_of_its_parent",
            it_keeps_nothing_of_its_parent,
        ),
        (
            "a_killed_process_leaves_a_mount_that_can_be_replaced_or_stopped",
            a_killed_process,
        ),
        (
            "a_failure_is_told_with_its_causes",
            a_failure_is_told_with_its_causes,
        ),
        ("two_mounts_of_one_store_at_two_points", two_mounts),
    ];
    for (name, test) in tests {
        if first
            .as_deref()
            .is_none_or(|filter| name.contains(filter) || filter.starts_with('-'))
        {
            let stage = Stage::new();
            test(&stage);
            eprintln!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

type Test = fn(&Stage);

/// A store, one directory layer and mount points, all gone at the end.
struct Stage {
    root: TempDir,
}

impl Stage {
    fn new() -> Self {
        let root = TempDir::with_prefix("mica-mounts-").unwrap();
        for directory in ["layer", "store", "point", "other point"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("layer/file"), "contents\n").unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn records(&self) -> Records {
        Records::at(self.path("records"))
    }

    fn plan(&self, point: &str) -> MountPlan {
        MountPlan {
            store: self.path("store"),
            records: self.path("records"),
            layers: vec![LayerPlan::Directory(self.path("layer"))],
            upper: None,
            uses: Vec::new(),
            browse: None,
            mountpoint: self.path(point),
            source: "mica-test".into(),
            image: Some("example.org/image:1".into()),
            snapshot: None,
            access: AccessMode::default_for_process(),
            suid_and_dev: None,
            squash: None,
            allow_nonempty: false,
            transport: TransportMode::default(),
        }
    }

    fn mount(&self, point: &str) -> MountRecord {
        let record = mounts::start(&self.plan(point)).unwrap();
        assert_eq!(
            fs::read(self.path(point).join("file")).unwrap(),
            b"contents\n"
        );
        record
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for point in ["point", "other point"] {
            session::unmount(&self.path(point), Busy::Detach).ok();
        }
    }
}

fn is_mounted(point: &Path) -> bool {
    session::mounts()
        .unwrap()
        .iter()
        .any(|mount| mount.point == point)
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn it_is_listed_and_stopped(stage: &Stage) {
    let record = stage.mount("point");
    let listed = stage.records().list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].pid, &listed[0].mountpoint),
        (record.pid, &stage.path("point"))
    );
    mounts::stop(&stage.records(), &stage.path("point"), Busy::Refuse).unwrap();
    assert!(!is_mounted(&stage.path("point")));
    assert!(!is_running(record.pid));
    assert!(stage.records().list().unwrap().is_empty());
    assert_eq!(fs::read_dir(stage.path("records")).unwrap().count(), 0);
}

fn the_transport_that_was_asked_for_is_listed(stage: &Stage) {
    for transport in [TransportMode::Block, TransportMode::Poll] {
        let plan = MountPlan {
            transport,
            ..stage.plan("point")
        };
        let record = mounts::start(&plan).unwrap();
        assert_eq!(record.transport, transport);
        assert_eq!(stage.records().list().unwrap()[0].transport, transport);
        mounts::stop(&stage.records(), &stage.path("point"), Busy::Refuse).unwrap();
    }
    let usual = stage.mount("point").transport;
    assert!(
        matches!(usual, TransportMode::Ring | TransportMode::Poll),
        "{usual:?}"
    );
    mounts::stop(&stage.records(), &stage.path("point"), Busy::Refuse).unwrap();
}

fn what_was_asked_can_be_read(stage: &Stage) {
    let record = stage.mount("point");
    for entry in fs::read_dir(stage.path("point")).unwrap() {
        entry.unwrap().metadata().unwrap();
    }
    let statistics = || record.statistics().unwrap().unwrap();
    let asked = statistics();
    let count = |name| {
        let named = |one: &&RequestStatistics| one.name == name;
        asked.requests.iter().find(named).map(|one| one.count)
    };
    assert_eq!(count("lookup"), Some(1), "{asked:?}");
    assert!(count("readdirplus") > Some(0), "{asked:?}");
    assert_eq!(asked.look_ups_given_ahead, 1, "{asked:?}");
    // The time is known a little later than the answer.
    eventually("all requests are timed", || {
        statistics().requests.iter().all(|one| one.mean_ns > 0)
    });
    mounts::stop(&stage.records(), &stage.path("point"), Busy::Refuse).unwrap();
    assert!(record.statistics().unwrap().is_none());
}

fn a_signal_takes_the_mount_away(stage: &Stage) {
    for kind in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let record = stage.mount("point");
        let user = File::open(stage.path("point/file")).unwrap();
        signal(record.pid, kind);
        eventually("the process ends", || !is_running(record.pid));
        assert!(!is_mounted(&stage.path("point")));
        assert_eq!(fs::read_dir(stage.path("records")).unwrap().count(), 0);
        drop(user);
    }
}

fn it_ends_when_somebody_unmounts(stage: &Stage) {
    let record = stage.mount("point");
    session::unmount(&stage.path("point"), Busy::Refuse).unwrap();
    eventually("the process ends", || !is_running(record.pid));
    assert!(
        stage
            .records()
            .find(&stage.path("point"))
            .unwrap()
            .is_none()
    );
}

fn it_keeps_nothing_of_its_parent(stage: &Stage) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let record = stage.mount("point");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", record.pid)).unwrap();
    let pipe = fs::read_link(format!("/proc/self/fd/{}", fd_number(&writer))).unwrap();
    for descriptor in descriptors {
        assert_ne!(
            fs::read_link(descriptor.unwrap().path()).ok().as_ref(),
            Some(&pipe)
        );
    }
    let log = record.log.as_deref().unwrap();
    for (standard, file) in [Path::new("/dev/null"), Path::new("/dev/null"), log]
        .into_iter()
        .enumerate()
    {
        eventually("standard descriptors are let go", || {
            fs::read_link(format!("/proc/{}/fd/{standard}", record.pid))
                .is_ok_and(|found| found == file)
        });
    }
    let mode = fs::metadata(log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let cwd = fs::read_link(format!("/proc/{}/cwd", record.pid)).unwrap();
    assert_eq!(cwd, Path::new("/"));
    let stat = fs::read_to_string(format!("/proc/{}/stat", record.pid)).unwrap();
    let session: u32 = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(session, record.pid);
    drop(writer);
    let mut byte = [0];
    assert_eq!(rustix::io::read(&reader, &mut byte).unwrap(), 0);
}

fn fd_number(descriptor: &impl AsFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&descriptor.as_fd())
}

fn a_killed_process(stage: &Stage) {
    let kill = |record: &MountRecord| {
        signal(record.pid, rustix::process::Signal::KILL);
        eventually("the process ends", || !is_running(record.pid));
        // What the kernel has in its caches it goes on showing; what it must ask for it cannot.
        // A thread that ends last may still take a request along (ECONNABORTED).
        eventually("the mount is told to be without a server", || {
            let unasked = fs::metadata(stage.path("point/unasked")).unwrap_err();
            unasked.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error())
        });
    };
    kill(&stage.mount("point"));
    let again = stage.mount("point");
    let listed = stage.records().list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].pid, again.pid, "the dead mount is replaced");
    kill(&again);
    mounts::stop(&stage.records(), &stage.path("point"), Busy::Refuse).unwrap();
    assert!(!is_mounted(&stage.path("point")));
    assert!(stage.records().list().unwrap().is_empty());
}

fn a_failure_is_told_with_its_causes(stage: &Stage) {
    let error = mounts::start(&stage.plan("absent")).unwrap_err();
    assert!(matches!(
        error,
        MountsError::Daemon(DaemonError::Refused { .. })
    ));
    assert!(error.to_string().ends_with("does not exist"), "{error}");
    let mut plan = stage.plan("point");
    plan.layers = vec![LayerPlan::Directory(stage.path("no layer"))];
    let error = mounts::start(&plan).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error}");
    assert!(!is_mounted(&stage.path("point")));
}

fn two_mounts(stage: &Stage) {
    let first = stage.mount("point");
    let second = stage.mount("other point");
    assert_ne!(first.pid, second.pid);
    assert_eq!(stage.records().list().unwrap().len(), 2);
    mounts::stop(&stage.records(), &stage.path("point"), Busy::Refuse).unwrap();
    assert_eq!(
        fs::read(stage.path("other point/file")).unwrap(),
        b"contents\n"
    );
    mounts::stop(&stage.records(), &stage.path("other point"), Busy::Refuse).unwrap();
}

//! What only a kernel shows: a view mounted through the real `/dev/fuse`, as root, as
//! root of a user namespace, and as an ordinary user.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod forest;
mod listings;
mod stage;
mod takeover;
#[path = "../support/transport.rs"]
mod transport;
mod transports;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mica_fuse::Access;
use mica_fuse::session::{Busy, CacheMode, MountError, MountOptions, Session, mounts, unmount};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use stage::{Served, Stage, eventually};

/// Opcodes of `fuse.h` that the tests count.
mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const GETXATTR: u32 = 22;
}

#[test]
fn the_tree_is_listed_and_read() {
    let served = Stage::new().serve();
    let names: Vec<_> = served.names(".");
    assert_eq!(names, ["big", "deep", "empty", "file", "link", "many"]);
    assert_eq!(fs::read(served.path("file")).unwrap(), b"upper\n");
    assert_eq!(
        fs::read_link(served.path("link")).unwrap(),
        Path::new("file")
    );
    assert_eq!(fs::read(served.path("link")).unwrap(), b"upper\n");
    assert_eq!(served.names("deep"), ["lower-only", "upper-only"]);
    assert_eq!(served.names("many").len(), 3000);
    let absent = fs::metadata(served.path("absent")).unwrap_err();
    assert_eq!(absent.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn packed_layers_show_the_same_tree() {
    let stage = Stage::new();
    let served = stage.serve_packed();
    for directory in [".", "deep", "many"] {
        let names = served.names(directory);
        check_names(&stage, directory, &names);
    }
    assert_eq!(fs::read(served.path("big")).unwrap(), stage::big_contents());
    assert_eq!(
        stage::mapped_copy(&served.path("big")),
        stage::big_contents()
    );
}

/// Checks names of a listing against those of both layers.
fn check_names(stage: &Stage, directory: &str, names: &[String]) {
    let mut expected: Vec<String> = ["upper", "lower"]
        .iter()
        .filter_map(|layer| fs::read_dir(stage.root().join(layer).join(directory)).ok())
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    expected.sort();
    expected.dedup();
    assert_eq!(names, expected, "{directory}");
}

#[test]
fn a_data_file_cut_short_is_an_error_and_no_crash() {
    let stage = Stage::new();
    let served = stage.serve_packed();
    let data = OpenOptions::new()
        .write(true)
        .open(stage.root().join("lower.packed/data"))
        .unwrap();
    data.set_len(8192).unwrap();
    let error = fs::read(served.path("big")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_eq!(served.names("deep"), ["lower-only", "upper-only"]);
}

#[test]
fn listed_numbers_and_types_are_those_of_stat() {
    let served = Stage::new().serve();
    for entry in fs::read_dir(served.path(".")).unwrap() {
        let entry = entry.unwrap();
        let stat = fs::symlink_metadata(entry.path()).unwrap();
        assert_eq!(entry.ino(), stat.ino(), "{:?}", entry.path());
        assert_eq!(
            entry.file_type().unwrap(),
            stat.file_type(),
            "{:?}",
            entry.path()
        );
    }
}

#[test]
fn a_listing_can_go_on_from_each_of_its_places() {
    let served = Stage::new().serve();
    let directory = File::open(served.path("many")).unwrap();
    let all = stage::listing_from(&directory, 0);
    assert_eq!(all.len(), 3002);
    for at in [0, 1, 2, 500, 2999, 3000] {
        let (_, cookie) = all[at];
        let rest = stage::listing_from(&directory, cookie);
        assert_eq!(rest, all[at + 1..], "after {at}");
    }
}

#[test]
fn contents_are_right_at_any_offset() {
    let served = Stage::new().serve();
    let expected = stage::big_contents();
    let file = File::open(served.path("big")).unwrap();
    for (offset, length) in [
        (0, 1),
        (4095, 2),
        (131_071, 70_000),
        (expected.len() - 5, 100),
    ] {
        let mut buffer = vec![0; length];
        let read = file.read_at(&mut buffer, offset as u64).unwrap();
        assert_eq!(
            buffer[..read],
            expected[offset..(offset + length).min(expected.len())]
        );
    }
    assert_eq!(fs::read(served.path("big")).unwrap(), expected);
}

#[test]
fn a_file_can_be_mapped_and_stays_readable_while_it_is() {
    let served = Stage::new().serve();
    let expected = stage::big_contents();
    assert_eq!(stage::mapped_copy(&served.path("big")), expected);
}

#[test]
fn every_change_is_refused_as_on_a_read_only_file_system() {
    let served = Stage::new().serve();
    let file = served.path("file");
    let new = served.path("new");
    let refused: [(&str, io::Result<()>); 12] = [
        ("create", File::create_new(&new).map(drop)),
        (
            "open to write",
            OpenOptions::new().write(true).open(&file).map(drop),
        ),
        (
            "truncate",
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(&file)
                .map(drop),
        ),
        ("mkdir", fs::create_dir(&new)),
        ("symlink", symlink("a", &new)),
        ("link", fs::hard_link(&file, &new)),
        ("unlink", fs::remove_file(&file)),
        ("rmdir", fs::remove_dir(served.path("empty"))),
        ("rename", fs::rename(&file, &new)),
        (
            "chmod",
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)),
        ),
        ("chown", std::os::unix::fs::chown(&file, Some(1), Some(1))),
        ("mkfifo", stage::mkfifo(&new)),
    ];
    for (why, outcome) in refused {
        assert_eq!(
            outcome.unwrap_err().raw_os_error(),
            Some(libc::EROFS),
            "{why}"
        );
    }
}

#[test]
fn the_mount_has_its_type_and_source_and_is_read_only() {
    let served = Stage::new().serve();
    let mount = served.mount();
    assert_eq!(mount.file_system_type, "fuse.mica");
    assert_eq!(mount.source, "mica-test");
    let line = fs::read_to_string("/proc/mounts").unwrap();
    let line = line
        .lines()
        .rfind(|line| line.contains(served.point().to_str().unwrap()))
        .unwrap();
    assert!(line.contains(" fuse.mica ro,"), "{line}");
}

#[test]
fn nothing_is_asked_twice_and_xattrs_once_where_there_are_none() {
    let served = Stage::new().serve_packed();
    let look = || {
        let listed = std::process::Command::new("ls")
            .arg("-lR")
            .arg(served.point())
            .output();
        assert!(listed.unwrap().status.success());
        fs::read(served.path("file")).unwrap();
        fs::metadata(served.path("absent")).unwrap_err();
    };
    look();
    let statistics = served.statistics();
    // The first of each kind is refused once and for all.
    assert!(statistics.messages(opcode::GETXATTR) <= 1, "{statistics:?}");
    assert!(statistics.messages(opcode::GETATTR) < 10, "{statistics:?}");
    let look_asks_nothing = || {
        let before = statistics.total();
        look();
        before == statistics.total()
    };
    // Anybody on the machine may drop the kernel's caches in between.
    assert!((0..5).any(|_| look_asks_nothing()), "{statistics:?}");
}

#[test]
fn two_hundred_killed_callers_leave_it_serving() {
    let served = Stage::new().serve();
    for round in 0..20 {
        let mut callers: Vec<_> = (0..10)
            .map(|_| {
                std::process::Command::new("find")
                    .arg(served.point())
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_micros(round * 50));
        for caller in &mut callers {
            caller.kill().unwrap();
            caller.wait().unwrap();
        }
    }
    assert_eq!(served.names("many").len(), 3000);
}

#[test]
fn it_ends_when_it_is_unmounted() {
    let served = Stage::new().serve();
    served.names("deep");
    unmount(served.point(), Busy::Refuse).unwrap();
    assert!(served.ends_within(Duration::from_secs(5)));
}

#[test]
fn a_stop_takes_the_mount_away_even_from_under_a_user() {
    let served = Stage::new().serve();
    let user = File::open(served.path("many")).unwrap();
    served.stop();
    assert!(served.ends_within(Duration::from_secs(5)));
    assert!(
        !mounts()
            .unwrap()
            .iter()
            .any(|mount| mount.point == served.point())
    );
    drop(user);
}

/// As a forked child has them until it runs another program.
#[test]
fn a_stop_ends_what_is_asked_though_somebody_has_copies_of_the_descriptors() {
    let served = Stage::new().serve();
    let device = fs::metadata(served.point()).unwrap().dev();
    let line = format!("fuse_connection:\t{}", rustix::fs::minor(device));
    let is_of_the_session = |descriptor: &str| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"));
        info.is_ok_and(|info| info.lines().any(|other| other == line))
    };
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let copy = |descriptor: String| {
        pidfd_getfd(&this, descriptor.parse().unwrap(), PidfdGetfdFlags::empty()).unwrap()
    };
    let copies: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|descriptor| is_of_the_session(descriptor))
        .map(copy)
        .collect();
    assert!(!copies.is_empty());
    let user = File::open(served.path("many")).unwrap();
    served.stop();
    assert!(served.ends_within(Duration::from_secs(5)));
    let (report, reports) = mpsc::channel();
    std::thread::spawn(move || {
        let found = rustix::fs::openat(&user, "absent", OFlags::RDONLY, Mode::empty());
        report.send(found.map(drop)).unwrap();
    });
    let told = reports.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(
        matches!(told, Err(Errno::CONNABORTED | Errno::NOTCONN)),
        "{told:?}"
    );
}

#[test]
fn a_mount_in_use_is_not_taken_away_when_that_is_refused() {
    let served = Stage::new().serve();
    let user = File::open(served.path("file")).unwrap();
    assert!(matches!(
        unmount(served.point(), Busy::Refuse),
        Err(MountError::Busy { .. })
    ));
    assert_eq!(served.names("deep").len(), 2);
    drop(user);
    unmount(served.point(), Busy::Refuse).unwrap();
}

#[test]
fn bad_mount_points() {
    let stage = Stage::new();
    let temp = stage.root().join("points");
    fs::create_dir_all(temp.join("full/entry")).unwrap();
    fs::write(temp.join("file"), "").unwrap();
    let options = MountOptions::new("mica-test", Access::Enforce);
    let refusal = |name: &str| {
        Session::mount(stage.view(Access::Enforce), &temp.join(name), &options).unwrap_err()
    };
    assert!(matches!(refusal("absent"), MountError::Missing { .. }));
    assert!(matches!(refusal("file"), MountError::NotADirectory { .. }));
    assert!(matches!(
        refusal("file/below"),
        MountError::NotADirectory { .. }
    ));
    assert!(matches!(refusal("full"), MountError::NotEmpty { .. }));
    let hiding = MountOptions {
        allow_nonempty: true,
        ..options.clone()
    };
    let served = Served::start(&stage, &temp.join("full"), &hiding);
    assert!(!served.path("entry").exists());
}

#[test]
fn a_second_mount_at_one_point_is_refused_and_the_first_serves_on() {
    let stage = Stage::new();
    let served = stage.serve();
    let options = MountOptions::new("mica-test", Access::Enforce);
    let second = Session::mount(stage.view(Access::Enforce), served.point(), &options);
    assert!(matches!(
        second.unwrap_err(),
        MountError::AlreadyMounted { .. }
    ));
    assert_eq!(served.names("deep").len(), 2);
}

#[test]
fn what_is_not_ours_is_not_unmounted() {
    let stage = Stage::new();
    assert!(matches!(
        unmount(stage.root(), Busy::Refuse).unwrap_err(),
        MountError::NotMounted { .. }
    ));
    let error = unmount(Path::new("/proc"), Busy::Detach).unwrap_err();
    let MountError::NotOurs {
        file_system_type, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(file_system_type, "proc");
}

#[test]
fn a_mount_of_another_type_is_taken_away_by_its_session_alone() {
    let stage = Stage::new();
    let mut options = MountOptions::new("mica-test", Access::Enforce);
    options.subtype = "fuse-overlayfs".to_owned();
    let served = Served::start(&stage, &stage.point(), &options);
    assert_eq!(served.mount().file_system_type, "fuse.fuse-overlayfs");
    assert!(matches!(
        unmount(served.point(), Busy::Detach).unwrap_err(),
        MountError::NotOurs { .. }
    ));
    served.stop();
    assert!(served.ends_within(Duration::from_secs(5)));
    let point = stage.point();
    assert!(!mounts().unwrap().iter().any(|mount| mount.point == point));
}

#[test]
fn a_writable_mount_of_a_writable_tree_is_writable() {
    let stage = Stage::new();
    let mut options = MountOptions::new("mica-test", Access::Enforce);
    options.noatime = true;
    let (view, active) = (stage.view(Access::Enforce), stage.active_view());
    let cases = [
        ("a view", &view, true, CacheMode::Through, false),
        ("not asked", &active, false, CacheMode::Through, false),
        ("through", &active, true, CacheMode::Through, true),
        ("back", &active, true, CacheMode::Writeback, true),
        ("passed", &active, true, CacheMode::Passthrough, true),
    ];
    for (why, tree, writable, cache, expected) in cases {
        options.writable = writable;
        options.cache = cache;
        let served = Served::start_tree(&stage, Arc::clone(tree), &options);
        let shown = rustix::fs::statvfs(served.point()).unwrap().f_flag;
        assert_eq!(
            !shown.contains(StatVfsMountFlags::RDONLY),
            expected,
            "{why}"
        );
        assert!(shown.contains(StatVfsMountFlags::NOATIME), "{why}");
        assert_eq!(fs::read(served.path("file")).unwrap(), b"upper\n", "{why}");
    }
}

#[test]
fn a_session_that_is_dropped_before_it_serves_leaves_no_mount() {
    let stage = Stage::new();
    let point = stage.point();
    let options = MountOptions::new("mica-test", Access::Enforce);
    drop(Session::mount(stage.view(Access::Enforce), &point, &options).unwrap());
    assert!(!mounts().unwrap().iter().any(|mount| mount.point == point));
}

#[test]
fn a_mount_point_with_odd_bytes_is_found_again() {
    let stage = Stage::new();
    let point = stage.root().join("a b\\c\td,e");
    fs::create_dir(&point).unwrap();
    let served = Served::start(&stage, &point, &MountOptions::new("a,b", Access::Enforce));
    assert_eq!(served.names("deep").len(), 2);
    unmount(&point, Busy::Refuse).unwrap();
    assert!(served.ends_within(Duration::from_secs(5)));
}

#[test]
fn root_enforces_modes_for_others() {
    let stage = Stage::new();
    let secret = stage.root().join("upper/secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let served = stage.serve();
    stage.open_to_all();
    let read = |name: &str| {
        stage::as_nobody("cat")
            .arg(served.path(name))
            .output()
            .unwrap()
    };
    assert!(read("file").status.success());
    assert!(!read("secret").status.success());
    assert!(fs::read(served.path("secret")).is_ok());
}

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    stage::mount_in_another_process("ordinary user", |program| stage::as_nobody(program));
}

#[test]
fn root_of_a_user_namespace_mounts_without_the_helper() {
    stage::mount_in_another_process("user namespace", |program| {
        let mut command = std::process::Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount"])
            .arg(program);
        command
    });
}

/// The other process of the two tests above; on its own it has nothing to do.
#[test]
fn other_process() {
    let Some(root) = std::env::var_os("MICA_TEST_OTHER_PROCESS") else {
        return;
    };
    let root = Path::new(&root);
    let served = Served::start_owner(root);
    assert_eq!(fs::read(served.path("file")).unwrap(), b"upper\n");
    assert_eq!(served.names("many").len(), 3000);
    let mount = served.mount();
    assert_eq!(mount.file_system_type, "fuse.mica");
    let refused = fs::remove_file(served.path("file")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    assert!(stage::is_idle("mica-serve"));
    unmount(served.point(), Busy::Refuse).unwrap();
    assert!(served.ends_within(Duration::from_secs(5)));
    assert!(eventually(|| !mounts()
        .unwrap()
        .iter()
        .any(|mount| mount.point == served.point())));
}

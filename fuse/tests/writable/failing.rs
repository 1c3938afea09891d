//! What goes wrong goes wrong cleanly: no space, a crash, directories that do not do.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mica_fuse::session::{Busy, unmount};
use mica_fuse::{Error, Upper, UpperOptions};

use crate::bed::{Bed, Small, drop_caches, errno, names};
use crate::faults::{Fault, Faults, Which};
use crate::mount::{Ground, Implementation};

/// Trap 42.
#[test]
fn a_copy_for_which_there_is_no_space_leaves_nothing_and_can_be_tried_again() {
    const SIZE: usize = 3 << 20;
    let mut bed = Bed::small("4m", |lower| {
        fs::write(lower.join("file"), vec![7; SIZE]).unwrap();
    });
    fs::write(bed.path("filler"), vec![1; 2 << 20]).unwrap();
    let open = || fs::File::options().append(true).open(bed.path("file"));
    assert_eq!(errno(open()), libc::ENOSPC);
    assert!(bed.read("file") == vec![7; SIZE]);
    assert_eq!(names(&bed.ground.upper), ["filler"]);
    assert_eq!(bed.half_made(), [""; 0]);
    fs::remove_file(bed.path("filler")).unwrap();
    io::Write::write_all(&mut open_when_there_is_space(open), b"end").unwrap();
    assert_eq!(bed.read("file").len(), SIZE + 3);
    bed.unmount();
}

/// Opens a file for which space has just been made: it is free when the kernel has let go
/// of what was removed, which nobody waits for.
fn open_when_there_is_space(open: impl Fn() -> io::Result<fs::File>) -> fs::File {
    let start = Instant::now();
    loop {
        match open() {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                assert!(start.elapsed() < Duration::from_secs(5));
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Names the directories that the other process of the test below is to serve.
const OTHER_PROCESS: &str = "MICA_TEST_WRITABLE_CRASH";
/// Says after how many changes on disk it is to be killed.
const KILL_AFTER: &str = "MICA_TEST_WRITABLE_KILL";
/// The file by which it says that it serves.
const READY: &str = "ready";
const BIG: usize = 64 << 20;

/// Trap 43.
#[test]
fn a_crash_while_a_file_is_copied_up_leaves_it_old_or_new_and_nothing_half_made() {
    let mut bed = Bed::unmounted(|lower| {
        fs::write(lower.join("file"), vec![7; BIG]).unwrap();
    });
    let mut was_in_time = false;
    for delay in [1, 5, 15, 40, 80] {
        let mut server = serve_elsewhere(bed.directory(), None);
        let path = bed.shared_path("file");
        let writer = std::thread::spawn(move || fs::File::options().append(true).open(path));
        std::thread::sleep(Duration::from_millis(delay));
        server.kill().unwrap();
        server.wait().unwrap();
        drop(writer.join().unwrap());
        was_in_time |= !names(&bed.ground.work.join("work")).is_empty();
        drop(unmount(&bed.shared_path(""), Busy::Detach));
        bed.remount();
        assert_eq!(bed.half_made(), [""; 0], "after {delay} ms");
        assert!(bed.read("file") == vec![7; BIG], "after {delay} ms");
        bed.unmount();
        drop(fs::remove_file(bed.upper("file")));
    }
    assert!(was_in_time, "no crash came while the file was copied");
}

/// Starts another process that serves the directories, and waits for its mount. It kills
/// itself before it makes one more change on disk than it may.
pub(crate) fn serve_elsewhere(directory: &Path, kill_after: Option<u32>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    if let Some(changes) = kill_after {
        command.env(KILL_AFTER, changes.to_string());
    }
    let mut child = command
        .args([
            "failing::other_process",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(OTHER_PROCESS, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let ready = directory.join(READY);
    while !ready.exists() {
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::remove_file(ready).unwrap();
    child
}

/// The other process of the test above; on its own it has nothing to do.
#[test]
fn other_process() {
    let Some(directory) = std::env::var_os(OTHER_PROCESS) else {
        return;
    };
    let faults = Faults::default();
    let ground = Ground::new(Path::new(&directory), 1);
    let mounted = faults.watch(Which::Changes, || ground.mount(Implementation::Mica));
    if let Ok(changes) = std::env::var(KILL_AFTER) {
        faults.arm(Fault::Kill, changes.parse().unwrap());
    }
    fs::write(Path::new(&directory).join(READY), "").unwrap();
    // Until it is killed, or whoever started it is gone.
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    mounted.unmount();
}

/// Returns the error of opening an upper.
fn refusal(upper: &Path, work: &Path) -> Error {
    Upper::open(upper, work, UpperOptions::default()).unwrap_err()
}

#[test]
fn an_upper_or_a_work_directory_that_another_mount_uses_is_busy() {
    let bed = Bed::new(|_| ());
    let other = bed.directory().join("other");
    fs::create_dir(&other).unwrap();
    for (upper, work) in [(&bed.ground.upper, &other), (&other, &bed.ground.work)] {
        let error = refusal(upper, work);
        assert_eq!(error.errno(), rustix::io::Errno::BUSY);
        assert!(error.to_string().contains("another mount"), "{error}");
    }
}

#[test]
fn an_upper_can_be_used_again_after_its_mount() {
    let mut bed = Bed::new(|_| ());
    bed.unmount();
    Upper::open(&bed.ground.upper, &bed.ground.work, UpperOptions::default()).unwrap();
}

/// A child has copies of all descriptors until it runs its own program.
#[test]
fn an_upper_is_free_at_once_while_other_programs_are_started() {
    let bed = Bed::unmounted(|_| ());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().unwrap().success());
            }
        });
        let mut opened = (0..2000).map(|_| {
            Upper::open(&bed.ground.upper, &bed.ground.work, UpperOptions::default()).map(drop)
        });
        let refused = opened.find_map(Result::err);
        is_over.store(true, Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}

#[test]
fn upper_and_work_on_two_file_systems_are_refused() {
    let bed = Bed::unmounted(|_| ());
    let _small = Small::mount(bed.ground.work.clone(), "1m");
    let error = refusal(&bed.ground.upper, &bed.ground.work);
    assert_eq!(error.errno(), rustix::io::Errno::XDEV);
}

#[test]
fn a_directory_that_is_missing_is_named_in_the_error() {
    let bed = Bed::unmounted(|_| ());
    let absent = bed.directory().join("absent");
    for (upper, work) in [(&bed.ground.upper, &absent), (&absent, &bed.ground.work)] {
        let error = refusal(upper, work);
        assert_eq!(error.errno(), rustix::io::Errno::NOENT);
        assert!(error.to_string().contains("absent"), "{error}");
    }
}

/// Trap 43: what a crash left, however deep, and whatever its mode.
#[test]
fn the_work_directory_is_cleared_when_it_is_mounted() {
    let mut bed = Bed::unmounted(|_| ());
    let deep = bed.ground.work.join("work/#1/a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "").unwrap();
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o0)).unwrap();
    bed.remount();
    assert_eq!(bed.half_made(), [""; 0]);
}

#[test]
fn what_vanishes_from_a_layer_is_an_error_and_not_absent() {
    let mut bed = Bed::unmounted(|lower| {
        fs::create_dir_all(lower.join("d/e")).unwrap();
        fs::write(lower.join("d/file"), "contents").unwrap();
        fs::write(lower.join("d/kept"), "kept").unwrap();
    });
    bed.remount();
    assert_eq!(bed.names("d"), ["e", "file", "kept"]);
    // What nobody uses any more is read anew, without what is gone then.
    let _used = fs::File::open(bed.path("d")).unwrap();
    fs::remove_file(bed.lower("d/file")).unwrap();
    fs::remove_dir(bed.lower("d/e")).unwrap();
    drop_caches();
    let lost = [libc::EIO, libc::ESTALE];
    for name in ["d/file", "d/e"] {
        let seen = fs::symlink_metadata(bed.path(name)).and_then(|_| fs::read(bed.path(name)));
        assert!(lost.contains(&errno(seen)), "{name}");
        let changed = fs::set_permissions(bed.path(name), fs::Permissions::from_mode(0o700));
        assert!(lost.contains(&errno(changed)), "{name}");
    }
    assert!(!bed.upper("d/file").exists() && !bed.upper("d/e").exists());
    assert_eq!(bed.half_made(), [""; 0]);
    assert_eq!(bed.read("d/kept"), b"kept");
}

#[test]
fn an_attribute_over_the_limit_is_refused_and_copies_nothing() {
    let bed = Bed::new(|lower| fs::write(lower.join("file"), "contents").unwrap());
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(
            bed.path("file"),
            name,
            value,
            rustix::fs::XattrFlags::empty(),
        )
    };
    assert_eq!(errno(set("user.a", &vec![0; (64 << 10) + 1])), libc::E2BIG);
    assert_eq!(
        errno(set(&format!("user.{}", "n".repeat(255)), b"")),
        libc::ERANGE
    );
    assert_eq!(names(&bed.ground.upper), [""; 0]);
}

//! Files that are open while their names go or their inodes are copied up.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use mica_fuse::session::Transport;
use rustix::fs::{FallocateFlags, FlockOperation, XattrFlags, fallocate, flock, fsetxattr};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::bed::{Bed, CACHES, drop_caches, errno, evict, open_to_write};
use crate::sys::{Gate, Mapping};

/// Does everything to a file that has no name any more.
fn use_unnamed(file: &File, why: &str) {
    assert_eq!(file.metadata().unwrap().nlink(), 0, "{why}");
    drop_caches();
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"old", "{why}");
    file.write_all_at(b"new and longer", 0).unwrap();
    file.set_len(5).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    fchown(file, Some(3), Some(4)).unwrap();
    fsetxattr(file, "user.x", b"y", XattrFlags::empty()).unwrap();
    fallocate(file, FallocateFlags::empty(), 0, 8192).unwrap();
    let shown = file.metadata().unwrap();
    assert_eq!(
        (shown.len(), shown.uid(), shown.gid(), shown.nlink()),
        (8192, 3, 4, 0),
        "{why}"
    );
    let again = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    assert_eq!(&again[..6], b"new a\0", "{why}");
}

/// Trap 6.
#[test]
fn a_file_without_a_name_is_used_like_any_other() {
    let bed = Bed::new(|lower| {
        for name in ["lower", "changed", "written"] {
            fs::write(lower.join(name), "old").unwrap();
        }
    });
    fs::write(bed.path("upper"), "old").unwrap();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(bed.path("changed"), mode).unwrap();
    fs::write(bed.path("written"), "old").unwrap();
    for name in ["lower", "changed", "written", "upper"] {
        let both = File::options().read(true).write(true).open(bed.path(name));
        let both = both.unwrap();
        fs::remove_file(bed.path(name)).unwrap();
        use_unnamed(&both, name);
    }
    assert_eq!(bed.names("."), [""; 0]);
    assert_eq!(bed.half_made(), [""; 0]);
}

/// Trap 6: one that nobody had opened for writing is copied up without a name.
#[test]
fn a_lower_file_without_a_name_is_opened_again_to_be_written() {
    let bed = Bed::new(|lower| fs::write(lower.join("file"), "old").unwrap());
    let file = File::open(bed.path("file")).unwrap();
    fs::remove_file(bed.path("file")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    let again = open_to_write(format!("/proc/self/fd/{}", file.as_raw_fd()).as_ref());
    again.write_all_at(b"N", 0).unwrap();
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"Nld");
    assert_eq!(fs::read(bed.lower("file")).unwrap(), b"old");
    assert_eq!(bed.names("."), [""; 0]);
}

/// Trap 46.
#[test]
fn a_lock_holds_when_the_file_is_copied_up() {
    let bed = Bed::new(|lower| fs::write(lower.join("file"), "old").unwrap());
    let owner = File::open(bed.path("file")).unwrap();
    flock(&owner, FlockOperation::LockExclusive).unwrap();
    let writer = open_to_write(&bed.path("file"));
    writer.write_all_at(b"N", 0).unwrap();
    let other = File::open(bed.path("file")).unwrap();
    for file in [&writer, &other] {
        let refused = flock(file, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(errno(refused), libc::EWOULDBLOCK);
    }
    drop(owner);
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
}

/// Trap 47.
#[test]
fn a_program_that_runs_is_not_written_and_one_that_is_written_does_not_run() {
    let bed = Bed::new(|lower| {
        fs::copy("/bin/sleep", lower.join("program")).unwrap();
    });
    let program = bed.shared_path("program");
    let writer = open_to_write(&program);
    let refused = Command::new(&program).arg("0").status();
    assert_eq!(errno(refused), libc::ETXTBSY);
    drop(writer);
    let mut running = Command::new(&program).arg("60").spawn().unwrap();
    let refused = File::options().write(true).open(&program);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(errno(refused), libc::ETXTBSY);
}

/// Trap 48.
#[test]
fn two_who_append_overwrite_nothing_of_each_other() {
    for cache in CACHES {
        let bed = Bed::cached(cache, |lower| {
            fs::write(lower.join("log"), "start\n").unwrap();
        });
        let open = || File::options().append(true).open(bed.path("log")).unwrap();
        let (mut one, mut other) = (open(), open());
        for _ in 0..100 {
            one.write_all(b"one\n").unwrap();
            other.write_all(b"other\n").unwrap();
        }
        let expected = format!("start\n{}", "one\nother\n".repeat(100));
        assert!(bed.read("log") == expected.as_bytes(), "{cache:?}");
    }
}

/// Trap 48.
#[test]
fn direct_reads_and_writes_see_what_others_wrote() {
    for cache in CACHES {
        let bed = Bed::cached(cache, |lower| {
            fs::write(lower.join("file"), [1; 8192]).unwrap();
        });
        let direct = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(bed.path("file"))
            .unwrap();
        open_to_write(&bed.path("file"))
            .write_all_at(&[2; 10], 0)
            .unwrap();
        let mut room = vec![0; 8192];
        let aligned = room.as_ptr().align_offset(4096);
        let page = &mut room[aligned..aligned + 4096];
        direct.read_exact_at(page, 0).unwrap();
        assert_eq!((page[0], page[10]), (2, 1), "{cache:?}");
        page.fill(3);
        direct.write_all_at(page, 4096).unwrap();
        assert_eq!(bed.read("file")[4096..], [3; 4096], "{cache:?}");
    }
}

/// Trap 57.
#[test]
fn a_file_that_is_open_and_mapped_many_times_takes_one_descriptor() {
    for cache in CACHES {
        let bed = Bed::cached(cache, |lower| {
            fs::write(lower.join("file"), "old").unwrap();
        });
        fs::write(bed.path("file"), "new").unwrap();
        evict(&File::open(bed.path("file")).unwrap());
        let mapped: Vec<_> = (0..100)
            .map(|_| {
                let file = File::open(bed.path("file")).unwrap();
                (Mapping::of(&file), file)
            })
            .collect();
        assert!(mapped.iter().all(|(mapping, _)| mapping.first() == b'n'));
        assert_eq!(descriptors_of(&bed.upper("file")), 1, "{cache:?}");
    }
}

/// Counts the descriptors of this process, which serves the mount, that are of a file.
fn descriptors_of(path: &Path) -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    entries
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target == path)
        .count()
}

/// Who looks at files before they may be opened keeps the server waiting, not its callers,
/// also where all are on one CPU.
#[test]
fn an_open_that_has_to_wait_holds_nobody_else_up() {
    for transport in [Transport::Ring, Transport::Poll, Transport::Block] {
        let mut bed = Bed::unmounted(|_| {});
        bed.ground.transport = transport;
        fs::write(bed.upper("scanned"), "scanned").unwrap();
        bed.remount();
        let gate = Gate::before(&bed.upper("scanned"));
        let (path, root) = (bed.path("scanned"), bed.path(""));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                stay_on_one_cpu();
                fs::read(&path).unwrap()
            });
            let has_begun = gate.has_somebody();
            let (report, reports) = mpsc::channel();
            scope.spawn(move || {
                stay_on_one_cpu();
                for number in 0..1000 {
                    assert!(!root.join(number.to_string()).exists());
                }
                report.send(()).unwrap();
            });
            let were_answered = reports.recv_timeout(Duration::from_secs(20));
            assert!(has_begun && !reader.is_finished(), "{transport:?}");
            drop(gate);
            assert_eq!(were_answered, Ok(()), "{transport:?}");
            assert_eq!(reader.join().unwrap(), b"scanned");
        });
    }
}

/// Binds the calling thread to the first CPU that it may run on.
fn stay_on_one_cpu() {
    let allowed = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set(
        (0..CpuSet::MAX_CPU)
            .find(|cpu| allowed.is_set(*cpu))
            .unwrap(),
    );
    sched_setaffinity(None, &one).unwrap();
}

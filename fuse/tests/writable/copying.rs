//! What is copied up, and what is not.

use std::fs::{self, File};
use std::os::unix::fs::{
    FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink,
};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, SeekFrom, Timespec, Timestamps, makedev, mknodat, seek, utimensat,
};

use crate::bed::{Bed, CACHES, is_whiteout, open_to_write, xattr};
use crate::sys::{Gate, truncate};

const SIZE: usize = 4 << 20;
/// An upper that has no space for it.
const LITTLE: &str = "1m";

fn big(lower: &Path) {
    fs::write(lower.join("big"), vec![7; SIZE]).unwrap();
}

/// Gives a file a time long ago.
fn date(path: &Path) {
    let time = Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 123_456_789,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn is_dated(metadata: &fs::Metadata) -> bool {
    (metadata.mtime(), metadata.mtime_nsec()) == (1_000_000_000, 123_456_789)
}

/// Returns how many bytes the upper has allocated for a file.
fn allocated(bed: &Bed, name: &str) -> u64 {
    fs::metadata(bed.upper(name)).unwrap().blocks() * 512
}

/// Trap 7.
#[test]
fn unlink_of_a_lower_file_only_makes_a_whiteout() {
    let bed = Bed::small(LITTLE, big);
    fs::remove_file(bed.path("big")).unwrap();
    assert!(is_whiteout(&bed.upper("big")));
    assert_eq!(bed.half_made(), [""; 0]);
}

/// Trap 8.
#[test]
fn opening_a_lower_file_to_empty_it_copies_no_contents() {
    let bed = Bed::small(LITTLE, big);
    let file = File::create(bed.path("big")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 0);
    assert_eq!(allocated(&bed, "big"), 0);
}

/// Trap 8.
#[test]
fn truncating_a_lower_file_copies_only_what_is_left() {
    let bed = Bed::small(LITTLE, big);
    truncate(&bed.path("big"), 100);
    assert_eq!(bed.read("big"), vec![7; 100]);
    assert!(allocated(&bed, "big") <= 4096);
}

/// Trap 9.
#[test]
fn changing_attributes_of_a_lower_file_copies_no_contents_until_they_are_written() {
    let mut bed = Bed::new(big);
    fs::set_permissions(bed.path("big"), fs::Permissions::from_mode(0o600)).unwrap();
    chown(bed.path("big"), Some(1), Some(2)).unwrap();
    rustix::fs::lsetxattr(
        bed.path("big"),
        "user.x",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    date(&bed.path("big"));
    assert!(allocated(&bed, "big") <= 4096);
    bed.remount();
    let shown = bed.stat("big");
    assert_eq!(
        (shown.uid(), shown.gid(), shown.mode() & 0o7777),
        (1, 2, 0o600)
    );
    assert!(is_dated(&shown));
    assert!(bed.read("big") == vec![7; SIZE]);
    assert!(allocated(&bed, "big") <= 4096);
    open_to_write(&bed.path("big"))
        .write_all_at(b"x", 0)
        .unwrap();
    assert_eq!(bed.read("big").len(), SIZE);
    assert!(allocated(&bed, "big") >= SIZE as u64);
}

/// Traps 10 and 11.
#[test]
fn holes_are_kept_and_found() {
    let bed = Bed::new(|lower| {
        let file = File::create(lower.join("sparse")).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&[1; 4096], 32 << 20).unwrap();
    });
    let expect_hole = |file: &File| {
        assert_eq!(seek(file, SeekFrom::Hole(0)).unwrap(), 0);
        assert_eq!(seek(file, SeekFrom::Data(0)).unwrap(), 32 << 20);
        assert_eq!(
            seek(file, SeekFrom::Hole(32 << 20)).unwrap(),
            (32 << 20) + 4096
        );
    };
    expect_hole(&File::open(bed.path("sparse")).unwrap());
    let file = File::options()
        .read(true)
        .write(true)
        .open(bed.path("sparse"))
        .unwrap();
    expect_hole(&file);
    assert!(allocated(&bed, "sparse") <= 64 << 10);
    let mut data = [0; 4096];
    file.read_exact_at(&mut data, 32 << 20).unwrap();
    assert_eq!(data, [1; 4096]);
}

/// Traps 12 and 14.
#[test]
fn special_files_are_copied_up_with_owner_mode_and_time() {
    let bed = Bed::new(|lower| {
        let mode = Mode::from_raw_mode(0o644);
        let node = |name: &str, kind, device| {
            mknodat(CWD, lower.join(name), kind, mode, device).unwrap();
        };
        node("pipe", FileType::Fifo, 0);
        node("device", FileType::CharacterDevice, makedev(0, 1));
        drop(UnixListener::bind(lower.join("socket")).unwrap());
        for name in ["pipe", "device", "socket"] {
            chown(lower.join(name), Some(5), Some(6)).unwrap();
            date(&lower.join(name));
        }
    });
    for name in ["pipe", "device", "socket"] {
        let path = bed.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&path, bed.path("moved")).unwrap();
        fs::hard_link(bed.path("moved"), bed.path("link")).unwrap();
        let shown = bed.stat("link");
        let is_type = match name {
            "pipe" => shown.file_type().is_fifo(),
            "device" => shown.file_type().is_char_device() && shown.rdev() == makedev(0, 1),
            _ => shown.file_type().is_socket(),
        };
        assert!(is_type, "{name}");
        assert_eq!(
            (shown.uid(), shown.gid(), shown.mode() & 0o7777),
            (5, 6, 0o600)
        );
        assert!(is_dated(&shown), "{name}");
        fs::remove_file(bed.path("link")).unwrap();
        fs::remove_file(bed.path("moved")).unwrap();
    }
}

/// Trap 13.
#[test]
fn a_symbolic_link_is_copied_up_with_owner_and_time() {
    let bed = Bed::new(|lower| {
        symlink("target", lower.join("link")).unwrap();
        lchown(lower.join("link"), Some(5), Some(6)).unwrap();
        date(&lower.join("link"));
    });
    fs::rename(bed.path("link"), bed.path("moved")).unwrap();
    let shown = bed.stat("moved");
    assert_eq!((shown.uid(), shown.gid()), (5, 6));
    assert!(is_dated(&shown));
    assert_eq!(
        fs::read_link(bed.path("moved")).unwrap(),
        Path::new("target")
    );
}

/// Traps 15 and 16.
#[test]
fn directories_keep_their_time_when_what_is_in_them_is_copied_up() {
    let bed = Bed::new(|lower| {
        fs::create_dir_all(lower.join("a/b")).unwrap();
        fs::write(lower.join("a/b/file"), "old").unwrap();
        for name in ["a/b", "a", "."] {
            date(&lower.join(name));
        }
    });
    chown(bed.path("a/b/file"), Some(1), Some(1)).unwrap();
    fs::write(bed.path("a/b/file"), "new").unwrap();
    for name in ["a/b", "a"] {
        assert!(bed.upper(name).is_dir());
        assert!(is_dated(&bed.stat(name)), "{name}");
        assert!(is_dated(&fs::metadata(bed.upper(name)).unwrap()), "{name}");
    }
}

/// Trap 17.
#[test]
fn a_write_by_another_clears_set_id_bits() {
    for (why, is_lower) in [("below", true), ("above", false)] {
        let make = |path: &Path| {
            fs::write(path, "old").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o6777)).unwrap();
        };
        let bed = Bed::new(|lower| {
            if is_lower {
                make(&lower.join("file"));
            }
        });
        if !is_lower {
            make(&bed.path("file"));
        }
        let status = as_nobody("printf x >> \"$1\"", &bed.shared_path("file"));
        assert!(status, "{why}");
        assert_eq!(bed.stat("file").mode() & 0o7777, 0o777, "{why}");
        assert_eq!(bed.read("file"), b"oldx");
    }
}

/// Trap 17.
#[test]
fn a_write_takes_capabilities_away_and_a_change_of_attributes_does_not() {
    // Version 2, effective: CAP_NET_RAW.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for cache in CACHES {
        let bed = Bed::cached(cache, |lower| {
            fs::write(lower.join("file"), "old").unwrap();
            let (path, flags) = (lower.join("file"), rustix::fs::XattrFlags::empty());
            rustix::fs::lsetxattr(path, "security.capability", &capability, flags).unwrap();
        });
        let shown = || xattr(&bed.path("file"), "security.capability");
        fs::set_permissions(bed.path("file"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(shown().unwrap(), capability, "{cache:?}");
        let file = open_to_write(&bed.path("file"));
        assert_eq!(shown().unwrap(), capability, "{cache:?}");
        file.write_all_at(b"N", 0).unwrap();
        assert_eq!(shown(), None, "{cache:?}");
    }
}

/// Runs a script as another user.
pub(crate) fn as_nobody(script: &str, path: &Path) -> bool {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(path);
    command.uid(65534).gid(65534).current_dir("/");
    command.status().unwrap().success()
}

/// Trap 53.
#[test]
fn an_open_file_is_copied_up_to_where_its_renamed_directory_is() {
    let mut bed = Bed::new(|lower| {
        fs::create_dir(lower.join("dir")).unwrap();
        fs::write(lower.join("dir/file"), "old").unwrap();
    });
    let file = File::open(bed.path("dir/file")).unwrap();
    fs::rename(bed.path("dir"), bed.path("moved")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    open_to_write(&bed.path("moved/file"))
        .write_all_at(b"N", 0)
        .unwrap();
    let mut seen = [0; 3];
    file.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"Nld");
    drop(file);
    bed.remount();
    assert_eq!(bed.read("moved/file"), b"Nld");
    assert_eq!(bed.stat("moved/file").mode() & 0o7777, 0o600);
    assert!(bed.path("dir").symlink_metadata().is_err());
}

/// Contents of a file are held back while they are copied up; what changes the file too has
/// to wait, and nothing else may.
#[test]
fn a_copy_that_takes_long_holds_up_nobody_who_needs_nothing_of_it() {
    let bed = Bed::new(|lower| {
        big(lower);
        fs::create_dir(lower.join("dir")).unwrap();
    });
    let gate = Gate::before(&bed.lower("big"));
    let path = bed.path("big");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| open_to_write(&path).write_all_at(b"N", 0).unwrap());
        let has_begun = gate.has_somebody();
        let changer = scope.spawn(|| {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        });
        let (report, reports) = mpsc::channel();
        let others = bed.path("dir");
        scope.spawn(move || {
            for number in 0..1000 {
                assert!(!others.join(number.to_string()).exists());
            }
            report.send(()).unwrap();
        });
        let was_in_time = reports.recv_timeout(Duration::from_secs(20));
        assert!(has_begun && !writer.is_finished() && !changer.is_finished());
        drop(gate);
        was_in_time.unwrap();
    });
    assert_eq!(bed.read("big")[..2], *b"N\x07");
    assert_eq!(bed.stat("big").mode() & 0o7777, 0o600);
}

/// Trap 45.
#[test]
fn files_are_copied_up_while_their_directory_is_renamed() {
    const FILES: usize = 200;
    let mut bed = Bed::new(|lower| {
        fs::create_dir_all(lower.join("a/dir")).unwrap();
        for number in 0..FILES {
            fs::write(lower.join(format!("a/dir/{number}")), "old").unwrap();
        }
    });
    fs::create_dir(bed.path("b")).unwrap();
    let files: Vec<_> = (0..FILES)
        .map(|number| File::open(bed.path(&format!("a/dir/{number}"))).unwrap())
        .collect();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let places = ["a/dir", "b/moved"].map(|name| bed.path(name));
            while !is_done.load(Ordering::Relaxed) {
                fs::rename(&places[0], &places[1]).unwrap();
                fs::rename(&places[1], &places[0]).unwrap();
            }
        });
        for file in &files {
            file.set_permissions(fs::Permissions::from_mode(0o600))
                .unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    });
    drop(files);
    bed.remount();
    for number in 0..FILES {
        let name = format!("a/dir/{number}");
        assert_eq!(bed.stat(&name).mode() & 0o7777, 0o600, "{name}");
        assert_eq!(bed.read(&name), b"old", "{name}");
    }
    assert_eq!(bed.half_made(), [""; 0]);
}

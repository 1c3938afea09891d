//! Flags of inodes, as `chattr` sets and `lsattr` shows them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::bed::{Bed, CACHES, errno};

fn lay(lower: &Path) {
    fs::create_dir(lower.join("dir")).unwrap();
    fs::write(lower.join("file"), "12345").unwrap();
    fs::write(lower.join("other"), "12345").unwrap();
}

/// Returns whether something has a flag.
fn has(path: &Path, flag: IFlags) -> bool {
    ioctl_getflags(File::open(path).unwrap())
        .unwrap()
        .contains(flag)
}

fn set(path: &Path, flag: IFlags, is_set: bool) {
    let file = File::open(path).unwrap();
    let mut flags = ioctl_getflags(&file).unwrap();
    flags.set(flag, is_set);
    ioctl_setflags(&file, flags).unwrap();
}

/// Trap 35.
#[test]
fn to_set_a_flag_copies_up() {
    let mut bed = Bed::new(lay);
    for name in ["file", "dir"] {
        set(&bed.path(name), IFlags::NODUMP, true);
        assert!(has(&bed.path(name), IFlags::NODUMP), "{name}");
        assert!(has(&bed.upper(name), IFlags::NODUMP), "{name}");
        assert!(!has(&bed.lower(name), IFlags::NODUMP), "{name}");
    }
    assert_eq!(fs::read(bed.upper("file")).unwrap(), b"12345");
    bed.remount();
    assert!(has(&bed.path("file"), IFlags::NODUMP));
    set(&bed.path("file"), IFlags::NODUMP, false);
    assert!(!has(&bed.upper("file"), IFlags::NODUMP));
}

#[test]
fn flags_of_a_layer_are_shown() {
    let bed = Bed::new(lay);
    set(&bed.lower("file"), IFlags::NODUMP, true);
    assert!(has(&bed.path("file"), IFlags::NODUMP));
    assert!(!has(&bed.path("other"), IFlags::NODUMP));
}

#[test]
fn an_immutable_file_can_only_be_read() {
    for cache in CACHES {
        let bed = Bed::cached(cache, lay);
        let path = bed.path("file");
        set(&path, IFlags::IMMUTABLE, true);
        let _reader = File::open(&path).unwrap();
        let opened = File::options().write(true).open(&path);
        // With a cache for writing it is opened, and the kernel asks when it has to write.
        let written =
            opened.and_then(|mut file| file.write_all(b"x").and_then(|()| file.sync_all()));
        assert_eq!(errno(written), libc::EPERM, "{cache:?}");
        assert_eq!(errno(fs::remove_file(&path)), libc::EPERM, "{cache:?}");
        assert_eq!(
            errno(fs::rename(&path, bed.path("new"))),
            libc::EPERM,
            "{cache:?}"
        );
        set(&path, IFlags::IMMUTABLE, false);
        fs::write(&path, "new").unwrap();
        assert_eq!(bed.read("file"), b"new", "{cache:?}");
    }
}

#[test]
fn an_append_only_file_can_be_appended_to() {
    let bed = Bed::new(lay);
    let path = bed.path("file");
    set(&path, IFlags::APPEND, true);
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"678").unwrap();
    drop(file);
    assert_eq!(bed.read("file"), b"12345678");
    let emptied = File::create(&path).and_then(|mut file| file.write_all(b"x"));
    assert_eq!(errno(emptied), libc::EPERM);
    set(&path, IFlags::APPEND, false);
    fs::remove_file(&path).unwrap();
}

//! What `stat`, `statfs` and extended attributes show and take.

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, utimensat};
use rustix::io::Errno;

use crate::bed::{Bed, errno, xattr};

fn file(lower: &Path) {
    fs::write(lower.join("file"), "old").unwrap();
}

/// Trap 5.
#[test]
fn links_are_counted_at_first_sight_and_when_one_is_made_or_goes() {
    let bed = Bed::new(|lower| {
        file(lower);
        fs::hard_link(lower.join("file"), lower.join("other")).unwrap();
    });
    assert_eq!(bed.stat("file").nlink(), 2);
    fs::write(bed.path("new"), "").unwrap();
    fs::hard_link(bed.path("new"), bed.path("link")).unwrap();
    assert_eq!(bed.stat("new").nlink(), 2);
    assert_eq!(bed.stat("new").ino(), bed.stat("link").ino());
    fs::remove_file(bed.path("new")).unwrap();
    assert_eq!(bed.stat("link").nlink(), 1);
}

#[test]
fn a_label_that_is_not_there_is_unsupported_where_nothing_reads_labels() {
    const LABEL: &str = "security.selinux";
    if fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("selinuxfs")) {
        println!("skipped: the kernel has SELinux");
        return;
    }
    let bed = Bed::new(file);
    fs::write(bed.path("new"), "").unwrap();
    for name in ["file", "new"] {
        let path = bed.path(name);
        let get = |attribute| rustix::fs::lgetxattr(&path, attribute, &mut [0; 64][..]);
        assert_eq!(get(LABEL), Err(Errno::OPNOTSUPP), "{name}");
        assert_eq!(get("security.other"), Err(Errno::NODATA), "{name}");
        let gone = rustix::fs::lremovexattr(&path, LABEL);
        assert_eq!(gone, Err(Errno::NODATA), "{name}");
        rustix::fs::lsetxattr(&path, LABEL, b"label", XattrFlags::empty()).unwrap();
        assert_eq!(get(LABEL), Ok(5), "{name}: one that is there is shown");
        rustix::fs::lremovexattr(&path, LABEL).unwrap();
    }
}

/// Trap 36.
#[test]
fn what_is_set_of_overlayfs_in_the_tree_is_no_mark_of_the_view() {
    let mut bed = Bed::new(|lower| {
        file(lower);
        fs::create_dir(lower.join("dir")).unwrap();
        fs::write(lower.join("dir/inner"), "").unwrap();
    });
    let ino = bed.stat("file").ino();
    for (path, name, value) in [
        ("dir", "trusted.overlay.opaque", b"y"),
        ("file", "trusted.overlay.mica.ino", b"1"),
        ("file", "trusted.overlayfoo", b"z"),
    ] {
        let flags = XattrFlags::empty();
        rustix::fs::lsetxattr(bed.path(path), name, value, flags).unwrap();
    }
    bed.remount();
    assert_eq!(bed.names("dir"), ["inner"]);
    assert_eq!(bed.stat("file").ino(), ino);
    let shown = |path, name| xattr(&bed.path(path), name);
    assert_eq!(shown("dir", "trusted.overlay.opaque").unwrap(), b"y");
    assert_eq!(shown("file", "trusted.overlay.mica.ino").unwrap(), b"1");
    assert_eq!(shown("file", "trusted.overlayfoo").unwrap(), b"z");
}

/// Trap 36.
#[test]
fn marks_of_the_view_are_not_listed_and_a_list_that_is_too_long_is_an_error() {
    let bed = Bed::new(file);
    set_permissions(bed.path("file"), Permissions::from_mode(0o600)).unwrap();
    assert!(xattr(&bed.upper("file"), "trusted.overlay.metacopy").is_some());
    rustix::fs::lsetxattr(bed.path("file"), "user.x", b"y", XattrFlags::empty()).unwrap();
    assert_eq!(listed(&bed.path("file")), "user.x\0");
    let small = rustix::fs::llistxattr(bed.path("file"), &mut [0; 3][..]);
    assert_eq!(errno(small), libc::ERANGE);
}

/// Trap 36.
#[test]
fn only_root_is_told_of_trusted_attributes() {
    let bed = Bed::new(file);
    for name in ["trusted.secret", "user.open"] {
        rustix::fs::lsetxattr(bed.path("file"), name, b"x", XattrFlags::empty()).unwrap();
    }
    assert!(listed(&bed.path("file")).contains("trusted.secret\0"));
    let path = bed.shared_path("file");
    let as_nobody = std::thread::spawn(move || {
        // Of this thread alone.
        let nobody = Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        listed(&path)
    });
    assert_eq!(as_nobody.join().unwrap(), "user.open\0");
}

/// Returns the names of all attributes, each with a NUL.
fn listed(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    String::from_utf8(names[..length].to_vec()).unwrap()
}

/// Trap 40.
#[test]
fn times_are_kept_to_the_nanosecond_also_those_before_1970() {
    let mut bed = Bed::new(file);
    let before = bed.stat("file").atime_nsec();
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: -1000,
            tv_nsec: 999_999_999,
        },
    };
    utimensat(CWD, bed.path("file"), &times, AtFlags::empty()).unwrap();
    for _ in 0..2 {
        let shown = bed.stat("file");
        assert_eq!((shown.mtime(), shown.mtime_nsec()), (-1000, 999_999_999));
        assert_eq!(shown.atime_nsec(), before);
        bed.remount();
    }
}

/// Trap 49.
#[test]
fn statfs_is_that_of_the_upper() {
    let bed = Bed::small("8m", file);
    let shown = rustix::fs::statvfs(bed.path(".")).unwrap();
    assert_eq!(shown.f_blocks * shown.f_frsize, 8 << 20);
    assert_eq!(shown.f_namemax, 255);
}

/// Trap 50.
#[test]
fn a_merged_directory_says_that_its_links_count_nothing() {
    let bed = Bed::new(|lower| fs::create_dir_all(lower.join("dir/below")).unwrap());
    assert_eq!(bed.stat("dir").nlink(), 3);
    fs::create_dir(bed.path("dir/own")).unwrap();
    assert_eq!(bed.stat("dir").nlink(), 1);
    assert_eq!(bed.stat("dir/own").nlink(), 2);
}

//! Names that move, and names that cannot be.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bed::{Bed, errno, is_whiteout, xattr};

/// A lower with a directory of two files, an empty directory and a file.
fn some_names(lower: &Path) {
    fs::create_dir_all(lower.join("dir/below")).unwrap();
    fs::create_dir(lower.join("empty")).unwrap();
    for name in ["dir/one", "dir/below/two", "file", "other"] {
        fs::write(lower.join(name), name).unwrap();
    }
}

fn rename_with(bed: &Bed, from: &str, to: &str, flags: RenameFlags) -> rustix::io::Result<()> {
    renameat_with(CWD, bed.path(from), CWD, bed.path(to), flags)
}

/// Trap 18.
#[test]
fn a_lower_directory_that_was_renamed_is_there_after_a_remount_and_for_overlayfs() {
    let mut bed = Bed::new(some_names);
    fs::create_dir(bed.path("new")).unwrap();
    fs::rename(bed.path("dir"), bed.path("new/moved")).unwrap();
    fs::write(bed.path("new/moved/three"), "three").unwrap();
    let check = |bed: &Bed, who: &str| {
        assert_eq!(bed.names("."), ["empty", "file", "new", "other"], "{who}");
        assert_eq!(bed.names("new/moved"), ["below", "one", "three"], "{who}");
        assert_eq!(bed.read("new/moved/below/two"), b"dir/below/two", "{who}");
    };
    check(&bed, "at once");
    bed.remount();
    check(&bed, "after a remount");
    assert!(!bed.upper("new/moved/one").exists());
    let redirect = xattr(&bed.upper("new/moved"), "trusted.overlay.redirect");
    assert_eq!(redirect.unwrap(), b"/dir");
    bed.remount_as_overlayfs();
    check(&bed, "overlayfs");
}

/// Trap 19.
#[test]
fn a_directory_is_renamed_onto_a_whiteout_and_shows_nothing_of_what_that_hid() {
    let mut bed = Bed::new(some_names);
    fs::remove_dir_all(bed.path("dir")).unwrap();
    fs::create_dir(bed.path("new")).unwrap();
    fs::write(bed.path("new/mine"), "").unwrap();
    fs::rename(bed.path("new"), bed.path("dir")).unwrap();
    assert_eq!(bed.names("dir"), ["mine"]);
    bed.remount();
    assert_eq!(bed.names("dir"), ["mine"]);
    assert_eq!(bed.names("."), ["dir", "empty", "file", "other"]);
}

/// Trap 19.
#[test]
fn a_directory_is_renamed_over_one_that_holds_only_whiteouts_but_over_no_other() {
    let mut bed = Bed::new(some_names);
    fs::create_dir(bed.path("new")).unwrap();
    fs::write(bed.path("new/mine"), "").unwrap();
    let refused = fs::rename(bed.path("new"), bed.path("dir"));
    assert_eq!(errno(refused), libc::ENOTEMPTY);
    fs::remove_file(bed.path("dir/one")).unwrap();
    fs::remove_dir_all(bed.path("dir/below")).unwrap();
    fs::rename(bed.path("new"), bed.path("dir")).unwrap();
    bed.remount();
    assert_eq!(bed.names("dir"), ["mine"]);
    assert_eq!(bed.half_made(), [""; 0]);
}

/// Trap 20.
#[test]
fn noreplace_sees_whiteouts_as_absent_and_names_as_there() {
    let bed = Bed::new(some_names);
    let refused = rename_with(&bed, "other", "file", RenameFlags::NOREPLACE);
    assert_eq!(errno(refused), libc::EEXIST);
    fs::remove_file(bed.path("file")).unwrap();
    rename_with(&bed, "other", "file", RenameFlags::NOREPLACE).unwrap();
    assert_eq!(bed.read("file"), b"other");
    assert_eq!(bed.names("."), ["dir", "empty", "file"]);
}

/// Trap 20.
#[test]
fn exchange_swaps_files_and_directories_of_upper_and_lower() {
    let mut bed = Bed::new(some_names);
    fs::write(bed.path("mine"), "mine").unwrap();
    fs::create_dir(bed.path("new")).unwrap();
    for (one, other) in [("mine", "file"), ("new", "dir"), ("other", "empty")] {
        rename_with(&bed, one, other, RenameFlags::EXCHANGE).unwrap();
    }
    let absent = rename_with(&bed, "mine", "absent", RenameFlags::EXCHANGE);
    assert_eq!(errno(absent), libc::ENOENT);
    let check = |bed: &Bed, who: &str| {
        assert_eq!(bed.read("mine"), b"file", "{who}");
        assert_eq!(bed.read("file"), b"mine", "{who}");
        assert_eq!(bed.names("new"), ["below", "one"], "{who}");
        assert_eq!(bed.names("dir"), [""; 0], "{who}");
        assert_eq!(bed.read("empty"), b"other", "{who}");
        assert_eq!(bed.names("other"), [""; 0], "{who}");
    };
    check(&bed, "at once");
    bed.remount();
    check(&bed, "after a remount");
    bed.remount_as_overlayfs();
    check(&bed, "overlayfs");
}

/// Trap 20.
#[test]
fn rename_with_whiteout_leaves_a_name_that_is_absent() {
    let mut bed = Bed::new(some_names);
    rename_with(&bed, "file", "moved", RenameFlags::WHITEOUT).unwrap();
    for _ in 0..2 {
        let absent = bed.path("file").symlink_metadata();
        assert_eq!(errno(absent), libc::ENOENT);
        assert_eq!(bed.names("."), ["dir", "empty", "moved", "other"]);
        assert_eq!(bed.read("moved"), b"file");
        bed.remount();
    }
}

/// Trap 21.
#[test]
fn a_file_that_was_renamed_over_is_still_read_by_who_has_it_open() {
    let bed = Bed::new(some_names);
    let mut lower = File::open(bed.path("file")).unwrap();
    fs::rename(bed.path("other"), bed.path("file")).unwrap();
    let mut upper = File::open(bed.path("file")).unwrap();
    fs::write(bed.path("new"), "new").unwrap();
    fs::rename(bed.path("new"), bed.path("file")).unwrap();
    let mut read = String::new();
    lower.read_to_string(&mut read).unwrap();
    upper.read_to_string(&mut read).unwrap();
    assert_eq!(read, "fileother");
    assert_eq!(bed.read("file"), b"new");
}

/// Trap 28.
#[test]
fn names_of_whiteouts_are_refused_and_never_found() {
    let bed = Bed::new(some_names);
    let name = bed.path(".wh.file");
    assert_eq!(errno(File::create(&name)), libc::EINVAL);
    assert_eq!(errno(fs::create_dir(&name)), libc::EINVAL);
    assert_eq!(errno(fs::rename(bed.path("file"), &name)), libc::EINVAL);
    assert_eq!(errno(fs::hard_link(bed.path("file"), &name)), libc::EINVAL);
    assert_eq!(errno(name.symlink_metadata()), libc::ENOENT);
    assert_eq!(bed.read("file"), b"file");
}

/// Trap 28.
#[test]
fn names_of_255_bytes_are_listed_read_written_and_deleted() {
    let lower = "l".repeat(255);
    let upper = "u".repeat(255);
    let bed = Bed::new(|layer| fs::write(layer.join(&lower), "lower").unwrap());
    fs::write(bed.path(&upper), "upper").unwrap();
    assert_eq!(bed.names("."), [lower.as_str(), upper.as_str()]);
    assert_eq!(bed.read(&lower), b"lower");
    fs::write(bed.path(&lower), "new").unwrap();
    assert_eq!(bed.read(&lower), b"new");
    for name in [&lower, &upper] {
        fs::remove_file(bed.path(name)).unwrap();
    }
    assert_eq!(bed.names("."), [""; 0]);
    assert!(is_whiteout(&bed.upper(&lower)));
    let longer = File::create(bed.path(&"x".repeat(256)));
    assert_eq!(errno(longer), libc::ENAMETOOLONG);
}

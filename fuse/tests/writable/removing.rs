//! What is removed stays away, and leaves no mark that is not needed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::bed::{Bed, CACHES, errno};

fn deep(lower: &Path) {
    fs::create_dir_all(lower.join("d/e/f")).unwrap();
    for name in ["d/one", "d/e/two", "d/e/f/three"] {
        fs::write(lower.join(name), name).unwrap();
    }
}

/// Makes something of a name.
type Maker = fn(&Path);

/// Trap 22.
#[test]
fn a_directory_that_was_removed_and_made_again_is_empty() {
    let mut bed = Bed::new(deep);
    fs::remove_dir_all(bed.path("d")).unwrap();
    fs::create_dir(bed.path("d")).unwrap();
    for _ in 0..2 {
        assert_eq!(bed.names("d"), [""; 0]);
        assert_eq!(errno(bed.path("d/one").symlink_metadata()), libc::ENOENT);
        bed.remount();
    }
    bed.remount_as_overlayfs();
    assert_eq!(bed.names("d"), [""; 0]);
}

/// Trap 22.
#[test]
fn directories_made_again_below_one_that_was_made_again_are_empty() {
    let mut bed = Bed::new(deep);
    fs::remove_dir_all(bed.path("d")).unwrap();
    fs::create_dir_all(bed.path("d/e/f")).unwrap();
    for _ in 0..2 {
        assert_eq!(bed.names("d"), ["e"]);
        assert_eq!(bed.names("d/e"), ["f"]);
        assert_eq!(bed.names("d/e/f"), [""; 0]);
        for name in ["d/one", "d/e/two", "d/e/f/three"] {
            let absent = bed.path(name).symlink_metadata();
            assert_eq!(errno(absent), libc::ENOENT, "{name}");
        }
        bed.remount();
    }
    // One mark is enough for all that is below it.
    assert_eq!(bed.marks(), ["/d/"]);
}

#[test]
fn a_directory_that_is_not_empty_is_refused_before_anything_is_copied_up() {
    let bed = Bed::new(deep);
    let refused = fs::remove_dir(bed.path("d/e/f"));
    assert_eq!(errno(refused), libc::ENOTEMPTY);
    assert_eq!(bed.names("d/e/f"), ["three"]);
    assert!(!bed.upper("d").exists(), "a copy of what stays as it is");
}

/// Trap 26.
#[test]
fn names_of_the_upper_alone_go_without_a_whiteout() {
    let bed = Bed::new(deep);
    fs::write(bed.path("d/mine"), "").unwrap();
    fs::create_dir(bed.path("d/own")).unwrap();
    fs::write(bed.path("d/own/x"), "").unwrap();
    fs::rename(bed.path("d/mine"), bed.path("d/moved")).unwrap();
    fs::remove_dir_all(bed.path("d/own")).unwrap();
    fs::remove_file(bed.path("d/moved")).unwrap();
    assert_eq!(bed.marks(), [""; 0]);
}

/// Trap 26.
#[test]
fn an_opaque_directory_takes_no_whiteouts() {
    let bed = Bed::new(deep);
    fs::remove_dir_all(bed.path("d")).unwrap();
    fs::create_dir(bed.path("d")).unwrap();
    fs::write(bed.path("d/one"), "").unwrap();
    fs::remove_file(bed.path("d/one")).unwrap();
    assert_eq!(bed.marks(), ["/d/"]);
}

/// Trap 26.
#[test]
fn whatever_is_made_over_a_whiteout_takes_its_place() {
    let bed = Bed::new(deep);
    let makers: [(&str, Maker); 5] = [
        ("file", |path| fs::write(path, "").unwrap()),
        ("symlink", |path| symlink("x", path).unwrap()),
        ("pipe", |path| {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        }),
        ("link", |path| {
            fs::hard_link(path.with_file_name("other"), path).unwrap();
        }),
        ("rename", |path| {
            fs::rename(path.with_file_name("other"), path).unwrap();
        }),
    ];
    fs::write(bed.path("d/other"), "").unwrap();
    for (why, make) in makers {
        fs::remove_file(bed.path("d/one")).unwrap();
        assert_eq!(bed.marks(), ["/d/one"], "{why}");
        make(&bed.path("d/one"));
        assert_eq!(bed.marks(), [""; 0], "{why}");
    }
}

/// Trap 27.
#[test]
fn a_new_directory_is_opaque_only_where_something_is_below_it() {
    let bed = Bed::new(deep);
    fs::create_dir_all(bed.path("new/deeper")).unwrap();
    fs::create_dir(bed.path("d/new")).unwrap();
    assert_eq!(bed.marks(), [""; 0]);
    fs::remove_file(bed.path("d/one")).unwrap();
    fs::create_dir(bed.path("d/one")).unwrap();
    // Nothing of a file is seen through a directory; a mark there does no harm.
    assert!(bed.marks().is_empty() || bed.marks() == ["/d/one/"]);
    assert_eq!(bed.names("d/one"), [""; 0]);
}

/// Trap 30.
#[test]
fn a_removed_directory_that_is_open_lists_nothing() {
    let bed = Bed::new(|lower| fs::create_dir(lower.join("empty")).unwrap());
    let open = fs::File::open(bed.path("empty")).unwrap();
    fs::remove_dir(bed.path("empty")).unwrap();
    let entries = rustix::fs::Dir::read_from(&open).unwrap();
    let shown: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| name != c"." && name != c"..")
        .collect();
    assert!(shown.is_empty(), "{shown:?}");
}

/// The kernel sets the times of what it has just seen removed.
#[test]
fn a_removal_is_no_failure_to_write_back() {
    for cache in CACHES {
        let bed = Bed::cached(cache, deep);
        for name in ["d/mine", "d/one"] {
            fs::write(bed.path(name), "changed").unwrap();
            fs::remove_file(bed.path(name)).unwrap();
        }
        fs::write(bed.path("d/over"), "").unwrap();
        fs::rename(bed.path("d/e/two"), bed.path("d/over")).unwrap();
        let root = fs::File::open(bed.path("")).unwrap();
        assert_eq!(rustix::fs::syncfs(root), Ok(()), "{cache:?}");
    }
}

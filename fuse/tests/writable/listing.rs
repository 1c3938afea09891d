//! Numbers that stay, and listings that go on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::bed::{Bed, drop_caches};

fn all_kinds(lower: &Path) {
    fs::create_dir(lower.join("dir")).unwrap();
    fs::write(lower.join("dir/inner"), "inner").unwrap();
    fs::write(lower.join("file"), "file").unwrap();
    fs::write(lower.join("whole"), "whole").unwrap();
    symlink("file", lower.join("symlink")).unwrap();
}

/// Returns the numbers of all names of a directory, which must be those of `stat`.
fn numbers(bed: &Bed, directory: &str) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(bed.path(directory)).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let stat = fs::symlink_metadata(entry.path()).unwrap();
            assert_eq!(entry.ino(), stat.ino(), "{}", entry.path().display());
            (entry.file_name().into_string().unwrap(), entry.ino())
        })
        .collect()
}

/// Trap 29.
#[test]
fn numbers_stay_over_copy_up_and_remount_and_are_those_that_are_listed() {
    let mut bed = Bed::new(all_kinds);
    let before = (numbers(&bed, "."), numbers(&bed, "dir"));
    let check = |bed: &Bed, when: &str| {
        assert_eq!((numbers(bed, "."), numbers(bed, "dir")), before, "{when}");
    };
    let mode = fs::Permissions::from_mode(0o700);
    for name in ["dir", "dir/inner", "file"] {
        fs::set_permissions(bed.path(name), mode.clone()).unwrap();
    }
    fs::write(bed.path("whole"), "new").unwrap();
    rustix::fs::chownat(
        rustix::fs::CWD,
        bed.path("symlink"),
        Some(rustix::fs::Uid::from_raw(1)),
        None,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    check(&bed, "after copy-up");
    drop_caches();
    check(&bed, "when it was forgotten");
    bed.remount();
    check(&bed, "after a remount");
    fs::write(bed.path("file"), "new").unwrap();
    check(&bed, "when contents were copied up too");
    bed.remount();
    check(&bed, "after another remount");
}

/// Trap 29.
#[test]
fn a_name_keeps_its_number_when_it_moves() {
    let mut bed = Bed::new(all_kinds);
    let before = ["dir", "file"].map(|name| bed.stat(name).ino());
    fs::rename(bed.path("file"), bed.path("dir/file")).unwrap();
    fs::rename(bed.path("dir"), bed.path("moved")).unwrap();
    for _ in 0..2 {
        let after = ["moved", "moved/file"].map(|name| bed.stat(name).ino());
        assert_eq!(after, before);
        bed.remount();
    }
}

const MANY: usize = 20_000;

/// Traps 30 and 31: half of the names are below, half in the upper.
#[test]
fn a_listing_during_which_all_is_deleted_neither_skips_nor_repeats() {
    let bed = Bed::new(|lower| {
        fs::create_dir(lower.join("many")).unwrap();
        for number in (0..MANY).step_by(2) {
            fs::write(lower.join(format!("many/{number}")), "").unwrap();
        }
    });
    for number in (1..MANY).step_by(2) {
        fs::write(bed.path(&format!("many/{number}")), "").unwrap();
    }
    let mut seen = vec![false; MANY];
    for entry in fs::read_dir(bed.path("many")).unwrap() {
        let entry = entry.unwrap();
        let number: usize = entry.file_name().to_str().unwrap().parse().unwrap();
        assert!(!seen[number], "{number} twice");
        seen[number] = true;
        fs::remove_file(entry.path()).unwrap();
    }
    let missed = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(missed, 0);
    fs::remove_dir(bed.path("many")).unwrap();
}

/// Trap 30.
#[test]
fn a_rewound_listing_shows_what_is_new() {
    let bed = Bed::new(all_kinds);
    let mut entries = rustix::fs::Dir::read_from(fs::File::open(bed.path("dir")).unwrap()).unwrap();
    assert_eq!(entries.by_ref().count(), 3);
    fs::write(bed.path("dir/new"), "").unwrap();
    fs::remove_file(bed.path("dir/inner")).unwrap();
    entries.rewind();
    let names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    assert!(names.iter().any(|name| name == c"new"), "{names:?}");
    assert_eq!(names.len(), 3, "{names:?}");
}

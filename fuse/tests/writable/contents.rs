//! One node is one content at any time.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Barrier;

use crate::bed::{Bed, CACHES, drop_caches, evict, open_to_write};
use crate::sys::Mapping;

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"contents that are new and longer";

fn linked_pair(lower: &Path) {
    fs::write(lower.join("a"), OLD).unwrap();
    fs::hard_link(lower.join("a"), lower.join("b")).unwrap();
}

fn file(lower: &Path) {
    fs::write(lower.join("file"), OLD).unwrap();
}

/// Trap 1 (R1).
#[test]
fn one_of_two_hard_links_that_was_written_is_new_after_a_remount_and_the_other_old() {
    for cache in CACHES {
        let mut bed = Bed::cached(cache, linked_pair);
        assert_eq!(bed.read("b"), OLD);
        fs::write(bed.path("a"), NEW).unwrap();
        bed.remount();
        for _ in 0..2 {
            assert_eq!(bed.read("a"), NEW, "{cache:?}");
            assert_eq!(bed.read("b"), OLD, "{cache:?}");
            assert_ne!(bed.stat("a").ino(), bed.stat("b").ino());
            drop_caches();
        }
        assert_eq!(bed.stat("a").nlink(), 1);
    }
}

/// Trap 2 (R2).
#[test]
fn a_hard_link_outlives_the_other_that_was_written_and_unlinked() {
    for cache in CACHES {
        let bed = Bed::cached(cache, linked_pair);
        assert_eq!(bed.read("b"), OLD);
        fs::write(bed.path("a"), NEW).unwrap();
        fs::remove_file(bed.path("a")).unwrap();
        drop_caches();
        assert_eq!(bed.read("b"), OLD, "{cache:?}");
        assert_eq!(bed.stat("b").len(), OLD.len() as u64);
    }
}

/// Trap 3 (R3).
#[test]
fn an_old_reader_sees_what_another_wrote_and_spoils_nothing_for_who_opens_later() {
    for cache in CACHES {
        let bed = Bed::cached(cache, file);
        let old = File::open(bed.path("file")).unwrap();
        let mut start = [0; 3];
        old.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(start, OLD);
        fs::write(bed.path("file"), NEW).unwrap();
        evict(&old);
        drop_caches();
        let mut seen = vec![0; NEW.len()];
        old.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(seen, NEW, "{cache:?}");
        assert_eq!(bed.read("file"), NEW, "{cache:?}");
        evict(&old);
        assert_eq!(bed.read("file"), NEW, "{cache:?}");
    }
}

/// Trap 4.
#[test]
fn a_mapping_shows_what_is_written_later() {
    for cache in CACHES {
        let bed = Bed::cached(cache, file);
        let old = File::open(bed.path("file")).unwrap();
        let mapping = Mapping::of(&old);
        assert_eq!(mapping.first(), b'o');
        open_to_write(&bed.path("file"))
            .write_all_at(b"N", 0)
            .unwrap();
        assert_eq!(mapping.first(), b'N', "{cache:?}");
        mapping.give_up();
        evict(&old);
        drop_caches();
        assert_eq!(mapping.first(), b'N', "{cache:?}, after eviction");
    }
}

/// Trap 44.
#[test]
fn many_first_writers_of_a_file_make_one_copy_that_has_all_they_wrote() {
    const SIZE: usize = 16 << 20;
    const WRITERS: usize = 8;
    let bed = Bed::new(|lower| fs::write(lower.join("file"), vec![7; SIZE]).unwrap());
    let start = Barrier::new(WRITERS);
    let offset = |writer: usize| writer * (SIZE / WRITERS) + 1000;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (bed, start) = (&bed, &start);
            scope.spawn(move || {
                start.wait();
                let file = open_to_write(&bed.path("file"));
                let at = offset(writer) as u64;
                file.write_all_at(&[100; 1000], at).unwrap();
            });
        }
    });
    let mut expected = vec![7; SIZE];
    for writer in 0..WRITERS {
        expected[offset(writer)..][..1000].fill(100);
    }
    assert!(bed.read("file") == expected);
    assert!(fs::read(bed.upper("file")).unwrap() == expected);
    assert_eq!(bed.half_made(), [""; 0]);
    assert!(fs::read(bed.lower("file")).unwrap() == vec![7; SIZE]);
}

/// Trap 44: two names of one file below, which part.
#[test]
fn first_writers_of_two_hard_links_each_have_a_copy() {
    let bed = Bed::new(linked_pair);
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let bed = &bed;
            scope.spawn(move || fs::write(bed.path(name), name).unwrap());
        }
    });
    assert_eq!(bed.read("a"), b"a");
    assert_eq!(bed.read("b"), b"b");
}

/// Trap 34.
#[test]
fn copy_file_range_from_a_lower_file_over_another_leaves_the_layer_as_it_was() {
    let bed = Bed::new(|lower| {
        fs::write(lower.join("from"), b"0123456789").unwrap();
        fs::write(lower.join("to"), b"abcdefghij").unwrap();
    });
    let from = File::open(bed.path("from")).unwrap();
    let to = open_to_write(&bed.path("to"));
    let (mut at, mut to_at) = (2, 5);
    let copied =
        rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut to_at), 3).unwrap();
    assert_eq!((copied, at, to_at), (3, 5, 8));
    assert_eq!(bed.read("to"), b"abcde234ij");
    assert_eq!(fs::read(bed.lower("to")).unwrap(), b"abcdefghij");
    assert!(!bed.upper("from").exists());
}

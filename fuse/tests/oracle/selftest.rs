//! The oracle against itself: the kernel agrees with the kernel, and every kind of
//! difference is found where there is one.

mod tamper;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, statat, symlinkat};

use crate::contest::Tamper;
use crate::generate::Sequence;
use crate::identity;
use crate::mount::{Ground, Implementation};
use crate::perform::perform;
use crate::shrink::shrink;
use crate::side::Side;
use crate::trial::{Trial, run};

#[test]
fn overlayfs_agrees_with_itself() {
    Trial::new(100, 120).run(Implementation::Kernel);
}

#[test]
fn every_operation_succeeds_and_fails_at_times() {
    let mut tally: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    std::thread::scope(|scope| {
        let count = || {
            identity::detach();
            for seed in 1000..1060 {
                count(&Sequence::of_seed(seed, 150), &mut tally);
            }
        };
        scope.spawn(count).join().unwrap();
    });
    assert_eq!(tally.len(), 34, "{tally:#?}");
    for (name, (succeeded, failed)) in &tally {
        assert!(*succeeded > 0, "{name} never succeeds");
        let cannot_fail = matches!(name.as_str(), "DropCaches" | "Remount");
        assert!(*failed > 0 || cannot_fail, "{name} never fails");
    }
}

/// Counts how often each operation succeeds and fails on the kernel's overlayfs.
fn count(sequence: &Sequence, tally: &mut BTreeMap<String, (u32, u32)>) {
    let directory = tempfile::TempDir::new().unwrap();
    let ground = Ground::new(directory.path(), sequence.lowers);
    sequence
        .made
        .iter()
        .for_each(|made| made.take(&ground.lowers));
    let mut side = Side::new(Implementation::Kernel, ground);
    for step in &sequence.steps {
        let (succeeded, failed) = tally.entry(step.operation.name()).or_default();
        match perform(&mut side, step) {
            Ok(_) => *succeeded += 1,
            Err(_) => *failed += 1,
        }
    }
}

#[test]
fn every_kind_of_difference_is_found() {
    for (why, tamper, kind) in tamper::CASES {
        let tamper = Some(Tamper::Mounted(*tamper));
        let found = run(&tamper::sequence(), Implementation::Kernel, tamper);
        assert_eq!(found.expect_err(why).kind, *kind, "{why}");
    }
}

#[test]
fn a_difference_that_only_the_other_implementation_shows_is_found() {
    let tamper = |upper: &Path| {
        let path = upper.join("hidden");
        std::fs::write(path, "").unwrap();
    };
    let tamper = Some(Tamper::Upper(tamper));
    let found = run(&tamper::sequence(), Implementation::Kernel, tamper).unwrap_err();
    assert_eq!(found.kind, "names of upper mounted by Kernel");
}

#[test]
fn a_failure_shrinks_to_what_makes_it() {
    let tamper = Some(Tamper::Mounted(|root| {
        if statat(root, "a", AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_size == 5000) {
            symlinkat("x", root, "wrong").ok();
        }
    }));
    let run = |sequence: &Sequence| run(sequence, Implementation::Kernel, tamper);
    let failing = (1..).find_map(|seed| {
        let sequence = Sequence::of_seed(seed, 40);
        let difference = run(&sequence).err()?;
        Some((sequence, difference))
    });
    let (sequence, difference) = failing.unwrap();
    let kind = difference.kind.clone();
    let shrunk = shrink(&sequence, difference, Duration::from_secs(30), run);
    assert_eq!(shrunk.difference.kind, kind);
    assert!(shrunk.kept.len() <= 4, "{shrunk:?}");
    let again = run(&sequence.keep(&shrunk.kept)).unwrap_err();
    assert_eq!(again.kind, kind);
}

//! One sequence on two mounts, compared after every step.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::Stat;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::allowed::{self, Compared};
use crate::difference::{Difference, check_work, compare, same_numbers};
use crate::generate::Sequence;
use crate::identity;
use crate::mount::{Ground, Implementation};
use crate::operation::{Operation, SLOTS, Step};
use crate::perform::perform;
use crate::seen::{Seen, stat_open};
use crate::settle::settle;
use crate::side::{Answer, Outcome, Side};
use crate::stack;
use crate::tree::Tree;
use crate::watch;
use crate::watched::{Watched, operands};

/// After so many steps the whole trees are compared.
const STRIDE: usize = 20;

/// Something that is done behind a subject's back, so that there is a difference to find.
#[derive(Clone, Copy)]
pub(crate) enum Tamper {
    /// After every step, at the root of the mount.
    Mounted(fn(BorrowedFd<'_>)),
    /// To the upper, before the other implementation mounts it.
    Upper(fn(&Path)),
}

/// Two mounts of the same layers.
pub(crate) struct Contest {
    reference: Side,
    subject: Side,
    /// Whether the differences that are intended are none.
    is_lenient: bool,
    metacopy: bool,
    tamper: Option<Tamper>,
    _directory: TempDir,
}

impl Contest {
    /// Runs a sequence on the kernel's overlayfs and on `subject`; says where they differ.
    pub(crate) fn run(
        sequence: &Sequence,
        subject: Implementation,
        tamper: Option<Tamper>,
    ) -> Result<(), Difference> {
        identity::detach();
        let mut contest = Self::new(sequence, subject, tamper);
        contest.compare_trees(0)?;
        for (at, step) in sequence.steps.iter().enumerate() {
            watch::report(sequence.seed, step);
            contest.step(at + 1, step)?;
            if (at + 1) % STRIDE == 0 {
                contest.compare_trees(at + 1)?;
            }
        }
        contest.finish(sequence.steps.len())
    }

    fn new(sequence: &Sequence, subject: Implementation, tamper: Option<Tamper>) -> Self {
        let directory = if sequence.in_memory {
            TempDir::with_prefix_in("mica-oracle-", "/dev/shm").unwrap()
        } else {
            TempDir::with_prefix("mica-oracle-").unwrap()
        };
        let side = |name: &str, implementation| {
            let mut ground = Ground::new(&directory.path().join(name), sequence.lowers);
            ground.metacopy = sequence.metacopy;
            sequence
                .made
                .iter()
                .for_each(|made| made.take(&ground.lowers));
            ground.lowers.iter().for_each(|lower| stack::date(lower));
            Side::new(implementation, ground)
        };
        Self {
            reference: side("reference", Implementation::Kernel),
            subject: side("subject", subject),
            metacopy: sequence.metacopy,
            is_lenient: subject == Implementation::Mica,
            tamper,
            _directory: directory,
        }
    }

    /// Performs a step on both sides.
    fn step(&mut self, after: usize, step: &Step) -> Result<(), Difference> {
        if matches!(step.operation, Operation::DropCaches) {
            drop_caches();
        }
        if matches!(step.operation, Operation::Remount) {
            return self.remount(after, step);
        }
        let sides = [&self.reference, &self.subject];
        if sides
            .iter()
            .any(|side| allowed::is_avoided(&step.operation, &operands(side, step)))
        {
            return Ok(());
        }
        let mut reference = Watched::perform(&mut self.reference, step);
        let mut subject = Watched::perform(&mut self.subject, step);
        if let Some(Tamper::Mounted(tamper)) = self.tamper {
            tamper(self.subject.root());
        }
        if self.is_lenient {
            for side in [&self.reference, &self.subject] {
                settle(side, step, &reference.outcome);
            }
            reference.after = operands(&self.reference, step);
            subject.after = operands(&self.subject, step);
            if allowed::is_unnamed(&step.operation, &reference.outcome) {
                self.abandon(&reference);
                return Ok(());
            }
        }
        let name = step.operation.name();
        self.compare_outcomes(after, &name, step, (&reference.outcome, &subject.outcome))?;
        for (at, pair) in reference.after.iter().zip(&subject.after).enumerate() {
            self.compare_operands(after, step, at, pair)?;
        }
        match subject.renumbered(&reference, &step.operation) {
            Some(what) => Err(Difference {
                kind: format!("number after {name}"),
                after,
                what: format!("{step}: {what}"),
            }),
            None => Ok(()),
        }
    }

    /// Closes a file on both sides, in whatever places it is open.
    fn abandon(&mut self, reference: &Watched) {
        let numbers: Vec<u64> = reference
            .after
            .iter()
            .flatten()
            .map(|stat| stat.st_ino)
            .collect();
        for slot in 0..SLOTS {
            if stat_open(&self.reference.table, slot)
                .is_ok_and(|stat| numbers.contains(&stat.st_ino))
            {
                self.reference.table[slot] = None;
                self.subject.table[slot] = None;
            }
        }
    }

    fn compare_outcomes(
        &self,
        after: usize,
        name: &str,
        step: &Step,
        (reference, subject): (&Outcome, &Outcome),
    ) -> Result<(), Difference> {
        let is_wrong = matches!(subject, Ok(Answer::Wrong(_)));
        let compared = Compared::Outcome(&step.operation, reference, subject);
        if is_wrong || reference != subject && !self.allows(&compared) {
            return Err(Difference {
                kind: format!("outcome of {name}"),
                after,
                what: format!("{step}: {reference:?} against {subject:?}"),
            });
        }
        Ok(())
    }

    fn compare_operands(
        &self,
        after: usize,
        step: &Step,
        at: usize,
        (reference, subject): (&Result<Stat, Errno>, &Result<Stat, Errno>),
    ) -> Result<(), Difference> {
        let seen = |stat: &Result<Stat, Errno>| stat.as_ref().map(Seen::of).map_err(|errno| *errno);
        let (reference, subject) = (seen(reference), seen(subject));
        let field = match (&reference, &subject) {
            (Ok(reference), Ok(subject)) => reference
                .first_difference(subject)
                .filter(|_| !self.allows(&Compared::Attributes(reference, subject))),
            _ => (reference != subject).then_some("error"),
        };
        let Some(field) = field else {
            return Ok(());
        };
        Err(Difference {
            kind: format!("{field} after {}", step.operation.name()),
            after,
            what: format!("{step}: operand {at}: {reference:?} against {subject:?}"),
        })
    }

    /// Mounts both anew; the tree and its numbers must be the same as before.
    fn remount(&mut self, after: usize, step: &Step) -> Result<(), Difference> {
        self.compare_trees(after)?;
        for side in [&mut self.reference, &mut self.subject] {
            side.table.iter_mut().for_each(|file| *file = None);
            let before = Tree::walk(side.root());
            let outcome = perform(side, step);
            debug_assert_eq!(outcome, Ok(Answer::Done));
            let now = Tree::walk(side.root());
            compare("remount", after, (&before, &now), |_| false)?;
            same_numbers(after, &before, &now)?;
        }
        Ok(())
    }

    fn compare_trees(&self, after: usize) -> Result<(), Difference> {
        let reference = Tree::walk(self.reference.root());
        let subject = Tree::walk(self.subject.root());
        // The kernel itself is seldom wrong about the numbers of a listing.
        if let Some(wrong) = subject.wrongs.first()
            && self.subject.implementation == Implementation::Mica
        {
            return Err(Difference {
                kind: "inconsistent tree".to_owned(),
                after,
                what: wrong.clone(),
            });
        }
        compare("tree", after, (&reference, &subject), |compared| {
            self.allows(compared)
        })
    }

    /// Mounts each upper with the other implementation, which must show the same as before.
    fn finish(&mut self, after: usize) -> Result<(), Difference> {
        self.compare_trees(after)?;
        let tamper = self.tamper;
        let subject = self.subject.implementation;
        let (is_lenient, metacopy) = (self.is_lenient, self.metacopy);
        for (side, other) in [
            (&mut self.subject, Implementation::Kernel),
            (&mut self.reference, subject),
        ] {
            side.table.iter_mut().for_each(|file| *file = None);
            let before = Tree::walk(side.root());
            side.unmount();
            check_work(after, &side.ground.work)?;
            if let Some(Tamper::Upper(tamper)) = tamper {
                tamper(&side.ground.upper);
            }
            side.ground.metacopy = true;
            side.mount(other);
            let now = Tree::walk(side.root());
            let kind = format!("upper mounted by {other:?}");
            let trees = if other == Implementation::Kernel {
                (&now, &before)
            } else {
                (&before, &now)
            };
            compare(&kind, after, trees, |compared| {
                is_lenient && allowed::permits(compared, metacopy)
            })?;
        }
        Ok(())
    }

    fn allows(&self, compared: &Compared<'_>) -> bool {
        self.is_lenient && allowed::permits(compared, self.metacopy)
    }
}

/// Has the kernel forget what it can.
fn drop_caches() {
    std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
}

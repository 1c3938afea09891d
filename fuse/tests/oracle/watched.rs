//! A step on one side, with a look at what it is about.

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::operation::{Operation, Step};
use crate::perform::perform;
use crate::seen::{Seen, stat, stat_open};
use crate::side::{Outcome, Side};

/// A step on one side, with its operands before and after.
pub(crate) struct Watched {
    pub(crate) outcome: Outcome,
    before: Vec<Result<Stat, Errno>>,
    pub(crate) after: Vec<Result<Stat, Errno>>,
}

impl Watched {
    pub(crate) fn perform(side: &mut Side, step: &Step) -> Self {
        let before = operands(side, step);
        let outcome = perform(side, step);
        Self {
            outcome,
            before,
            after: operands(side, step),
        }
    }

    /// Returns what has another number, though it is the same inode. Where there are more
    /// links, for either side, a copy may be another inode.
    pub(crate) fn renumbered(&self, reference: &Self, operation: &Operation) -> Option<String> {
        if !operation.keeps_names() || matches!(operation, Operation::Open { .. }) {
            return None;
        }
        let links =
            |stat: &Result<Stat, Errno>| stat.as_ref().map_or(0, |stat| Seen::of(stat).nlink);
        let pairs = self.before.iter().zip(&self.after).zip(&reference.before);
        let pairs = pairs
            .filter(|(_, other)| links(other) < 2)
            .map(|(pair, _)| pair);
        let mut pairs =
            pairs.filter_map(|(before, after)| Some((before.as_ref().ok()?, after.as_ref().ok()?)));
        let (before, after) = pairs
            .find(|(before, after)| before.st_ino != after.st_ino && Seen::of(before).nlink < 2)?;
        Some(format!(
            "st_ino was {} and is {}",
            before.st_ino, after.st_ino
        ))
    }
}

/// Returns what a step is about, as one side shows it.
pub(crate) fn operands(side: &Side, step: &Step) -> Vec<Result<Stat, Errno>> {
    let places = step.operation.places().into_iter();
    let places = places.map(|place| stat(side.root(), &side.table, place));
    let slots = step.operation.slots().into_iter();
    places
        .chain(slots.map(|slot| stat_open(&side.table, slot)))
        .collect()
}

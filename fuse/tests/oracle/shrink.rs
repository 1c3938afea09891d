//! A smaller sequence that fails in the same way (delta debugging).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::difference::Difference;
use crate::generate::Sequence;

/// A failure, as small as was found in time.
#[derive(Debug)]
pub(crate) struct Shrunk {
    pub(crate) kept: BTreeSet<usize>,
    pub(crate) difference: Difference,
}

/// Leaves parts of a sequence out as long as a run of it fails in the same way.
pub(crate) fn shrink(
    sequence: &Sequence,
    difference: Difference,
    limit: Duration,
    run: impl Fn(&Sequence) -> Result<(), Difference>,
) -> Shrunk {
    let start = Instant::now();
    let used = sequence.made.len() + difference.after.min(sequence.steps.len());
    let mut shrunk = Shrunk {
        kept: (0..used).collect(),
        difference,
    };
    let mut size = used.div_ceil(2).max(1);
    while start.elapsed() < limit {
        let has_shrunk = round(sequence, &mut shrunk, size, &run);
        if size == 1 && !has_shrunk {
            break;
        }
        if !has_shrunk {
            size = size.div_ceil(2);
        }
    }
    shrunk
}

/// Tries once to leave out each run of so many parts, the last ones first.
fn round(
    sequence: &Sequence,
    shrunk: &mut Shrunk,
    size: usize,
    run: &impl Fn(&Sequence) -> Result<(), Difference>,
) -> bool {
    let parts: Vec<usize> = shrunk.kept.iter().copied().collect();
    let mut has_shrunk = false;
    for chunk in parts.rchunks(size) {
        let mut kept = shrunk.kept.clone();
        kept.retain(|part| !chunk.contains(part));
        if let Err(difference) = run(&sequence.keep(&kept))
            && difference.kind == shrunk.difference.kind
        {
            *shrunk = Shrunk { kept, difference };
            has_shrunk = true;
        }
    }
    has_shrunk
}

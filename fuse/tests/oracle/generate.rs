//! Random sequences: lower layers, and operations on what they show.

mod layers;
mod steps;

use std::collections::BTreeSet;

use crate::names::Names;
use crate::operation::Step;
use crate::random::Random;
use crate::stack::Made;

/// Layers, and what is done on them.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) seed: u64,
    /// Whether all directories are in memory, which has no disk's delayed allocation.
    pub(crate) in_memory: bool,
    /// Whether the kernel copies contents up later than attributes, which changes the time
    /// of modification.
    pub(crate) metacopy: bool,
    pub(crate) lowers: usize,
    pub(crate) made: Vec<Made>,
    pub(crate) steps: Vec<Step>,
}

impl Sequence {
    /// Returns the sequence of a seed.
    pub(crate) fn of_seed(seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed);
        let mut names = Names::new();
        let lowers = 1 + random.below(3);
        let made = layers::make(&mut random, lowers, &mut names);
        let steps = (0..length)
            .map(|_| steps::step(&mut random, &mut names))
            .collect();
        Self {
            seed,
            in_memory: seed.is_multiple_of(2),
            metacopy: seed.is_multiple_of(3),
            lowers,
            made,
            steps,
        }
    }

    /// Returns the sequence with these parts only: first those that make the layers.
    pub(crate) fn keep(&self, parts: &BTreeSet<usize>) -> Self {
        let kept = |offset: usize| move |at: usize| parts.contains(&(offset + at));
        let made = self.made.iter().enumerate();
        let steps = self.steps.iter().enumerate();
        Self {
            made: made
                .filter(|(at, _)| kept(0)(*at))
                .map(|(_, made)| made.clone())
                .collect(),
            steps: steps
                .filter(|(at, _)| kept(self.made.len())(*at))
                .map(|(_, step)| step.clone())
                .collect(),
            ..*self
        }
    }
}

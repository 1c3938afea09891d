//! Many sequences; the first failure of each kind is shrunk and printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::contest::{Contest, Tamper};
use crate::difference::Difference;
use crate::generate::Sequence;
use crate::mount::Implementation;
use crate::shrink::{Shrunk, shrink};
use crate::watch;

/// How long one failure is shrunk.
const SHRINKING: Duration = Duration::from_secs(30);

/// How many sequences of which length.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) first: u64,
    pub(crate) sequences: u64,
    pub(crate) length: usize,
    keep: Option<BTreeSet<usize>>,
}

impl Trial {
    pub(crate) fn new(sequences: u64, length: usize) -> Self {
        Self {
            first: 1,
            sequences,
            length,
            keep: None,
        }
    }

    /// Takes what the environment says instead of these numbers.
    pub(crate) fn of_environment(sequences: u64, length: usize) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse::<u64>()
                    .unwrap_or_else(|error| panic!("{name}: {error}")),
            )
        };
        let keep = std::env::var("MICA_ORACLE_KEEP").ok();
        let keep = keep.map(|text| text.split(',').map(|part| part.parse().unwrap()).collect());
        let is_one = keep.is_some();
        Self {
            first: number("MICA_ORACLE_SEED").unwrap_or(1),
            sequences: if is_one {
                1
            } else {
                number("MICA_ORACLE_SEQUENCES").unwrap_or(sequences)
            },
            length: number("MICA_ORACLE_LENGTH")
                .map_or(length, |length| usize::try_from(length).unwrap()),
            keep,
        }
    }

    /// Runs the kernel's overlayfs against `subject`; fails if there was any difference.
    pub(crate) fn run(&self, subject: Implementation) {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for seed in self.first..self.first + self.sequences {
            let sequence = self.sequence(seed);
            let Err(difference) = run(&sequence, subject, None) else {
                continue;
            };
            let count = found.entry(difference.kind.clone()).or_default();
            *count += 1;
            if self.keep.is_some() {
                eprintln!("seed {seed}: {difference}");
            } else if *count == 1 {
                let run = |sequence: &Sequence| run(sequence, subject, None);
                let shrunk = shrink(&sequence, difference, SHRINKING, run);
                eprintln!("{}", report(&sequence, &shrunk, self.length));
            }
        }
        watch::rest();
        assert!(found.is_empty(), "differences, by kind: {found:#?}");
    }

    fn sequence(&self, seed: u64) -> Sequence {
        let sequence = Sequence::of_seed(seed, self.length);
        match &self.keep {
            Some(keep) => sequence.keep(keep),
            None => sequence,
        }
    }
}

/// Runs a sequence in a thread of its own, which changes users.
pub(crate) fn run(
    sequence: &Sequence,
    subject: Implementation,
    tamper: Option<Tamper>,
) -> Result<(), Difference> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| Contest::run(sequence, subject, tamper));
        thread.join().unwrap_or_else(|_| {
            Err(Difference {
                kind: "panic".to_owned(),
                after: sequence.steps.len(),
                what: "see above".to_owned(),
            })
        })
    })
}

/// Returns a failure as a list of what to do, and how to repeat it.
fn report(sequence: &Sequence, shrunk: &Shrunk, length: usize) -> String {
    let small = sequence.keep(&shrunk.kept);
    let mut text = format!("seed {}: {}\n", sequence.seed, shrunk.difference);
    let place = if small.in_memory { "tmpfs" } else { "disk" };
    writeln!(text, "  {} lowers on {place}", small.lowers).unwrap();
    for made in &small.made {
        writeln!(text, "  {made}").unwrap();
    }
    for step in &small.steps {
        writeln!(text, "  {step}").unwrap();
    }
    let kept: Vec<_> = shrunk.kept.iter().map(usize::to_string).collect();
    let (seed, kept) = (sequence.seed, kept.join(","));
    write!(
        text,
        "  again: MICA_ORACLE_SEED={seed} MICA_ORACLE_LENGTH={length} MICA_ORACLE_KEEP={kept}"
    )
    .unwrap();
    text
}

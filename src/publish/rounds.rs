//! Rounds: one write to the disk for all who wait for one.
//!
//! Who wants something on the disk joins; the first of those who have joined does it for all
//! of them, while those who come later wait for the next round. So a round has all that was
//! written before it was joined.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Rounds, of which one at a time is under way. `W` is what a round has to write.
#[derive(Debug, Default)]
pub(crate) struct Rounds<W> {
    state: Mutex<State<W>>,
    is_over: Condvar,
}

#[derive(Debug, Default)]
struct State<W> {
    /// The number of the next round; those who come now take part in it.
    next: u64,
    /// Whether a round is under way.
    is_running: bool,
    /// The last round that is over.
    last: Option<u64>,
    /// The last round that has failed, and why.
    failed: Option<(u64, io::ErrorKind)>,
    work: W,
}

impl<W: Default> Rounds<W> {
    /// Waits until the work that `add` notes is done, by `run` or by that of another.
    pub(crate) fn join(
        &self,
        add: impl FnOnce(&mut W),
        run: impl FnOnce(W) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state();
        add(&mut state.work);
        let mine = state.next;
        while state.is_running && state.next == mine {
            state = self.wait(state);
        }
        if state.next == mine {
            state.next = mine + 1;
            state.is_running = true;
            let work = std::mem::take(&mut state.work);
            drop(state);
            let outcome = run(work);
            let mut state = self.state();
            state.is_running = false;
            state.last = Some(mine);
            if let Err(error) = &outcome {
                state.failed = Some((mine, error.kind()));
            }
            drop(state);
            self.is_over.notify_all();
            return outcome;
        }
        while state.last.is_none_or(|last| last < mine) {
            state = self.wait(state);
        }
        match state.failed {
            // A later one may have failed besides; to fail for that is safe.
            Some((failed, kind)) if failed >= mine => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<W>>) -> MutexGuard<'s, State<W>> {
        let waited = self.is_over.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn those_who_wait_share_the_next_round() {
        let rounds: Rounds<Vec<usize>> = Rounds::default();
        let (ran, joined) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (begun, has_begun) = channel();
        let (go_on, may_go_on) = channel();
        std::thread::scope(|scope| {
            let (rounds, ran, joined) = (&rounds, &ran, &joined);
            scope.spawn(move || {
                let run = |work: Vec<usize>| {
                    assert_eq!(work, [0]);
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    Err(io::ErrorKind::StorageFull.into())
                };
                let error = rounds.join(|work| work.push(0), run).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            });
            has_begun.recv().unwrap();
            for number in 1..9 {
                scope.spawn(move || {
                    let add = |work: &mut Vec<usize>| {
                        work.push(number);
                        joined.fetch_add(1, Ordering::SeqCst);
                    };
                    let run = |work: Vec<usize>| {
                        assert_eq!(work.len(), 8, "all who came during the first");
                        ran.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    };
                    rounds.join(add, run).unwrap();
                });
            }
            while joined.load(Ordering::SeqCst) < 8 {
                std::thread::yield_now();
            }
            go_on.send(()).unwrap();
        });
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

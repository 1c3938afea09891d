//! Who of a session's threads waits for the kernel, and who rests.
//!
//! A thread that waits in the device is woken by the kernel for each request, also
//! when another takes it first, and a wake-up costs more than most answers. So at
//! most one thread, the *watch*, waits there. It answers what can be answered at
//! once, gives the watch away before it waits for a disk, and calls a helper when
//! requests come faster than it answers. All others rest, unseen by the kernel.
//!
//! Not every wait is known beforehand: a disk hangs, or somebody scans a file before it may
//! be opened. So while requests come, one of those who rest is the *deputy*: it looks up
//! every [`LONGEST_ANSWER`] and takes the watch where the same answer is still under way,
//! which who had it finds out when that is done. When no request comes, the deputy only
//! rests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer may take the watch: the deputy takes it after this at the earliest, and
/// after twice as long at the latest.
const LONGEST_ANSWER: Duration = Duration::from_millis(5);

/// What a thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Wait for requests until the watch is handed over or taken.
    Watch(Watch),
    /// Take requests that are there, and rest when there are none.
    Help,
    /// Leave: the session is over.
    Leave,
}

/// The watch, as the thread has it that thinks it does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// What [`Crew::step`] is as long as that is true, or [`LOST`].
    step: u64,
}

/// A step that is never made.
const LOST: u64 = u64::MAX;

/// The threads of one session.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    state: Mutex<State>,
    called: Condvar,
    /// Grows with each beginning and end of an answer of the watch, and whenever the watch
    /// goes to another thread; odd during an answer.
    step: AtomicU64,
    /// Whether there is to be a deputy.
    wants_deputy: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_watched: bool,
    has_deputy: bool,
    resting: usize,
    calls: usize,
    is_over: bool,
}

impl Crew {
    /// Rests until there is something to do.
    pub(crate) fn next_duty(&self) -> Duty {
        let mut state = self.state();
        loop {
            if state.is_over {
                return Duty::Leave;
            }
            if !state.is_watched {
                state.is_watched = true;
                self.seek_deputy(&state);
                return Duty::Watch(Watch {
                    step: self.step.load(Ordering::SeqCst),
                });
            }
            if state.calls > 0 {
                state.calls -= 1;
                self.seek_deputy(&state);
                return Duty::Help;
            }
            state.resting += 1;
            state = if state.has_deputy || !self.wants_deputy.load(Ordering::SeqCst) {
                let woken = self.called.wait(state);
                woken.unwrap_or_else(PoisonError::into_inner)
            } else {
                self.rest_as_deputy(state)
            };
            state.resting -= 1;
        }
    }

    /// Says that the watch begins to answer.
    pub(crate) fn begin_answer(&self, watch: &mut Watch) {
        self.advance(watch);
        // In this order: the deputy leaves only if it sees no step afterwards.
        if !self.wants_deputy.load(Ordering::SeqCst) {
            let state = self.state();
            self.wants_deputy.store(true, Ordering::SeqCst);
            self.seek_deputy(&state);
        }
    }

    /// Says that the answer is given; returns whether the watch is still who gave it.
    pub(crate) fn end_answer(&self, watch: &mut Watch) -> bool {
        self.advance(watch)
    }

    /// Gives the watch away, if the deputy has not taken it; called during an answer.
    pub(crate) fn hand_over(&self, watch: &mut Watch) {
        let mut state = self.state();
        if self.advance(watch) {
            state.is_watched = false;
            if state.resting > 0 {
                self.called.notify_one();
            }
        }
        watch.step = LOST;
    }

    /// Calls one resting thread to help, if there is one.
    pub(crate) fn call_help(&self) {
        let mut state = self.state();
        if state.resting > state.calls {
            state.calls += 1;
            self.called.notify_one();
        }
    }

    /// Sends every thread away.
    pub(crate) fn dismiss(&self) {
        self.state().is_over = true;
        self.called.notify_all();
    }

    /// Rests for a while; then takes the watch away from who has been at one answer all the
    /// time.
    fn rest_as_deputy<'c>(&'c self, mut state: MutexGuard<'c, State>) -> MutexGuard<'c, State> {
        state.has_deputy = true;
        let seen = self.step.load(Ordering::SeqCst);
        let woken = self.called.wait_timeout(state, LONGEST_ANSWER);
        let (mut state, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        state.has_deputy = false;
        if !waited.timed_out() || self.step.load(Ordering::SeqCst) != seen {
            return state;
        }
        if is_answering(seen) {
            let mut watch = Watch { step: seen };
            if self.advance(&mut watch) {
                state.is_watched = false;
            }
        } else {
            self.wants_deputy.store(false, Ordering::SeqCst);
            if self.step.load(Ordering::SeqCst) != seen {
                self.wants_deputy.store(true, Ordering::SeqCst);
            }
        }
        state
    }

    /// Wakes somebody to be the deputy, where one is missing.
    fn seek_deputy(&self, state: &State) {
        let is_missing = !state.has_deputy && self.wants_deputy.load(Ordering::SeqCst);
        if is_missing && state.resting > 0 {
            self.called.notify_one();
        }
    }

    /// Makes a step; returns `false`, and makes none, where the watch is another's now.
    fn advance(&self, watch: &mut Watch) -> bool {
        let (now, next) = (watch.step, watch.step.wrapping_add(1));
        let made = (self.step).compare_exchange(now, next, Ordering::SeqCst, Ordering::SeqCst);
        watch.step = made.map_or(LOST, |_| next);
        made.is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_answering(step: u64) -> bool {
    !step.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(crew: &Crew) -> Watch {
        match crew.next_duty() {
            Duty::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_thread_has_the_watch_until_it_is_handed_over() {
        let crew = Crew::default();
        let mut first = watch(&crew);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| crew.next_duty());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!second.is_finished());
            crew.begin_answer(&mut first);
            crew.hand_over(&mut first);
            assert!(matches!(second.join().unwrap(), Duty::Watch(_)));
            assert!(!crew.end_answer(&mut first));
        });
    }

    #[test]
    fn a_deputy_takes_the_watch_of_who_cannot_end_an_answer() {
        let crew = Crew::default();
        let mut first = watch(&crew);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| watch(&crew));
            // Answers that end soon leave the watch where it is.
            for _ in 0..100 {
                crew.begin_answer(&mut first);
                assert!(crew.end_answer(&mut first) || second.is_finished());
            }
            crew.begin_answer(&mut first);
            let mut second = second.join().unwrap();
            crew.hand_over(&mut first);
            assert!(!crew.end_answer(&mut first), "it is another's");
            crew.begin_answer(&mut second);
            assert!(crew.end_answer(&mut second), "and was not given away");
        });
    }

    #[test]
    fn a_deputy_goes_to_rest_when_nothing_is_asked_and_comes_again() {
        let crew = Crew::default();
        let mut first = watch(&crew);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| watch(&crew));
            crew.begin_answer(&mut first);
            let mut has_watch = crew.end_answer(&mut first);
            while has_watch && crew.wants_deputy.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            crew.begin_answer(&mut first);
            second.join().unwrap();
            has_watch = crew.end_answer(&mut first);
            assert!(!has_watch);
        });
    }

    #[test]
    fn a_call_without_a_resting_thread_is_not_kept() {
        let crew = Crew::default();
        watch(&crew);
        crew.call_help();
        crew.dismiss();
        assert_eq!(crew.next_duty(), Duty::Leave);
    }
}

//! Who of a session's threads waits for the kernel, and who rests.
//!
//! A thread that waits in the device is woken by the kernel for each request, also
//! when another takes it first, and a wake-up costs more than most answers. So at
//! most one thread, the *watch*, waits there. It answers what can be answered at
//! once, gives the watch away before it waits for a disk, and calls a helper when
//! requests come faster than it answers. All others rest, unseen by the kernel.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a thread is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Wait for requests until the watch is handed over.
    Watch,
    /// Take requests that are there, and rest when there are none.
    Help,
    /// Leave: the session is over.
    Leave,
}

/// The threads of one session.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_watched: bool,
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
                return Duty::Watch;
            }
            if state.calls > 0 {
                state.calls -= 1;
                return Duty::Help;
            }
            state.resting += 1;
            state = self
                .called
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.resting -= 1;
        }
    }

    /// Gives the watch away; called by the thread that has it.
    pub(crate) fn hand_over_watch(&self) {
        let mut state = self.state();
        state.is_watched = false;
        if state.resting > 0 {
            self.called.notify_one();
        }
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_has_the_watch_until_it_is_handed_over() {
        let crew = Crew::default();
        assert_eq!(crew.next_duty(), Duty::Watch);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| crew.next_duty());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!second.is_finished());
            crew.hand_over_watch();
            assert_eq!(second.join().unwrap(), Duty::Watch);
        });
    }

    #[test]
    fn a_call_without_a_resting_thread_is_not_kept() {
        let crew = Crew::default();
        assert_eq!(crew.next_duty(), Duty::Watch);
        crew.call_help();
        crew.dismiss();
        assert_eq!(crew.next_duty(), Duty::Leave);
    }
}

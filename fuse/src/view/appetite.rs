//! Whether a caller that goes through directories wants the nodes of what is in them.
//!
//! A node costs the kernel an inode, which takes it longer to make than all else of an
//! entry, and memory that it keeps. A node of a directory layer costs a look at its inode
//! too, for which a cold file system reads the disk. `ls -l` asks for all of them, `find`
//! for none, and the kernel asks for nodes either way. So now and then a caller is given a
//! listing without them. If it then looks up what it was given, it gets them from there
//! on; if not, it is spared them. Callers are threads: what one has listed, another of its
//! program may look up.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::NodeId;

/// The callers that are remembered.
const CALLERS: usize = 16;
/// Listings with nodes after the first trial that failed; twice as many after the next.
const FIRST_PAUSE: u32 = 32;
const LONGEST_PAUSE: u32 = 1024;
/// The most names that a trial may have to be looked up one by one.
const TRIAL: usize = 256;

/// What is known of the callers that listed something last.
#[derive(Debug, Default)]
pub(super) struct Appetites(Mutex<VecDeque<Appetite>>);

#[derive(Debug)]
struct Appetite {
    pid: u32,
    /// The directory that it listed last.
    directory: NodeId,
    /// It gets listings without nodes.
    is_spared: bool,
    /// Listings with nodes until the next trial.
    pause: u32,
    next_pause: u32,
}

impl Appetites {
    /// Returns whether the listing of a directory that a caller begins is to have nodes. The
    /// first has them, since it may be the only one.
    pub(super) fn begins(&self, pid: u32, directory: NodeId, names: usize) -> bool {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(caller) = callers.iter_mut().find(|caller| caller.pid == pid) else {
            callers.truncate(CALLERS - 1);
            callers.push_front(Appetite {
                pid,
                directory,
                is_spared: false,
                pause: 0,
                next_pause: FIRST_PAUSE,
            });
            return true;
        };
        caller.directory = directory;
        if caller.is_spared {
            return false;
        }
        if caller.pause > 0 {
            caller.pause -= 1;
            return true;
        }
        caller.is_spared = names <= TRIAL;
        !caller.is_spared
    }

    /// Returns whether a listing that a caller goes on with is to have nodes.
    pub(super) fn goes_on(&self, pid: u32) -> bool {
        let callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !callers
            .iter()
            .any(|caller| caller.pid == pid && caller.is_spared)
    }

    /// Records that a caller looked something up in a directory, and that it is none itself.
    pub(super) fn looked_up(&self, pid: u32, directory: NodeId) {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanting = callers
            .iter_mut()
            .filter(|caller| caller.pid == pid || caller.directory == directory);
        for caller in wanting.filter(|caller| caller.is_spared) {
            caller.is_spared = false;
            caller.pause = caller.next_pause;
            caller.next_pause = LONGEST_PAUSE.min(caller.next_pause * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: NodeId = NodeId(1);
    const THERE: NodeId = NodeId(2);

    #[test]
    fn a_caller_that_looks_nothing_up_is_spared() {
        let appetites = Appetites::default();
        assert!(appetites.begins(7, HERE, 3), "the first listing");
        assert!(!appetites.begins(7, HERE, 3), "the trial");
        assert!(!appetites.goes_on(7), "its second part");
        assert!(!appetites.begins(7, HERE, 3), "nothing was looked up");
        assert!(!appetites.begins(7, HERE, TRIAL + 1), "however large");
        assert!(
            appetites.begins(8, HERE, 3) && appetites.goes_on(8),
            "another"
        );
    }

    #[test]
    fn a_caller_that_looks_something_up_is_tried_more_and_more_rarely() {
        let appetites = Appetites::default();
        let mut trials = Vec::new();
        for listing in 0..200 {
            if !appetites.begins(7, HERE, 3) {
                appetites.looked_up(7, HERE);
                trials.push(listing);
            }
        }
        assert_eq!(trials, [1, 34, 99], "after 1, 32 and 64 with nodes");
        assert!(appetites.goes_on(7));
    }

    #[test]
    fn what_a_caller_listed_last_may_be_looked_up_by_another() {
        let appetites = Appetites::default();
        assert!(appetites.begins(7, HERE, 3) && !appetites.begins(7, THERE, 3));
        appetites.looked_up(8, HERE);
        assert!(!appetites.goes_on(7), "it has listed another since");
        appetites.looked_up(8, THERE);
        assert!(appetites.goes_on(7));
    }

    #[test]
    fn no_large_directory_is_a_trial() {
        let appetites = Appetites::default();
        assert!(appetites.begins(7, HERE, 1) && appetites.begins(7, HERE, TRIAL + 1));
        assert!(!appetites.begins(7, HERE, TRIAL));
    }

    #[test]
    fn only_the_callers_that_came_last_are_remembered() {
        let appetites = Appetites::default();
        for pid in 0..100 {
            appetites.begins(pid, HERE, 1);
        }
        let known = appetites.0.lock().unwrap().len();
        assert_eq!(known, CALLERS);
        assert!(!appetites.begins(99, HERE, 1), "one of the last");
    }
}

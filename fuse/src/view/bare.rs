//! Listings without nodes that the kernel keeps.
//!
//! Who goes through a listing that the kernel has does not say so, and where it is bare has to
//! look up what it is about name by name. Where somebody does so again and again, the kernel is
//! told to forget all bare listings: it asks for them anew, and gets them with nodes.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::NodeId;
use crate::kernel::notify::Notifier;

/// Look-ups by one caller in bare listings that are no accident.
const ENOUGH: usize = 8;
/// Listings that are remembered; more stay as they are.
const MOST: usize = 1 << 16;

/// The bare listings of one view. Without a way to the kernel there are none.
#[derive(Debug, Default)]
pub(super) struct BareListings {
    kernel: OnceLock<Notifier>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    directories: HashSet<NodeId>,
    /// Who looked something up in one of them last, and how often it has in a row.
    pid: u32,
    look_ups: usize,
}

impl BareListings {
    /// Lets the kernel be told.
    pub(super) fn set_kernel(&self, notifier: Notifier) {
        drop(self.kernel.set(notifier));
    }

    /// Records that the listing of a directory which begins is bare, or is not.
    pub(super) fn begins(&self, directory: NodeId, is_bare: bool) {
        if self.kernel.get().is_none() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_bare {
            kept.directories.remove(&directory);
        } else if kept.directories.len() < MOST {
            kept.directories.insert(directory);
        }
    }

    /// Records that a caller looked up what is no directory.
    pub(super) fn looked_up(&self, pid: u32, directory: NodeId) {
        let Some(kernel) = self.kernel.get() else {
            return;
        };
        let forgotten = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.looked_up(pid, directory)
        };
        for directory in forgotten {
            kernel.changed(directory);
        }
    }
}

impl Kept {
    /// Returns the listings that are to be forgotten now.
    fn looked_up(&mut self, pid: u32, directory: NodeId) -> HashSet<NodeId> {
        if !self.directories.contains(&directory) {
            return HashSet::new();
        }
        if self.pid != pid {
            (self.pid, self.look_ups) = (pid, 0);
        }
        self.look_ups += 1;
        if self.look_ups < ENOUGH {
            return HashSet::new();
        }
        self.look_ups = 0;
        std::mem::take(&mut self.directories)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: [NodeId; 2] = [NodeId(2), NodeId(3)];

    fn kept() -> Kept {
        Kept {
            directories: BARE.into(),
            ..Kept::default()
        }
    }

    #[test]
    fn who_looks_up_one_name_after_another_has_all_forgotten() {
        let mut kept = kept();
        for turn in 1..ENOUGH {
            assert!(kept.looked_up(7, BARE[turn % 2]).is_empty(), "{turn}");
        }
        assert!(kept.looked_up(7, NodeId(9)).is_empty(), "with nodes");
        assert_eq!(kept.looked_up(7, BARE[0]), BARE.into());
        assert!(kept.looked_up(7, BARE[0]).is_empty(), "there are none now");
    }

    #[test]
    fn programs_that_each_open_a_file_change_nothing() {
        let mut kept = kept();
        for pid in 1..100 {
            assert!(kept.looked_up(pid, BARE[0]).is_empty());
        }
        assert_eq!(kept.directories, BARE.into());
    }
}

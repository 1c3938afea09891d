//! The ways of a tree to the kernel: to tell what changed, and to have files read and
//! written without it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tracing::debug;

use super::{CacheMode, MountOptions};
use crate::kernel::backing::Backings;
use crate::kernel::notify::Notifier;
use crate::{NodeId, Tree};

/// What a session has for its trees.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    notifier: Notifier,
    is_behind: bool,
    backings: Option<Backings>,
}

impl Introduction {
    /// Returns what a session has, as far as its options ask for it and the kernel allows.
    pub(super) fn of(options: &MountOptions, descriptor: &Arc<OwnedFd>) -> Self {
        let passes_through = options.writable && options.cache == CacheMode::Passthrough;
        let backings = passes_through.then(|| Backings::of(descriptor));
        Self {
            notifier: Notifier::of(descriptor),
            is_behind: options.cache == CacheMode::Writeback,
            // Only a matter of speed: without privilege, or of a kernel that cannot.
            backings: backings.and_then(|backings| {
                backings
                    .inspect_err(|errno| debug!("pass nothing through: {errno}"))
                    .ok()
            }),
        }
    }

    pub(crate) fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Introduces the only tree of a session.
    pub(crate) fn to_lone_tree(&self, tree: &Tree) {
        self.introduce(tree, self.notifier.clone());
    }

    /// Introduces a tree whose nodes the kernel knows by other numbers.
    pub(crate) fn to_tree(
        &self,
        tree: &Tree,
        numbers: impl Fn(NodeId) -> Option<NodeId> + Send + Sync + 'static,
    ) {
        self.introduce(tree, self.notifier.translated(numbers));
    }

    fn introduce(&self, tree: &Tree, notifier: Notifier) {
        tree.set_notifier(notifier);
        let Some(active) = tree.active() else {
            return;
        };
        if self.is_behind {
            active.set_behind();
        }
        if let Some(backings) = &self.backings {
            active.set_backings(backings.clone());
        }
    }
}

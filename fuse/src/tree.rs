//! What a session shows.

use crate::{ActiveView, NodeId, Reply, Request, Result, View};

/// A tree that can be mounted: read-only or writable.
#[derive(Debug)]
pub enum Tree {
    /// A chain of layers.
    View(Box<View>),
    /// An upper over a chain of layers.
    Active(Box<ActiveView>),
}

impl Tree {
    /// Answers a request, as [`View::answer`].
    pub fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        match self {
            Self::View(view) => view.answer(request),
            Self::Active(active) => active.answer(request),
        }
    }

    /// Returns whether a node may have extended attributes.
    pub fn has_xattrs(&self) -> bool {
        match self {
            Self::View(view) => view.has_xattrs(),
            Self::Active(_) => true,
        }
    }

    /// Returns whether anything can be changed.
    pub fn is_writable(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    /// Returns where a node lies, for messages.
    pub fn describe(&self, node: NodeId) -> String {
        match self {
            Self::View(view) => view.describe(node),
            Self::Active(active) => active.describe(node),
        }
    }

    /// Returns whether the answer may wait for a file system.
    pub(crate) fn may_wait(&self, request: &Request<'_>) -> bool {
        match self {
            Self::View(view) => view.reads_a_file(request),
            Self::Active(active) => active.may_wait(request),
        }
    }
}

impl From<View> for Tree {
    fn from(view: View) -> Self {
        Self::View(Box::new(view))
    }
}

impl From<ActiveView> for Tree {
    fn from(active: ActiveView) -> Self {
        Self::Active(Box::new(active))
    }
}

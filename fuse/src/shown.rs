//! What a session shows: one tree, or a forest.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::forest::Spot;
use crate::session::Introduction;
use crate::{Forest, NodeId, Reply, Request, Result, Tree};

/// What a session shows.
#[derive(Clone, Debug)]
pub enum Shown {
    /// One tree.
    Tree(Arc<Tree>),
    /// Many trees.
    Forest(Arc<Forest>),
}

/// Where the answer to one request comes from.
#[derive(Debug)]
pub(crate) enum Route<'s> {
    Tree(&'s Tree),
    Forest(&'s Forest, Spot),
}

impl Shown {
    /// Returns whether anything can be changed.
    pub(crate) fn is_writable(&self) -> bool {
        match self {
            Self::Tree(tree) => tree.is_writable(),
            Self::Forest(_) => true,
        }
    }

    /// Returns whether all numbers of nodes say by themselves what they are, as
    /// [`Tree::is_derived`].
    pub(crate) fn is_derived(&self) -> bool {
        match self {
            Self::Tree(tree) => tree.is_derived(),
            Self::Forest(_) => false,
        }
    }

    /// Returns whether a node may have extended attributes.
    pub(crate) fn has_xattrs(&self) -> bool {
        match self {
            Self::Tree(tree) => tree.has_xattrs(),
            Self::Forest(_) => true,
        }
    }

    pub(crate) fn introduce(&self, introduction: Introduction) {
        match self {
            Self::Tree(tree) => introduction.to_lone_tree(tree),
            Self::Forest(forest) => forest.introduce(introduction),
        }
    }

    /// Finds where the answer to a request about a node comes from.
    pub(crate) fn route(&self, node: NodeId) -> Route<'_> {
        match self {
            Self::Tree(tree) => Route::Tree(tree),
            Self::Forest(forest) => Route::Forest(forest, forest.spot(node)),
        }
    }
}

impl Route<'_> {
    /// Answers a request, as [`View::answer`](crate::View::answer).
    pub(crate) fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        match self {
            Self::Tree(tree) => tree.answer(request),
            Self::Forest(forest, spot) => forest.answer(spot, request),
        }
    }

    /// Returns whether the answer may wait for a file system.
    pub(crate) fn may_wait(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Tree(tree) => tree.may_wait(request),
            Self::Forest(_, Spot::Tree(planted, inner)) => planted.tree().may_wait(&Request {
                node: *inner,
                ..*request
            }),
            // A look-up may open a tree.
            Self::Forest(..) => true,
        }
    }

    /// Returns how long what is answered may be kept.
    pub(crate) fn timeout(&self) -> Duration {
        match self {
            Self::Tree(tree) => tree.timeout(),
            Self::Forest(_, Spot::Tree(planted, _)) => planted.tree().timeout(),
            Self::Forest(..) => Duration::ZERO,
        }
    }

    /// Returns where a node lies, for messages.
    pub(crate) fn describe(&self, node: NodeId) -> String {
        match self {
            Self::Tree(tree) => tree.describe(node),
            Self::Forest(_, Spot::Tree(planted, inner)) => planted.tree().describe(*inner),
            Self::Forest(_, Spot::Branch(branch)) => branch.path().escape_ascii().to_string(),
            Self::Forest(_, Spot::Nowhere) => format!("node {}: {}", node.0, Errno::STALE),
        }
    }
}

impl From<Arc<Tree>> for Shown {
    fn from(tree: Arc<Tree>) -> Self {
        Self::Tree(tree)
    }
}

impl From<Arc<Forest>> for Shown {
    fn from(forest: Arc<Forest>) -> Self {
        Self::Forest(forest)
    }
}

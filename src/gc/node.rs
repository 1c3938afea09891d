//! What garbage collection tells apart, and why a thing lives.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// The kinds of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A lease, by its id.
    Lease,
    /// An image, by its name.
    Image,
    /// A blob, by its digest.
    Content,
    /// A snapshot, by its key or name.
    Snapshot,
    /// A layer, by its diff ID.
    Layer,
    /// The directory of a snapshot, by its number.
    Directory,
    /// A download, by its reference.
    Ingest,
}

/// One thing of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Node {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// Which one it is.
    pub id: String,
}

/// Why a thing lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// By itself, for a reason in words.
    Root(&'static str),
    /// Something that lives needs it.
    Needed {
        /// What needs it.
        by: Node,
        /// As what: a label's key, or a word.
        link: String,
    },
}

impl NodeKind {
    pub(crate) fn node(self, id: impl Display) -> Node {
        Node {
            kind: self,
            id: id.to_string(),
        }
    }
}

impl Display for NodeKind {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Lease => "lease",
            Self::Image => "image",
            Self::Content => "content",
            Self::Snapshot => "snapshot",
            Self::Layer => "layer",
            Self::Directory => "directory",
            Self::Ingest => "ingest",
        })
    }
}

impl Display for Node {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.id)
    }
}

//! Events: what has changed in the store, told to whoever wants to follow.
//!
//! Topics and fields are containerd's. An event is published through the transaction
//! that it tells of ([`Transaction::publish`](crate::meta::Transaction)): after its
//! commit, in the order of commits, and never of one that failed.
//!
//! Several processes publish and none of them need be there later, so events go into a
//! bounded spool of files in the store. It is a convenience, not a journal: a crash may
//! cost the last events, a reader that falls far behind loses the oldest, and a spool
//! that cannot be written fails no operation.

mod follow;
mod spool;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::filter::Fields;
use crate::meta::{Labels, Namespace};
use crate::oci::Digest;
use crate::store::{LockError, Locks};

pub use follow::Follower;

/// Why events could not be written or read.
#[derive(Debug, Error)]
pub enum EventsError {
    /// A file of the spool could not be used.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// An event cannot be encoded.
    #[error("encode an event")]
    Encode(#[source] serde_json::Error),
    /// The spool's lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "topic", content = "event")]
pub enum Event {
    /// An image got a record.
    #[serde(rename = "/images/create")]
    ImageCreate {
        /// The image.
        name: String,
        /// Its labels.
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
    },
    /// An image's record was changed.
    #[serde(rename = "/images/update")]
    ImageUpdate {
        /// The image.
        name: String,
        /// Its labels.
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
    },
    /// An image's record was removed.
    #[serde(rename = "/images/delete")]
    ImageDelete {
        /// The image.
        name: String,
    },
    /// A blob got a record.
    #[serde(rename = "/content/create")]
    ContentCreate {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// A blob's record was removed by a user.
    #[serde(rename = "/content/delete")]
    ContentDelete {
        /// The blob.
        digest: Digest,
    },
    /// An active snapshot was made.
    #[serde(rename = "/snapshot/prepare")]
    SnapshotPrepare {
        /// Its key.
        key: String,
        /// The snapshot that it stands on, or nothing.
        parent: String,
        /// The snapshotter's name.
        snapshotter: String,
    },
    /// An active snapshot became a committed one.
    #[serde(rename = "/snapshot/commit")]
    SnapshotCommit {
        /// The key of the active snapshot.
        key: String,
        /// The name of the committed snapshot.
        name: String,
        /// The snapshotter's name.
        snapshotter: String,
    },
    /// A snapshot was removed.
    #[serde(rename = "/snapshot/remove")]
    SnapshotRemove {
        /// Its key or name.
        key: String,
        /// The snapshotter's name.
        snapshotter: String,
    },
    /// A namespace was made.
    #[serde(rename = "/namespaces/create")]
    NamespaceCreate {
        /// The namespace.
        name: String,
        /// Its labels.
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
    },
    /// A namespace's labels were changed.
    #[serde(rename = "/namespaces/update")]
    NamespaceUpdate {
        /// The namespace.
        name: String,
        /// Its labels.
        #[serde(default, skip_serializing_if = "Labels::is_empty")]
        labels: Labels,
    },
    /// A namespace was removed.
    #[serde(rename = "/namespaces/delete")]
    NamespaceDelete {
        /// The namespace.
        name: String,
    },
}

/// An event with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// When the event was published.
    pub timestamp: Timestamp,
    /// The namespace in which it happened.
    pub namespace: Namespace,
    /// The event, with its topic.
    #[serde(flatten)]
    pub event: Event,
}

/// The events of a store.
#[derive(Debug, Clone)]
pub struct Events {
    directory: PathBuf,
    locks: Locks,
}

impl Events {
    pub(crate) fn new(root: &Path, locks: Locks) -> Self {
        Self {
            directory: root.join("events"),
            locks,
        }
    }

    /// Publishes events in their order. What cannot be published is dropped with a
    /// warning: what the events tell of has happened.
    pub(crate) fn publish(&self, events: Vec<(Namespace, Event)>) {
        let timestamp = Timestamp::now();
        let envelopes = events.into_iter().map(|(namespace, event)| Envelope {
            timestamp,
            namespace,
            event,
        });
        if let Err(error) = spool::append(self, envelopes) {
            tracing::warn!(%error, "events are lost");
        }
    }

    /// Returns a reader of all events that the spool has, and of those to come.
    pub fn from_oldest(&self) -> Result<Follower, EventsError> {
        Follower::from_oldest(&self.directory)
    }

    /// Returns a reader of the events to come.
    pub fn from_now(&self) -> Result<Follower, EventsError> {
        Follower::from_now(&self.directory)
    }
}

impl Event {
    /// Returns the topic.
    pub fn topic(&self) -> &'static str {
        match self {
            Self::ImageCreate { .. } => "/images/create",
            Self::ImageUpdate { .. } => "/images/update",
            Self::ImageDelete { .. } => "/images/delete",
            Self::ContentCreate { .. } => "/content/create",
            Self::ContentDelete { .. } => "/content/delete",
            Self::SnapshotPrepare { .. } => "/snapshot/prepare",
            Self::SnapshotCommit { .. } => "/snapshot/commit",
            Self::SnapshotRemove { .. } => "/snapshot/remove",
            Self::NamespaceCreate { .. } => "/namespaces/create",
            Self::NamespaceUpdate { .. } => "/namespaces/update",
            Self::NamespaceDelete { .. } => "/namespaces/delete",
        }
    }

    fn field(&self, path: &[&str]) -> Option<&str> {
        match (self, path) {
            (
                Self::ImageCreate { labels, .. }
                | Self::ImageUpdate { labels, .. }
                | Self::NamespaceCreate { labels, .. }
                | Self::NamespaceUpdate { labels, .. },
                ["labels", key @ ..],
            ) => labels.get(&key.join(".")).map(String::as_str),
            (
                Self::ImageCreate { name, .. }
                | Self::ImageUpdate { name, .. }
                | Self::ImageDelete { name }
                | Self::NamespaceCreate { name, .. }
                | Self::NamespaceUpdate { name, .. }
                | Self::NamespaceDelete { name }
                | Self::SnapshotCommit { name, .. },
                ["name"],
            ) => Some(name),
            (
                Self::SnapshotPrepare { key, .. }
                | Self::SnapshotCommit { key, .. }
                | Self::SnapshotRemove { key, .. },
                ["key"],
            ) => Some(key),
            (Self::SnapshotPrepare { parent, .. }, ["parent"]) => Some(parent),
            (
                Self::SnapshotPrepare { snapshotter, .. }
                | Self::SnapshotCommit { snapshotter, .. }
                | Self::SnapshotRemove { snapshotter, .. },
                ["snapshotter"],
            ) => Some(snapshotter),
            _ => None,
        }
    }
}

/// The fields are `topic`, `namespace`, and `event.` with a field of the event.
impl Fields for Envelope {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match (path, &self.event) {
            (["topic"], event) => Some(event.topic().into()),
            (["namespace"], _) => Some(self.namespace.as_str().into()),
            (
                ["event", "digest"],
                Event::ContentCreate { digest, .. } | Event::ContentDelete { digest },
            ) => Some(digest.to_string().into()),
            (["event", rest @ ..], event) => event.field(rest).map(Cow::from),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

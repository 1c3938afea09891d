//! Which snapshots a filter matches.

use std::borrow::Cow;

use super::{SnapshotError, Snapshots};
use crate::filter::{self, Fields, Filter};
use crate::meta::{Kind, SnapshotRecord};

impl Snapshots {
    /// Lists the snapshots that a filter matches, sorted by name.
    pub fn matching(&self, filter: &Filter) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        let mut snapshots = self.list()?;
        snapshots.retain(|snapshot| filter.matches(snapshot));
        Ok(snapshots)
    }
}

impl Fields for SnapshotRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name", ..] => Some(self.name.as_str().into()),
            ["parent", ..] => Some(self.parent.as_deref().unwrap_or_default().into()),
            ["kind", ..] => Some(self.kind.name().into()),
            ["labels", key @ ..] => filter::label(&self.labels, key),
            _ => None,
        }
    }
}

impl Kind {
    /// Returns what containerd calls the kind in filters.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Active => "active",
            Self::Committed => "committed",
        }
    }
}

//! Differences: what one tree has that another has not, as a list or as an OCI layer.
//!
//! Both trees are views and are walked together, so all that layers can say (whiteouts,
//! opaque directories, redirects, metadata-only copies) comes out as it is shown. What a
//! snapshot has changed is told by inodes: all that comes from its own layer has changed,
//! and a directory to which the layer adds nothing is not entered. So an edit counts that
//! leaves size and time as they were. Other trees are compared by attributes, and by
//! contents where these are equal.

mod archive;
mod blob;
mod directory;
mod error;
mod layer;
mod pack;
mod tree;
mod walk;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use mica_fuse::{View, ViewOptions};
use serde::{Deserialize, Serialize};

use crate::layers::LayerPlan;
use crate::oci::DiffId;
use crate::snapshots::{Hold, SnapshotMounts, Snapshots};
use crate::store::Store;

use layer::LayerWriter;
use walk::{Relation, Status};

pub use blob::LayerForm;
pub use error::DiffError;
pub use pack::{pack, pack_directory};

/// Two trees, the earlier and the later one. Nobody changes them while this lives.
#[derive(Debug)]
pub struct Difference {
    /// `None` for a tree without layers.
    before: Option<View>,
    after: Option<View>,
    relation: Relation,
    _holds: Vec<Hold>,
}

/// A path that differs between two trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// The path from the root of the trees, with a leading `/`.
    #[serde(with = "crate::json_path")]
    pub path: PathBuf,
}

/// How a path differs between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Only the later tree has it.
    Added,
    /// It is something else, or has other contents or attributes. The time of modification
    /// of a directory does not count.
    Changed,
    /// Only the earlier tree has it.
    Deleted,
}

impl Difference {
    /// Returns the difference between a snapshot and its parent.
    pub fn of_snapshot(
        store: &Store,
        snapshots: &Snapshots,
        name: &str,
    ) -> Result<Self, DiffError> {
        let parent = snapshots.stat(name)?.parent;
        let before = parent.map(|parent| snapshots.show(&parent)).transpose()?;
        let before = before.unwrap_or_else(SnapshotMounts::empty);
        Self::of_top(store, snapshots, &before, &snapshots.show(name)?)
    }

    /// Returns the difference that the uppermost layer of a chain makes.
    pub fn of_top(
        store: &Store,
        snapshots: &Snapshots,
        below: &SnapshotMounts,
        whole: &SnapshotMounts,
    ) -> Result<Self, DiffError> {
        let relation = match whole.layers.first() {
            // What was applied, and what was written over it.
            _ if whole.layers.len() > below.layers.len() + 1 => Relation::None,
            Some(LayerPlan::Packed(_)) if whole.layers.len() > below.layers.len() => {
                Relation::Packed
            }
            _ => Relation::Upper,
        };
        Self::open(store, snapshots, [below, whole], relation)
    }

    /// Returns the difference between two trees, of which the later may have a layer more
    /// than the earlier.
    pub fn of_trees(
        store: &Store,
        snapshots: &Snapshots,
        before: &SnapshotMounts,
        after: &SnapshotMounts,
    ) -> Result<Self, DiffError> {
        match after.layers.split_first() {
            Some((_, below)) if below == before.layers => {
                Self::of_top(store, snapshots, before, after)
            }
            _ => Self::between(store, snapshots, before, after),
        }
    }

    /// Returns the difference between any two trees.
    pub fn between(
        store: &Store,
        snapshots: &Snapshots,
        before: &SnapshotMounts,
        after: &SnapshotMounts,
    ) -> Result<Self, DiffError> {
        Self::open(store, snapshots, [before, after], Relation::None)
    }

    /// Lists what differs, sorted by path, directories before what is in them. A removed
    /// directory is one path, an added one all that are in it.
    pub fn changes(&self) -> Result<Vec<Change>, DiffError> {
        let mut changes = Vec::new();
        let mut add = |kind, path: &[u8]| {
            let path = OsString::from_vec([b"/", path].concat());
            let path = PathBuf::from(path);
            changes.push(Change { kind, path });
        };
        match (&self.before, &self.after) {
            (before, Some(after)) => walk::walk(before.as_ref(), after, self.relation, |visit| {
                match visit.status {
                    Status::Added => add(ChangeKind::Added, visit.path),
                    Status::Modified => add(ChangeKind::Changed, visit.path),
                    Status::Deleted => add(ChangeKind::Deleted, visit.path),
                    Status::Touched | Status::Unchanged | Status::Opaque => {}
                }
                Ok(())
            })?,
            (Some(before), None) => {
                let root = tree::root(before)?;
                let children = tree::children(before, root.node);
                for child in children.map_err(DiffError::read(b""))? {
                    add(ChangeKind::Deleted, &child.name);
                }
            }
            (None, None) => {}
        }
        Ok(changes)
    }

    /// Writes what the later tree has changed as an uncompressed OCI layer; the same tree
    /// makes the same bytes. Times after `latest`, in seconds since 1970, are written as
    /// that.
    pub fn write_layer<W: Write>(&self, output: W, latest: Option<i64>) -> Result<W, DiffError> {
        let Some(after) = &self.after else {
            return archive::Archive::new(output)
                .finish()
                .map_err(DiffError::Write);
        };
        let mut writer = LayerWriter::new(after, self.before.is_some(), latest, output);
        walk::walk(self.before.as_ref(), after, self.relation, |visit| {
            writer.visit(visit)
        })?;
        writer.finish()
    }

    fn open(
        store: &Store,
        snapshots: &Snapshots,
        trees: [&SnapshotMounts; 2],
        relation: Relation,
    ) -> Result<Self, DiffError> {
        let mut holds = Vec::new();
        for used in trees.iter().flat_map(|tree| &tree.uses) {
            holds.push(snapshots.hold(used)?);
        }
        let [before, after] = trees.map(|tree| view(store, tree));
        Ok(Self {
            before: before?,
            after: after?,
            relation,
            _holds: holds,
        })
    }
}

fn view(store: &Store, tree: &SnapshotMounts) -> Result<Option<View>, DiffError> {
    if tree.layers.is_empty() {
        return Ok(None);
    }
    let layers = store.layers();
    let packed: Vec<DiffId> = tree
        .layers
        .iter()
        .filter_map(|layer| layer.diff_id().cloned())
        .collect();
    layers.require(&packed)?;
    let view = View::open(layers.open_all(&tree.layers)?, ViewOptions::default());
    Ok(Some(view.map_err(DiffError::View)?))
}

#[cfg(test)]
mod tests;

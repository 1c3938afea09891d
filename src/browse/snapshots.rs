//! `snapshots/`: what snapshots show, and what each has changed.

use mica_fuse::{FileType, Item, Tree};

use super::catalogue::{Catalogue, Names};
use super::error::BrowseError;
use super::layers::json;
use crate::meta::{Kind, SnapshotRecord};
use crate::mounts::TreePlan;

impl Catalogue {
    pub(super) fn snapshot(
        &self,
        name: &[u8],
        rest: &[&[u8]],
    ) -> Result<Option<Item>, BrowseError> {
        let snapshots = self.records.snapshots()?;
        let Some(snapshot) = snapshots.get(name) else {
            return Ok(None);
        };
        Ok(match rest {
            [] => Some(Item::Directory),
            [b"diff"] if self.is_writable(snapshot) => None,
            // A view has changed nothing.
            [b"diff"] if snapshot.kind == Kind::View => Some(Item::Directory),
            [b"rootfs" | b"diff"] => Some(Item::Tree),
            [b"info.json"] => Some(Item::File(json(snapshot)?)),
            _ => None,
        })
    }

    pub(super) fn snapshot_names(&self) -> Result<Names, BrowseError> {
        let snapshots = self.records.snapshots()?;
        let names = snapshots.keys().cloned();
        Ok(names.map(|name| (name, FileType::Directory)).collect())
    }

    pub(super) fn names_in_snapshot(
        &self,
        name: &[u8],
        rest: &[&[u8]],
    ) -> Result<Names, BrowseError> {
        if !rest.is_empty() {
            return Ok(Vec::new());
        }
        let snapshots = self.records.snapshots()?;
        let snapshot = snapshots.get(name).ok_or(BrowseError::Nothing)?;
        let mut names = vec![
            (b"rootfs".to_vec(), FileType::Directory),
            (b"info.json".to_vec(), FileType::Regular),
        ];
        if !self.is_writable(snapshot) {
            names.push((b"diff".to_vec(), FileType::Directory));
        }
        Ok(names)
    }

    pub(super) fn snapshot_tree(&self, name: &[u8]) -> Result<Tree, BrowseError> {
        let snapshots = self.records.snapshots()?;
        let snapshot = snapshots.get(name).ok_or(BrowseError::Nothing)?;
        let shown = if self.is_writable(snapshot) {
            self.snapshots.mounts(&snapshot.name)?
        } else {
            self.snapshots.show(&snapshot.name)?
        };
        self.tree(&TreePlan::from(shown))
    }

    pub(super) fn snapshot_diff(&self, name: &[u8]) -> Result<Tree, BrowseError> {
        let snapshots = self.records.snapshots()?;
        let snapshot = snapshots.get(name).ok_or(BrowseError::Nothing)?;
        let shown = self.snapshots.show(&snapshot.name)?;
        self.diff(&TreePlan::from(shown))
    }

    /// Returns whether a snapshot can be written to here. What it has changed is then not
    /// shown beside: its directory may change at any time.
    fn is_writable(&self, snapshot: &SnapshotRecord) -> bool {
        self.browse.rw && snapshot.kind == Kind::Active
    }
}

//! Making snapshots: prepare and view.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use jiff::Timestamp;
use mica_fuse::PackedLayer;

use super::chain::ancestry;
use super::describe::Description;
use super::directory::{Top, failed};
use super::{SNAPSHOTTER, SnapshotError, SnapshotMounts, Snapshots, TARGET, check_key, keeper};
use crate::events::Event;
use crate::labels;
use crate::layers::LayerError;
use crate::meta::{Kind, Labels, SnapshotRecord, Transaction};
use crate::publish::Staging;

/// What came of a try to make a snapshot.
enum Made {
    Snapshot(SnapshotMounts),
    /// What it was to end in.
    Target,
    /// What it stands on has changed.
    Nothing,
}

impl Snapshots {
    /// Makes an active snapshot on a committed one, or on nothing.
    pub fn prepare(
        &self,
        key: &str,
        parent: Option<&str>,
        labels: Labels,
    ) -> Result<SnapshotMounts, SnapshotError> {
        self.create(Kind::Active, key, parent, labels)
    }

    /// Makes a read-only snapshot of a committed one, or of nothing.
    pub fn view(
        &self,
        key: &str,
        parent: Option<&str>,
        labels: Labels,
    ) -> Result<SnapshotMounts, SnapshotError> {
        self.create(Kind::View, key, parent, labels)
    }

    fn create(
        &self,
        kind: Kind,
        key: &str,
        parent: Option<&str>,
        labels: Labels,
    ) -> Result<SnapshotMounts, SnapshotError> {
        let labels = labels::checked(labels)?;
        check_key(key)?;
        let now = Timestamp::now();
        let mut record = SnapshotRecord {
            name: key.to_owned(),
            kind,
            parent: parent.map(str::to_owned),
            layer: None,
            id: None,
            usage: None,
            labels,
            created: now,
            updated: now,
        };
        loop {
            let planned = self
                .meta
                .read(|transaction| self.plan(transaction, &record))?;
            let top = self.top(&planned)?;
            let description = Description {
                namespace: self.namespace.clone(),
                record: record.clone(),
            };
            // Others go on while the directory is made.
            let mut staged = Some(self.directories.stage(&description, top)?);
            let stage = || match staged.take() {
                Some(staged) => Ok(staged),
                None => self.directories.stage(&description, top),
            };
            let made = self
                .meta
                .write(|transaction| self.record(transaction, &mut record, &planned, stage))?;
            match made {
                Made::Snapshot(mounts) => return Ok(mounts),
                Made::Target => {
                    let target = record.labels.remove(TARGET).unwrap_or_default();
                    return Err(SnapshotError::TargetExists(target));
                }
                Made::Nothing => {}
            }
        }
    }

    /// Returns the chain that a new snapshot is to stand on.
    fn plan(
        &self,
        transaction: &Transaction,
        new: &SnapshotRecord,
    ) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        self.check_free(transaction, &new.name)?;
        if keeper(&new.name).is_none() {
            self.check_target(transaction, &new.labels)?;
        }
        match &new.parent {
            Some(parent) => self.below(transaction, parent),
            None => Ok(Vec::new()),
        }
    }

    /// Records a new snapshot, or the one that it is to end in, unless what it stands on has
    /// changed since it was planned.
    fn record(
        &self,
        transaction: &Transaction,
        record: &mut SnapshotRecord,
        planned: &[SnapshotRecord],
        stage: impl FnMut() -> Result<Staging, SnapshotError>,
    ) -> Result<Made, SnapshotError> {
        let below = self.plan(transaction, record)?;
        if self.make_target(transaction, record)? {
            return Ok(Made::Target);
        }
        if below != planned {
            return Ok(Made::Nothing);
        }
        record.id = Some(self.directories.publish(transaction, stage)?);
        transaction.put(&self.namespace, &record.name, record)?;
        if record.kind == Kind::Active {
            transaction.publish(
                &self.namespace,
                Event::SnapshotPrepare {
                    key: record.name.clone(),
                    parent: record.parent.clone().unwrap_or_default(),
                    snapshotter: SNAPSHOTTER.to_owned(),
                },
            );
        }
        let mut chain = vec![record.clone()];
        chain.extend(below);
        self.mounts_of(&chain).map(Made::Snapshot)
    }

    fn check_target(
        &self,
        transaction: &Transaction,
        labels: &Labels,
    ) -> Result<(), SnapshotError> {
        let Some(target) = labels.get(TARGET) else {
            return Ok(());
        };
        self.check_free(transaction, target)
            .map_err(|error| match error {
                SnapshotError::AlreadyExists(target) => SnapshotError::TargetExists(target),
                other => other,
            })
    }

    /// Returns the chain of a parent, all of which is there.
    fn below(
        &self,
        transaction: &Transaction,
        parent: &str,
    ) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        let chain = match ancestry(transaction, &self.namespace, parent) {
            Err(SnapshotError::NotFound(parent)) => {
                return Err(SnapshotError::ParentNotFound(parent));
            }
            other => other?,
        };
        if chain.first().map(|top| top.kind) != Some(Kind::Committed) {
            return Err(SnapshotError::ParentNotCommitted(parent.to_owned()));
        }
        for snapshot in &chain {
            if let Some(id) = snapshot.id {
                self.directories.require(&snapshot.name, id)?;
            }
        }
        Ok(chain)
    }

    /// Returns what the top of a chain's tree looks like, so that a new upper on it looks
    /// the same; `None` where the process could not give a directory away.
    pub(super) fn top(&self, chain: &[SnapshotRecord]) -> Result<Option<Top>, SnapshotError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        for snapshot in chain {
            if let Some(id) = snapshot.id {
                let path = self.directories.fs(id);
                let stat = fs::symlink_metadata(&path).map_err(failed("stat", &path))?;
                return Ok(Some(Top {
                    uid: stat.uid(),
                    gid: stat.gid(),
                    mode: stat.mode() & 0o7777,
                }));
            }
            let Some(diff_id) = &snapshot.layer else {
                continue;
            };
            let root = self.layers.open(diff_id)?.inode(PackedLayer::ROOT);
            let root = root.map_err(|source| LayerError::Packed {
                diff_id: diff_id.clone(),
                source,
            })?;
            if !root.implied {
                return Ok(Some(Top {
                    uid: root.uid,
                    gid: root.gid,
                    mode: root.mode & 0o7777,
                }));
            }
        }
        Ok(None)
    }
}

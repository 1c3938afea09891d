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
        let made = self.meta.write(|transaction| {
            self.check_free(transaction, key)?;
            if keeper(key).is_none() {
                self.check_target(transaction, &labels)?;
            }
            if self.make_target(transaction, key, parent, &labels)? {
                return Ok(None);
            }
            let below = match parent {
                Some(parent) => self.below(transaction, parent)?,
                None => Vec::new(),
            };
            let top = self.top(&below)?;
            let now = Timestamp::now();
            let mut record = SnapshotRecord {
                name: key.to_owned(),
                kind,
                parent: parent.map(str::to_owned),
                layer: None,
                id: None,
                usage: None,
                labels: labels.clone(),
                created: now,
                updated: now,
            };
            let description = Description {
                namespace: self.namespace.clone(),
                record: record.clone(),
            };
            let stage = || self.directories.stage(&description, top);
            record.id = Some(self.directories.publish(transaction, stage)?);
            transaction.put(&self.namespace, key, &record)?;
            if kind == Kind::Active {
                transaction.publish(
                    &self.namespace,
                    Event::SnapshotPrepare {
                        key: key.to_owned(),
                        parent: parent.unwrap_or_default().to_owned(),
                        snapshotter: SNAPSHOTTER.to_owned(),
                    },
                );
            }
            let mut chain = vec![record];
            chain.extend(below);
            self.mounts_of(&chain).map(Some)
        })?;
        made.ok_or_else(|| {
            let target = labels.get(TARGET).cloned().unwrap_or_default();
            SnapshotError::TargetExists(target)
        })
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

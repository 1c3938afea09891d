//! Snapshots: chains of layers, read-only or with a directory for changes on top.
//!
//! A snapshot is *active* (writable), a *view* (read-only) or *committed* (immutable, and
//! a parent of others). One that a pull has made has no files of its own: it names a layer
//! of the layer store, and its name is the chain ID. All others have a directory
//! ([`directory`]); commit turns that of an active snapshot into a layer by changing the
//! record alone, and packing replaces it by a layer of the layer store. A client that unpacks
//! an image itself has each layer applied to an active snapshot ([`apply`]), which names the
//! layer from then on. Names, kinds, rules and errors are containerd's, and there is one rule
//! more: what a mount of ours uses can be neither committed nor removed.

mod apply;
mod chain;
mod create;
mod describe;
mod directory;
mod error;
mod mounts;
mod pack;
mod proxied;
mod select;
mod usage;

use std::sync::Arc;

use jiff::Timestamp;

use crate::events::Event;
use crate::labels;
use crate::layers::Layers;
use crate::meta::{Kind, Labels, Meta, Namespace, SnapshotId, SnapshotRecord, Transaction, Usage};
use crate::publish::Rounds;
use crate::store::Store;
use crate::views::Views;

use chain::find;

pub(crate) use apply::Reserved;
pub(crate) use chain::commit_chain;
pub(crate) use describe::Description;
pub(crate) use directory::Directories;
pub use directory::Hold;
pub use error::SnapshotError;
pub use mounts::{SnapshotMounts, SnapshotUpper, SnapshotUse};
pub(crate) use proxied::{keeper, proxied};
pub(crate) use usage::measure;

/// The label that names the snapshot which a prepare is to end in.
const TARGET: &str = "containerd.io/snapshot.ref";

/// The name by which labels and events know these snapshots.
pub const SNAPSHOTTER: &str = "mica";

/// The label that names the image on which a snapshot was made.
pub const BASE_LABEL: &str = "io.mica/image";

/// The snapshots of one namespace.
#[derive(Debug, Clone)]
pub struct Snapshots {
    meta: Meta,
    layers: Layers,
    directories: Directories,
    views: Views,
    syncs: Arc<Rounds<()>>,
    namespace: Namespace,
}

impl Snapshots {
    /// Returns the snapshots that a store has in a namespace.
    pub fn new(store: &Store, namespace: Namespace) -> Self {
        Self {
            meta: store.meta(),
            layers: store.layers(),
            directories: Directories::new(store.root()),
            views: store.views().clone(),
            syncs: store.syncs(),
            namespace,
        }
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Lists all snapshots, sorted by name.
    pub fn list(&self) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        Ok(self.meta.list(&self.namespace)?)
    }

    /// Returns the record of one snapshot.
    pub fn stat(&self, name: &str) -> Result<SnapshotRecord, SnapshotError> {
        self.meta
            .read(|transaction| find(transaction, &self.namespace, name))
    }

    /// Returns a snapshot and all that it stands on, uppermost first.
    pub(crate) fn ancestry(&self, name: &str) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        self.meta
            .read(|transaction| chain::ancestry(transaction, &self.namespace, name))
    }

    /// Makes the active snapshot `key` a committed one of another name, which has the
    /// given labels only. What was written is on the disk when this returns.
    pub fn commit(
        &self,
        name: &str,
        key: &str,
        labels: Labels,
    ) -> Result<SnapshotRecord, SnapshotError> {
        let labels = labels::checked(labels)?;
        check_key(name)?;
        let (active, id) = self.meta.read(|transaction| {
            self.check_free(transaction, name)?;
            let active = self.find_active(transaction, key)?;
            let id = self.directory_of(&active)?;
            Ok::<_, SnapshotError>((active, id))
        })?;
        self.views.freeze(id)?;
        let hold = self.directories.hold_alone(key, id)?;
        let (kept, usage) = self.outcome(&active, id)?;
        let now = Timestamp::now();
        let committed = SnapshotRecord {
            name: name.to_owned(),
            kind: Kind::Committed,
            id: kept,
            usage: Some(usage),
            labels,
            created: now,
            updated: now,
            ..active.clone()
        };
        let before = self.directories.description(id);
        self.describe(&committed)?;
        self.make_durable(&committed)
            .and_then(|()| self.record_commit(&active, &committed))
            .inspect_err(|_| {
                if let Some(before) = before {
                    // What it says now is told by nobody but it.
                    drop(self.directories.describe(&before));
                }
            })?;
        if kept.is_none() {
            self.directories.retire(id)?;
        }
        drop(hold);
        Ok(committed)
    }

    /// Brings to the disk what a snapshot consists of, before its record says that it is
    /// committed.
    fn make_durable(&self, committed: &SnapshotRecord) -> Result<(), SnapshotError> {
        if committed.layer.is_some() {
            self.layers.sync()?;
        }
        if committed.id.is_some() {
            self.directories.sync(&self.syncs)?;
        }
        Ok(())
    }

    /// Puts a committed snapshot in the place of the active one whose directory is held.
    fn record_commit(
        &self,
        active: &SnapshotRecord,
        committed: &SnapshotRecord,
    ) -> Result<(), SnapshotError> {
        let key = &active.name;
        self.meta.write(|transaction| {
            self.check_free(transaction, &committed.name)?;
            // It may have been committed or removed before it was held.
            let found = self.find_active(transaction, key)?;
            if found.id != active.id {
                return Err(SnapshotError::NotFound(key.clone()));
            }
            if found.layer != active.layer {
                return Err(SnapshotError::InUse(key.clone()));
            }
            transaction.remove::<SnapshotRecord>(&self.namespace, key)?;
            transaction.put(&self.namespace, &committed.name, committed)?;
            transaction.publish(
                &self.namespace,
                Event::SnapshotCommit {
                    key: key.clone(),
                    name: committed.name.clone(),
                    snapshotter: SNAPSHOTTER.to_owned(),
                },
            );
            Ok(())
        })
    }

    /// Removes a snapshot that no other stands on, with its directory.
    pub fn remove(&self, key: &str) -> Result<(), SnapshotError> {
        let record = self.stat(key)?;
        if let Some(id) = record.id {
            self.withdraw(key, id)?;
        }
        let (id, hold) = self.meta.write(|transaction| {
            let now = self.find_childless(transaction, key)?;
            if now.id != record.id {
                return Err(SnapshotError::InUse(key.to_owned()));
            }
            let hold = match record.id.map(|id| self.directories.hold_alone(key, id)) {
                // The way to be rid of the record.
                Some(Err(SnapshotError::Lost { .. })) => None,
                other => other.transpose()?,
            };
            transaction.remove::<SnapshotRecord>(&self.namespace, key)?;
            transaction.publish(
                &self.namespace,
                Event::SnapshotRemove {
                    key: key.to_owned(),
                    snapshotter: SNAPSHOTTER.to_owned(),
                },
            );
            Ok((record.id, hold))
        })?;
        if let Some(id) = id {
            self.directories.retire(id)?;
        }
        drop(hold);
        Ok(())
    }

    /// Changes labels: all of them, or those that a field mask names (`labels.KEY`).
    pub fn update(
        &self,
        name: &str,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<SnapshotRecord, SnapshotError> {
        self.meta.write(|transaction| {
            let mut record = find(transaction, &self.namespace, name)?;
            record.labels = labels::updated("snapshot", name, &record.labels, labels, mask)?;
            record.updated = Timestamp::now();
            self.describe(&record)?;
            transaction.put(&self.namespace, name, &record)?;
            Ok(record)
        })
    }

    /// Returns what a snapshot takes on the disk: an active one now, a committed one
    /// since its commit, one that a pull has made in the form of its packed layer.
    pub fn usage(&self, name: &str) -> Result<Usage, SnapshotError> {
        let record = self.stat(name)?;
        if record.kind == Kind::View {
            return Ok(Usage::default());
        }
        if let Some(usage) = record.usage {
            return Ok(usage);
        }
        let mut usage = Usage::default();
        if let Some(id) = record.id {
            usage = usage + self.directories.usage(name, id)?;
        }
        if let Some(diff_id) = &record.layer {
            usage = usage + self.layer_usage(diff_id)?;
        }
        Ok(usage)
    }

    /// Says whether a mount or a command uses a snapshot's directory.
    pub(crate) fn is_in_use(&self, snapshot: &SnapshotRecord) -> Result<bool, SnapshotError> {
        match snapshot.id {
            Some(id) => Ok(self.directories.hold_unused(id)?.is_none()),
            None => Ok(false),
        }
    }

    fn check_free(&self, transaction: &Transaction, name: &str) -> Result<(), SnapshotError> {
        let found: Option<SnapshotRecord> = transaction.find(&self.namespace, name)?;
        match found {
            Some(_) => Err(SnapshotError::AlreadyExists(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Returns a snapshot that no other stands on.
    fn find_childless(
        &self,
        transaction: &Transaction,
        key: &str,
    ) -> Result<SnapshotRecord, SnapshotError> {
        let record = find(transaction, &self.namespace, key)?;
        let all = transaction.list_with::<SnapshotRecord>(&self.namespace, key)?;
        if all.iter().any(|other| other.parent.as_deref() == Some(key)) {
            return Err(SnapshotError::HasChild(key.to_owned()));
        }
        Ok(record)
    }

    fn find_active(
        &self,
        transaction: &Transaction,
        key: &str,
    ) -> Result<SnapshotRecord, SnapshotError> {
        let record = find(transaction, &self.namespace, key)?;
        if record.kind != Kind::Active {
            return Err(SnapshotError::NotActive(key.to_owned()));
        }
        Ok(record)
    }

    /// Returns the directory of a snapshot that must have one.
    fn directory_of(&self, snapshot: &SnapshotRecord) -> Result<SnapshotId, SnapshotError> {
        let id = snapshot.id.unwrap_or(SnapshotId(0));
        self.directories.require(&snapshot.name, id)?;
        Ok(id)
    }
}

fn check_key(key: &str) -> Result<(), SnapshotError> {
    if key.is_empty() || key.contains('\0') {
        return Err(SnapshotError::Key(key.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

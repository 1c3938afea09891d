//! Layers that are applied to active snapshots.
//!
//! An applied layer lies between what the snapshot stands on and what is written to it. It
//! is taken whole, as a layer of the layer store, and only before anything is written, since
//! it would hide nothing of that. A commit keeps the layer, and the directory only where
//! something was written after all.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use rustix::io::Errno;

use super::chain::ancestry;
use super::directory::{Directories, Top, failed, failed_call};
use super::{Hold, SnapshotError, Snapshots, usage};
use crate::layers::LayerError;
use crate::meta::{Namespace, SnapshotId, SnapshotRecord, Transaction, Usage};
use crate::oci::DiffId;
use crate::store::Store;

/// Attributes that every file may have, whoever made it.
const OF_THE_SYSTEM: &[u8] = b"security.selinux";

/// An active snapshot to which nothing was written. Nobody uses its directory while this
/// lives.
#[derive(Debug)]
pub(crate) struct Reserved {
    record: SnapshotRecord,
    id: SnapshotId,
    _hold: Hold,
}

impl Reserved {
    /// Returns the layer that was applied before.
    pub(crate) fn layer(&self) -> Option<&DiffId> {
        self.record.layer.as_ref()
    }
}

impl Snapshots {
    /// Returns the snapshots and the name of the one that has a directory, if one has it.
    pub(crate) fn of_directory(
        store: &Store,
        id: SnapshotId,
    ) -> Result<Option<(Self, SnapshotRecord)>, SnapshotError> {
        let Some(description) = Directories::new(store.root()).description(id) else {
            return Ok(None);
        };
        let snapshots = Self::new(store, description.namespace);
        match snapshots.stat(&description.record.name) {
            Ok(record) if record.id == Some(id) => Ok(Some((snapshots, record))),
            // It was committed or removed meanwhile.
            Ok(_) | Err(SnapshotError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps an active snapshot, to which nothing may have been written
    /// ([`SnapshotError::NotEmpty`]), for a layer.
    pub(crate) fn reserve(&self, key: &str) -> Result<Reserved, SnapshotError> {
        let find = |transaction: &Transaction| self.find_active(transaction, key);
        let id = self.directory_of(&self.meta.read(find)?)?;
        self.withdraw(key, id)?;
        let hold = self.directories.hold_alone(key, id)?;
        // It may have been committed or removed before it was held.
        let record = self.meta.read(find)?;
        if record.id != Some(id) {
            return Err(SnapshotError::NotFound(key.to_owned()));
        }
        let reserved = Reserved {
            record,
            id,
            _hold: hold,
        };
        if !self.is_untouched(&reserved.record, reserved.id)? {
            return Err(SnapshotError::NotEmpty(key.to_owned()));
        }
        Ok(reserved)
    }

    /// Puts a layer of the layer store under what will be written to a snapshot.
    pub(crate) fn apply(&self, reserved: &Reserved, diff_id: &DiffId) -> Result<(), SnapshotError> {
        let Reserved { record, id, .. } = reserved;
        if record.layer.as_ref() == Some(diff_id) {
            return Ok(());
        }
        let record = SnapshotRecord {
            layer: Some(diff_id.clone()),
            ..record.clone()
        };
        self.directories.dress(*id, self.top_over(&record)?)?;
        self.describe(&record)?;
        // The hold keeps others from committing or removing it meanwhile.
        self.meta
            .write(|transaction| transaction.put(&self.namespace, &record.name, &record))?;
        Ok(())
    }

    /// Has a snapshot shown no more and nobody hold its directory, unless somebody uses what
    /// was shown ([`SnapshotError::InUse`]).
    pub(crate) fn withdraw(&self, key: &str, id: SnapshotId) -> Result<(), SnapshotError> {
        if self.views.is_mounted_elsewhere(id)? {
            return Err(SnapshotError::InUse(key.to_owned()));
        }
        Ok(self.views.take_away(id)?)
    }

    /// Returns what a snapshot that is to be committed has: its directory, unless nothing
    /// was written over the layer that was applied, and what all takes on the disk.
    pub(super) fn outcome(
        &self,
        active: &SnapshotRecord,
        id: SnapshotId,
    ) -> Result<(Option<SnapshotId>, Usage), SnapshotError> {
        let Some(layer) = &active.layer else {
            return Ok((Some(id), self.directories.usage(&active.name, id)?));
        };
        let usage = self.layer_usage(layer)?;
        if self.is_untouched(active, id)? {
            return Ok((None, usage));
        }
        let written = self.directories.usage(&active.name, id)?;
        Ok((Some(id), usage + written))
    }

    /// Returns what a layer of the layer store takes.
    pub(super) fn layer_usage(&self, diff_id: &DiffId) -> Result<Usage, SnapshotError> {
        let path = self.layers.path(diff_id);
        match usage::measure(&path) {
            Err(Errno::NOENT) => Err(LayerError::NotFound(diff_id.clone()).into()),
            other => other.map_err(failed_call("measure", &path)),
        }
    }

    /// Returns whether the directory of a snapshot is as it was made, or as it was after a
    /// layer was applied.
    fn is_untouched(&self, record: &SnapshotRecord, id: SnapshotId) -> Result<bool, SnapshotError> {
        let top = self.top_over(record)?;
        let fs = self.directories.fs(id);
        is_bare(&fs, top).map_err(failed("look into", &fs))
    }

    /// Returns what the top of the tree below a snapshot's directory looks like.
    fn top_over(&self, record: &SnapshotRecord) -> Result<Option<Top>, SnapshotError> {
        let mut chain = vec![SnapshotRecord {
            id: None,
            ..record.clone()
        }];
        if let Some(parent) = &record.parent {
            let namespace: &Namespace = &self.namespace;
            let below = self
                .meta
                .read(|transaction| ancestry(transaction, namespace, parent))?;
            chain.extend(below);
        }
        self.top(&chain)
    }
}

impl Directories {
    /// Makes the tree of a snapshot look at the top as what it lies on.
    fn dress(&self, id: SnapshotId, top: Option<Top>) -> Result<(), SnapshotError> {
        let Some(top) = top else {
            return Ok(());
        };
        let fs = self.fs(id);
        let dress = || {
            chown(&fs, Some(top.uid), Some(top.gid))?;
            fs::set_permissions(&fs, Permissions::from_mode(top.mode))
        };
        dress().map_err(failed("set the owner and mode of", &fs))
    }
}

/// Returns whether a directory is empty and has no other attributes than those it was made
/// with.
fn is_bare(path: &Path, top: Option<Top>) -> io::Result<bool> {
    if fs::read_dir(path)?.next().transpose()?.is_some() {
        return Ok(false);
    }
    let metadata = fs::symlink_metadata(path)?;
    let top = top.unwrap_or(Top {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode: 0o755,
    });
    let found = Top {
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode() & 0o7777,
    };
    let mut names = Vec::with_capacity(1024);
    match rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) | Err(Errno::OPNOTSUPP) => {}
        // More names than any directory is made with.
        Err(Errno::RANGE) => return Ok(false),
        Err(errno) => return Err(errno.into()),
    }
    let mut names = names.split(|byte| *byte == 0);
    let is_plain = names.all(|name| name.is_empty() || name == OF_THE_SYSTEM);
    Ok(found == top && is_plain)
}

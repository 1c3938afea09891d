//! Descriptions: `snapshots/<id>/info` says which snapshot a directory is of.
//!
//! What was written to a snapshot is nowhere else, so that its directory has to be enough
//! to find it again when the records are lost. A description is written before the record
//! is, and is on the disk as soon as the contents of a committed snapshot are. It is read by
//! `mica check`, which makes it again where it was lost, and by who knows no more than a
//! directory; where the two differ, the record counts.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::directory::{COUNTER, Directories, failed};
use super::{SnapshotError, Snapshots};
use crate::meta::{Namespace, SnapshotCounter, SnapshotId, SnapshotRecord, Transaction};
use crate::publish;

/// The file's name.
pub(super) const INFO: &str = "info";

/// What a directory says of its snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) namespace: Namespace,
    /// The record; the number is the directory's name and need not be in it.
    #[serde(flatten)]
    pub(crate) record: SnapshotRecord,
}

impl Description {
    /// Returns the bytes of the file.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

impl Snapshots {
    /// Writes the description of a snapshot that has a directory, before its record.
    pub(super) fn describe(&self, record: &SnapshotRecord) -> Result<(), SnapshotError> {
        let description = Description {
            namespace: self.namespace.clone(),
            record: record.clone(),
        };
        self.directories.describe(&description)
    }
}

impl Directories {
    /// Writes a description into the directory that it names.
    pub(crate) fn describe(&self, description: &Description) -> Result<(), SnapshotError> {
        let Some(id) = description.record.id else {
            return Ok(());
        };
        let path = self.path(id).join(INFO);
        let write = || publish::write_file_for_now(&path, &description.encode()?);
        write().map_err(failed("write", &path))
    }

    /// Returns what a directory says of its snapshot, if that can be read.
    pub(crate) fn description(&self, id: SnapshotId) -> Option<Description> {
        let bytes = fs::read(self.path(id).join(INFO)).ok()?;
        let mut description: Description = serde_json::from_slice(&bytes).ok()?;
        description.record.id = Some(id);
        Some(description)
    }

    /// Makes sure that no directory up to `id` is given to another snapshot.
    pub(crate) fn raise_counter(
        transaction: &Transaction<'_>,
        id: SnapshotId,
    ) -> Result<(), SnapshotError> {
        let shared = Namespace::shared();
        let counter: Option<SnapshotCounter> = transaction.find(&shared, COUNTER)?;
        if counter.is_none_or(|counter| counter.last < id) {
            let counter = SnapshotCounter { last: id };
            transaction.put(&shared, COUNTER, &counter)?;
        }
        Ok(())
    }
}

//! The records: which images, snapshots and blobs there are, and their labels.
//!
//! This module alone knows that the database is sled. sled lets one process in,
//! so the database is opened for the moment of a transaction: [`Meta::read`] and
//! [`Meta::write`] take the lock, open, run a closure, and close. Nothing that
//! waits for a network or a disk's worth of data may happen in the closure. An
//! open with a commit costs about five milliseconds, so callers collect what
//! belongs together into one transaction.
//!
//! A transaction's changes are applied as one batch and are on the disk when
//! `write` returns. What is in the store but in no record is garbage.

mod key;
mod record;
mod transaction;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::events::Events;
use crate::publish;
use crate::store::{LockError, LockName, Locks};

pub use key::Namespace;
pub(crate) use record::SnapshotCounter;
pub use record::{
    ContentRecord, ImageRecord, Kind, Labels, LeaseRecord, SnapshotId, SnapshotRecord, Usage,
};
pub(crate) use transaction::Transaction;

/// How long a transaction waits for those of other processes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long sled's own lock may outlive the process or value that held it.
const LINGER: Duration = Duration::from_secs(2);
/// sled's page cache in bytes; the whole database is a few hundred kilobytes.
const CACHE: u64 = 4 << 20;

/// Why records could not be read or changed.
#[derive(Debug, Error)]
pub enum MetaError {
    /// The database did not open, or a read or a commit failed.
    #[error("{operation} database {}", path.display())]
    Database {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The database's directory.
        path: PathBuf,
        /// sled's error.
        source: sled::Error,
    },
    /// The database could not be made durable.
    #[error("sync database {}", path.display())]
    Sync {
        /// The database's directory.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// A record was written by a later release.
    #[error("record {key:?} has version {found}, this program knows version {known}")]
    NewerRecord {
        /// The record's key.
        key: String,
        /// The version found.
        found: u8,
        /// The version that this program writes.
        known: u8,
    },
    /// A record cannot be decoded.
    #[error("record {key:?} is damaged")]
    DamagedRecord {
        /// The record's key.
        key: String,
        /// What the decoder said; `None` for an empty record.
        source: Option<serde_json::Error>,
    },
    /// Another process held the database for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A name holds a character that keys cannot.
    #[error("name {name:?} is empty or holds a NUL byte")]
    Name {
        /// The name.
        name: String,
    },
}

/// The way to the database, which is closed most of the time.
#[derive(Debug, Clone)]
pub struct Meta {
    path: PathBuf,
    locks: Locks,
    events: Events,
}

impl Meta {
    pub(crate) fn new(path: PathBuf, locks: Locks, events: Events) -> Self {
        Self {
            path,
            locks,
            events,
        }
    }

    /// Runs a closure over the records as they are now.
    pub(crate) fn read<T, E: From<MetaError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run(false, work)
    }

    /// Runs a closure and commits what it has changed, unless it fails; then publishes
    /// the events of the transaction.
    ///
    /// When this returns `Ok`, the changes survive a crash of the machine.
    pub(crate) fn write<T, E: From<MetaError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.run(true, work)
    }

    fn run<T, E: From<MetaError>>(
        &self,
        is_write: bool,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock = self
            .locks
            .exclusive(&LockName::Meta, PATIENCE)
            .map_err(MetaError::from)?;
        let db = self.open()?;
        let transaction = Transaction::new(db.clone(), self.path.clone());
        let value = work(&transaction)?;
        let (batch, events) = transaction.into_changes();
        if is_write && let Some(batch) = batch {
            db.apply_batch(batch).map_err(self.failed("write"))?;
            db.flush().map_err(self.failed("flush"))?;
            self.sync().map_err(|source| MetaError::Sync {
                path: self.path.clone(),
                source,
            })?;
        }
        drop(db);
        if is_write {
            // Still under the lock, so that events come in the order of commits.
            self.events.publish(events);
        }
        drop(lock);
        Ok(value)
    }

    fn open(&self) -> Result<sled::Db, MetaError> {
        let start = Instant::now();
        loop {
            let opened = sled::Config::new()
                .path(&self.path)
                .cache_capacity(CACHE)
                .flush_every_ms(None)
                .mode(sled::Mode::HighThroughput)
                .open();
            match opened {
                // sled's threads let go of its lock a moment after the value is dropped.
                Err(sled::Error::Io(_)) if start.elapsed() < LINGER => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => return other.map_err(self.failed("open")),
            }
        }
    }

    /// sled 0.34 flushes by `sync_file_range`, which leaves the disk's cache and the
    /// file's own metadata out.
    fn sync(&self) -> io::Result<()> {
        File::open(self.path.join("db"))?.sync_all()?;
        publish::sync_directory(&self.path)
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(sled::Error) -> MetaError {
        let path = self.path.clone();
        move |source| MetaError::Database {
            operation,
            path,
            source,
        }
    }
}

#[cfg(test)]
mod tests;

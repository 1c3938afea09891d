//! The records: which images, snapshots and blobs there are, and their labels.
//!
//! This module alone knows that the database is sled. sled lets one process in,
//! so the database is opened for the moment of a transaction: [`Meta::read`] and
//! [`Meta::write`] take the lock, open, run a closure, and close. Nothing that
//! waits for a network or a disk's worth of data may happen in the closure. An
//! open with a commit costs about five milliseconds, so callers collect what
//! belongs together into one transaction. A process that makes many keeps it open in between
//! ([`kept`]).
//!
//! A transaction's changes are applied as one batch and are on the disk when
//! `write` returns: first in the [`journal`], from which a database that was damaged or has
//! lost its end is made good, then in the database, which may be written later. What is in the store but in no record
//! is garbage.

mod database;
mod dump;
mod frame;
mod journal;
mod kept;
mod key;
mod namespace;
mod record;
mod recording;
mod remake;
mod reserve;
mod survey;
mod transaction;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::events::Events;
use crate::store::{FileLock, LockError, LockName, Locks};

use database::Database;
use journal::{End, Journal};
use record::CommitCounter;
use reserve::Reserve;

pub use database::Damage;
pub(crate) use dump::{AllRecords, Dump, NamespaceRecords};
pub(crate) use journal::Stamp;
pub use namespace::{Namespace, NamespaceNameError};
#[cfg(test)]
pub(crate) use record::Roots;
pub(crate) use record::SnapshotCounter;
pub use record::{
    ContentRecord, ImageRecord, Kind, Labels, LeaseRecord, NamespaceRecord, SnapshotId,
    SnapshotRecord, Usage,
};
pub(crate) use survey::Survey;
use transaction::Changes;
pub(crate) use transaction::Transaction;

pub(crate) use kept::Kept;

/// The name of [`CommitCounter`] among the shared records.
const COMMITS: &str = "commits";
/// How long a transaction waits for those of other processes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why records could not be read or changed.
#[derive(Debug, Error)]
pub enum MetaError {
    /// A system call on the database failed.
    #[error("{operation} database {}", path.display())]
    Database {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The database's directory.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The database's files are not what it has written.
    #[error("database {} cannot be read", path.display())]
    Damaged {
        /// The database's directory.
        path: PathBuf,
        /// What is wrong.
        source: Damage,
    },
    /// A file of the database could not be moved.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The journal could not be read or written.
    #[error("{operation} journal {}", path.display())]
    Journal {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The journal.
        path: PathBuf,
        /// The failure; `InvalidData` when it is damaged.
        source: io::Error,
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
    kept: Arc<Kept>,
}

impl Meta {
    pub(crate) fn new(path: PathBuf, locks: Locks, events: Events, kept: Arc<Kept>) -> Self {
        Self {
            path,
            locks,
            events,
            kept,
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

    /// Returns what is another after each change of records; `None` where that cannot be
    /// told. Records that are read after it are at least as new.
    pub(crate) fn stamp(&self) -> Result<Option<Stamp>, MetaError> {
        let journal = Journal::beside(&self.path);
        journal.stamp().map_err(failed(&journal, "stat"))
    }

    fn run<T, E: From<MetaError>>(
        &self,
        is_write: bool,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.kept.is_on() {
            return self.run_kept(is_write, work);
        }
        self.with_database(|database, journal, end| {
            let transaction = Transaction::new(database).recorded(journal, end);
            let value = work(&transaction)?;
            if is_write {
                transaction.note_if_first()?;
            }
            kept::sync_directories(&transaction.directories())
                .map_err(failed(journal, "sync what comes before"))?;
            let (changes, events) = transaction.into_changes();
            if is_write && !changes.is_empty() {
                Self::commit(database, journal, end, changes)?;
            }
            if is_write {
                // Still under the lock, so that events come in the order of commits.
                self.events.publish(events);
            }
            Ok(value)
        })
    }

    /// Opens the database, which has all that the journal has, for the moment of a closure.
    fn with_database<T, E: From<MetaError>>(
        &self,
        work: impl FnOnce(&Database, &Journal, Option<End>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut kept = self.kept.open();
        *kept = None;
        let _lock = self.lock()?;
        let _room = Reserve::beside(&self.path).lend();
        let journal = Journal::beside(&self.path);
        let database = self.open(&journal)?;
        let end = Self::catch_up(&database, &journal)?;
        work(&database, &journal, end)
    }

    fn lock(&self) -> Result<FileLock, MetaError> {
        if let Some(lock) = self.locks.try_exclusive(&LockName::Meta)? {
            return Ok(lock);
        }
        // So that who keeps it gives it up.
        let wanted = self.wanted()?;
        wanted.share_in_a_moment()?;
        Ok(self.locks.exclusive(&LockName::Meta, PATIENCE)?)
    }

    /// Returns the lock that is held shared by who waits for the database.
    fn wanted(&self) -> Result<FileLock, MetaError> {
        Ok(FileLock::open(self.path.with_extension("wanted"), true)?)
    }

    /// Makes the changes again that the journal has and the database has lost. Returns the
    /// end of the journal; `None` if that is the one that has lost some.
    fn catch_up(database: &Database, journal: &Journal) -> Result<Option<End>, MetaError> {
        let failed = failed(journal, "read");
        let known = commits(database)?;
        let Some(end) = journal.end().map_err(&failed)? else {
            return Ok(None);
        };
        if end.sequence <= known {
            return Ok((end.sequence == known).then_some(end));
        }
        tracing::warn!(
            from = known,
            to = end.sequence,
            "the database has lost changes; they are made again"
        );
        let mut changes = Changes::new();
        for frame in journal.frames_after(known, end).map_err(failed)? {
            if frame.is_whole {
                let old = database.scan(b"")?;
                changes = old.into_iter().map(|(key, _)| (key, None)).collect();
            }
            changes.extend(frame.changes);
        }
        count(&mut changes, end.sequence)?;
        database.apply(changes)?;
        Ok(Some(end))
    }

    fn commit(
        database: &Database,
        journal: &Journal,
        end: Option<End>,
        mut changes: Changes,
    ) -> Result<(), MetaError> {
        let failed = failed(journal, "write");
        let end = if let Some(end) = end {
            end
        } else {
            let all = database.scan(b"")?.into_iter().collect();
            journal.restart(commits(database)?, &all).map_err(&failed)?
        };
        count(&mut changes, end.sequence + 1)?;
        journal.append(end, &changes).map_err(&failed)?;
        if let Err(error) = database.apply(changes) {
            // Or the next transaction would make the changes after all.
            journal.take_back(end).map_err(failed)?;
            return Err(error);
        }
        if journal.is_long().map_err(&failed)? {
            let all = database.scan(b"")?.into_iter().collect();
            if let Err(error) = journal.restart(end.sequence + 1, &all) {
                // The long one serves as well.
                tracing::debug!(%error, "begin the journal anew");
            }
        }
        Ok(())
    }
}

fn failed(journal: &Journal, operation: &'static str) -> impl Fn(io::Error) -> MetaError + use<> {
    let path = journal.path().to_owned();
    move |source| MetaError::Journal {
        operation,
        path: path.clone(),
        source,
    }
}

/// Returns how many transactions the database has seen.
fn commits(database: &Database) -> Result<u64, MetaError> {
    let key = commits_key()?;
    let bytes = database.find(&key)?;
    let counter: Option<CommitCounter> = bytes
        .map(|bytes| record::decode(&key, &bytes))
        .transpose()?;
    Ok(counter.map_or(0, |counter| counter.last))
}

/// Adds the number of the last transaction to its changes.
fn count(changes: &mut Changes, last: u64) -> Result<(), MetaError> {
    let key = commits_key()?;
    let bytes = record::encode(&key, &CommitCounter { last })?;
    changes.insert(key, Some(bytes));
    Ok(())
}

fn commits_key() -> Result<Vec<u8>, MetaError> {
    key::Table::Counters.key(&Namespace::shared(), COMMITS)
}

#[cfg(test)]
mod tests;

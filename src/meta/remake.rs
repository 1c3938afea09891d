//! A new database, in the place of one that cannot be read or of none.

use std::fs;
use std::io;
use std::path::Path;

use super::database::Database;
use super::journal::{Journal, Records};
use super::reserve::Reserve;
use super::survey::is_readable;
use super::transaction::Transaction;
use super::{Meta, MetaError, commits, count, failed};
use crate::publish;

impl Meta {
    /// Makes the database anew from the journal, and from what is left of the old one
    /// where the journal cannot be read to its end. Then `complete` adds what else is known;
    /// it is told whether nothing is missing. The old files are moved to `aside`.
    pub(crate) fn remake<E: From<MetaError>>(
        &self,
        aside: &Path,
        complete: impl FnOnce(&Transaction<'_>, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut kept = self.kept.open();
        *kept = None;
        let _lock = self.lock()?;
        let _room = Reserve::beside(&self.path).lend();
        let journal = Journal::beside(&self.path);
        let known = known(&self.path, &journal)?;
        let fresh = self.path.with_extension("new");
        let database = begin_with(&fresh, known.records)?;
        let transaction = Transaction::new(&database);
        complete(&transaction, known.is_whole)?;
        let (mut changes, _) = transaction.into_changes();
        let sequence = known.sequence + 1;
        count(&mut changes, sequence)?;
        database.apply(changes)?;
        let all: Records = database.scan(b"")?.into_iter().collect();
        drop(database);

        publish::create_private(aside).map_err(failed_on("create", aside))?;
        // From here on the journal alone is enough, whenever a crash comes.
        if journal.path().exists() {
            let old = aside.join("meta.journal");
            fs::hard_link(journal.path(), &old).map_err(failed_on("link", &old))?;
        }
        journal
            .restart(sequence, &all)
            .map_err(failed(&journal, "write"))?;
        if self.path.exists() {
            let old = aside.join("meta.sled");
            fs::rename(&self.path, &old).map_err(failed_on("set aside", &self.path))?;
        }
        Ok(self.publish(&fresh)?)
    }

    /// Opens the database. One that is damaged, as sled leaves it when the disk is full or
    /// the process is killed at the wrong moment, is made anew if the journal has it all.
    pub(super) fn open(&self, journal: &Journal) -> Result<Database, MetaError> {
        self.create(journal)?;
        let opened = Database::open(&self.path);
        let Err(error @ MetaError::Damaged { .. }) = opened else {
            return opened;
        };
        if !journal.path().exists() {
            return Err(error);
        }
        let (records, _, is_whole) = journal.fold().map_err(failed(journal, "read"))?;
        if !is_whole {
            return Err(error);
        }
        tracing::warn!(%error, "the database is made anew from its journal");
        self.replace(records)?;
        Database::open(&self.path)
    }

    /// Makes an empty database where there is none, at once, and with a journal: sled does
    /// not read what it has only begun to make.
    fn create(&self, journal: &Journal) -> Result<(), MetaError> {
        let is_there = self.path.try_exists();
        if is_there.map_err(failed_on("stat", &self.path))? {
            return Ok(());
        }
        let fresh = self.path.with_extension("new");
        drop(begin(&fresh)?);
        if !journal.path().exists() {
            let begun = journal.restart(0, &Records::new());
            begun.map_err(failed(journal, "write"))?;
        }
        self.publish(&fresh)
    }

    /// Puts a database with these records, the number of the last transaction among them, in
    /// the place of one that cannot be read.
    fn replace(&self, records: Records) -> Result<(), MetaError> {
        let fresh = self.path.with_extension("new");
        drop(begin_with(&fresh, records)?);
        fs::remove_dir_all(&self.path).map_err(failed_on("remove", &self.path))?;
        self.publish(&fresh)
    }

    fn publish(&self, fresh: &Path) -> Result<(), MetaError> {
        fs::rename(fresh, &self.path).map_err(failed_on("publish", &self.path))?;
        let root = self.path.parent().unwrap_or(Path::new("/"));
        publish::sync_directory(root).map_err(failed_on("sync", root))
    }

    /// Begins the journal anew.
    pub(crate) fn begin_journal(&self) -> Result<(), MetaError> {
        self.with_database(|database, journal, _| {
            let all = database.scan(b"")?.into_iter().collect();
            let begun = journal.restart(commits(database)?, &all);
            begun.map(drop).map_err(failed(journal, "write"))
        })
    }
}

/// Begins a database, in place of one that was begun and left.
fn begin(fresh: &Path) -> Result<Database, MetaError> {
    match fs::remove_dir_all(fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed_on("remove", fresh)(error))
        }
        _ => Database::open(fresh),
    }
}

/// Begins a database that has these records.
fn begin_with(fresh: &Path, records: Records) -> Result<Database, MetaError> {
    let database = begin(fresh)?;
    let records = records.into_iter();
    database.apply(records.map(|(key, bytes)| (key, Some(bytes))))?;
    Ok(database)
}

fn failed_on(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> MetaError + use<> {
    let path = path.to_owned();
    move |source| MetaError::Io {
        operation,
        path: path.clone(),
        source,
    }
}

/// What is known of the records.
#[derive(Debug, Default)]
struct Known {
    records: Records,
    sequence: u64,
    is_whole: bool,
}

fn known(path: &Path, journal: &Journal) -> Result<Known, MetaError> {
    let mut known = Known::default();
    if journal.path().exists() {
        let (records, sequence, is_whole) = journal.fold().map_err(failed(journal, "read"))?;
        known = Known {
            records,
            sequence,
            is_whole: is_whole && sequence > 0,
        };
    }
    if !known.is_whole && path.exists() {
        let read = Database::open(path).and_then(|old| Ok((commits(&old)?, old.scan(b"")?)));
        match read {
            Ok((sequence, records)) => {
                known.records.extend(records);
                known.sequence = known.sequence.max(sequence);
            }
            Err(error) => tracing::debug!(%error, "nothing is left of the old database"),
        }
    }
    known.records.retain(|key, bytes| is_readable(key, bytes));
    Ok(known)
}

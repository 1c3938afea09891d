//! A new database in the place of one that cannot be read.

use std::fs;
use std::io;
use std::path::Path;

use super::database::Database;
use super::journal::{Journal, Records};
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
        let _lock = self.lock()?;
        let journal = Journal::beside(&self.path);
        let known = known(&self.path, &journal)?;
        let fresh = self.path.with_extension("new");
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| MetaError::Io {
                operation,
                path,
                source,
            }
        };
        match fs::remove_dir_all(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove", &fresh)(error).into());
            }
            _ => {}
        }
        let database = Database::open(&fresh)?;
        let records = known.records.into_iter();
        database.apply(records.map(|(key, bytes)| (key, Some(bytes))))?;
        let transaction = Transaction::new(&database);
        complete(&transaction, known.is_whole)?;
        let (mut changes, _) = transaction.into_changes();
        let sequence = known.sequence + 1;
        count(&mut changes, sequence)?;
        database.apply(changes)?;
        let all: Records = database.scan(b"")?.into_iter().collect();
        drop(database);

        publish::create_private(aside).map_err(io("create", aside))?;
        // From here on the journal alone is enough, whenever a crash comes.
        if journal.path().exists() {
            let old = aside.join("meta.journal");
            fs::hard_link(journal.path(), &old).map_err(io("link", &old))?;
        }
        journal
            .restart(sequence, &all)
            .map_err(failed(&journal, "write"))?;
        if self.path.exists() {
            let old = aside.join("meta.sled");
            fs::rename(&self.path, &old).map_err(io("set aside", &self.path))?;
        }
        fs::rename(&fresh, &self.path).map_err(io("publish", &self.path))?;
        let root = self.path.parent().unwrap_or(Path::new("/"));
        publish::sync_directory(root).map_err(io("sync", root))?;
        Ok(())
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

//! The database, kept open between the transactions of a process that makes many.
//!
//! Such a process has the lock of the database all the time. Who else wants it says so
//! by another lock (`meta.wanted`) and gets it after the transaction that is under
//! way; and it is given up when it was not used for a moment.
//!
//! A transaction is in the journal when it ends, and [`Kept::make_durable`] waits until that is on
//! the disk: one write to the disk does for all that have ended by then. Others see its
//! changes before; what they do on top of them is on the disk after them. If the write fails, the
//! caller is told, and what it has changed may come to be all the same. The database itself
//! is written when it is closed, and has what the journal has if that never comes to be.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::database::Database;
use super::journal::{End, Journal, Records};
use super::reserve::Reserve;
use super::transaction::{Changes, Transaction};
use super::{Meta, MetaError, commits, count, failed};
use crate::publish::{self, Rounds};
use crate::store::FileLock;

/// How long the database stays open unused.
const REST: Duration = Duration::from_millis(200);
/// How often is looked whether others want it.
const LOOK: Duration = Duration::from_millis(10);
/// How long others have to take it once it is closed.
const COURTESY: Duration = Duration::from_millis(200);

/// What a process keeps between its transactions.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    is_on: AtomicBool,
    open: Mutex<Option<Open>>,
    opened: Condvar,
    rounds: Rounds<Waiting>,
}

/// A database that is open, with all that the journal has.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) database: Database,
    /// `None` where the journal has lost some.
    pub(super) end: Option<End>,
    /// The journal that is written to; `None` before the first time, and after it was begun
    /// anew.
    pub(super) file: Option<Arc<File>>,
    pub(super) last_used: Instant,
    /// Last, so that it is let go of last.
    pub(super) _lock: FileLock,
}

/// What is to be on the disk.
#[derive(Debug, Default)]
struct Waiting {
    journals: Vec<Arc<File>>,
    /// Directories whose entries the journal names.
    directories: BTreeSet<PathBuf>,
}

impl Open {
    fn all(&self) -> Result<Records, MetaError> {
        Ok(self.database.scan(b"")?.into_iter().collect())
    }

    /// Returns whether nobody has used the database for a while.
    fn is_resting(&self) -> bool {
        self.last_used.elapsed() >= REST
    }
}

impl Kept {
    /// Has the database kept open from now on; returns whether it was not before.
    pub(super) fn begin(&self) -> bool {
        !self.is_on.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits for the database to be opened.
    pub(super) fn tell_opened(&self) {
        self.opened.notify_all();
    }

    /// Waits until the database is open.
    pub(super) fn wait_until_open(&self) {
        let mut open = self.open();
        while open.is_none() {
            open = self
                .opened
                .wait(open)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until what was written is on the disk: the entries of directories, and the
    /// journal.
    pub(super) fn make_durable(
        &self,
        journal: Arc<File>,
        directories: BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let add = |waiting: &mut Waiting| {
            let mut known = waiting.journals.iter();
            if !known.any(|known| Arc::ptr_eq(known, &journal)) {
                waiting.journals.push(journal);
            }
            waiting.directories.extend(directories);
        };
        self.rounds.join(add, |waiting| waiting.sync())
    }
}

impl Waiting {
    /// Syncs directories and journals at once, which takes hardly longer than one of them. File
    /// systems with a log of their own have the entries on the disk first, as they were made
    /// first; elsewhere a crash may leave a record that nobody was told of without its directory.
    fn sync(&self) -> io::Result<()> {
        let sync_journals = || self.journals.iter().try_for_each(|file| file.sync_data());
        if self.directories.is_empty() {
            return sync_journals();
        }
        thread::scope(|scope| {
            let directories = scope.spawn(|| sync_directories(&self.directories));
            let journals = sync_journals();
            let directories = directories.join();
            directories.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
            journals
        })
    }
}

impl Meta {
    /// Has this process keep the database open between its transactions.
    pub(crate) fn keep_open(&self) {
        if !self.kept.begin() {
            return;
        }
        let meta = self.clone();
        let watch = move || {
            loop {
                meta.kept.wait_until_open();
                std::thread::sleep(LOOK);
                meta.close_if(Open::is_resting);
            }
        };
        let thread = std::thread::Builder::new().name("mica-meta".to_owned());
        if let Err(error) = thread.spawn(watch) {
            // Others wait for the next transaction then.
            tracing::warn!(%error, "watch who wants the database");
        }
    }

    /// As [`Meta::run`], in a process that keeps the database open.
    pub(super) fn run_kept<T, E: From<MetaError>>(
        &self,
        is_write: bool,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut kept = self.kept.open();
        let _room = Reserve::beside(&self.path).lend();
        let open = match kept.take() {
            Some(open) => open,
            None => self.open_to_keep()?,
        };
        let open = kept.insert(open);
        let journal = Journal::beside(&self.path);
        let transaction = Transaction::new(&open.database).recorded(&journal, open.end);
        let value = work(&transaction)?;
        if is_write {
            transaction.note_if_first()?;
        }
        let directories = transaction.directories();
        let (changes, events) = transaction.into_changes();
        open.last_used = Instant::now();
        let mut written = None;
        if is_write && !changes.is_empty() {
            match self.commit_to_keep(open, changes) {
                Ok(file) => written = Some(file),
                Err(error) => {
                    // To be looked at before it is used again.
                    *kept = None;
                    return Err(error.into());
                }
            }
        }
        if is_write {
            // Still under the lock, so that events come in the order of commits.
            self.events.publish(events);
        }
        if self.is_wanted()? {
            close(&mut kept);
        }
        drop(kept);
        if let Some(file) = written {
            let durable = self.kept.make_durable(file, directories);
            durable.map_err(failed(&journal, "sync"))?;
        }
        Ok(value)
    }

    fn open_to_keep(&self) -> Result<Open, MetaError> {
        // Who waits looks every few milliseconds whether it has it.
        let start = Instant::now();
        while self.is_wanted()? && start.elapsed() < COURTESY {
            std::thread::sleep(Duration::from_millis(1));
        }
        let lock = self.lock()?;
        let journal = Journal::beside(&self.path);
        let database = self.open(&journal)?;
        let end = Self::catch_up(&database, &journal)?;
        self.kept.tell_opened();
        Ok(Open {
            database,
            end,
            file: None,
            last_used: Instant::now(),
            _lock: lock,
        })
    }

    /// Writes changes to the journal and the database, but not to the disk; returns the journal.
    fn commit_to_keep(
        &self,
        open: &mut Open,
        mut changes: Changes,
    ) -> Result<Arc<File>, MetaError> {
        let journal = Journal::beside(&self.path);
        let failed = failed(&journal, "write");
        let end = match open.end {
            Some(end) => end,
            None => journal
                .restart(commits(&open.database)?, &open.all()?)
                .map_err(&failed)?,
        };
        let file = match open.file.take() {
            Some(file) => file,
            None => Arc::new(journal.writable().map_err(&failed)?),
        };
        count(&mut changes, end.sequence + 1)?;
        let next = Journal::write(&file, end, &changes).map_err(&failed)?;
        if let Err(error) = open.database.take(changes) {
            // Or the next transaction would make the changes after all.
            journal.take_back(end).map_err(failed)?;
            return Err(error);
        }
        open.end = Some(next);
        if journal.is_long().map_err(&failed)? {
            match journal.restart(next.sequence, &open.all()?) {
                Ok(end) => {
                    open.end = Some(end);
                    return Ok(file);
                }
                // The long one serves as well.
                Err(error) => tracing::debug!(%error, "begin the journal anew"),
            }
        }
        open.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn close_if(&self, is_to_close: impl FnOnce(&Open) -> bool) {
        let is_wanted = self.is_wanted().unwrap_or(true);
        let mut kept = self.kept.open();
        if kept
            .as_ref()
            .is_some_and(|open| is_wanted || is_to_close(open))
        {
            close(&mut kept);
        }
    }

    /// Returns whether another process waits for the database.
    fn is_wanted(&self) -> Result<bool, MetaError> {
        Ok(!self.wanted()?.try_upgrade()?)
    }
}

/// Closes the database, which the journal makes good if that fails.
fn close(kept: &mut Option<Open>) {
    let Some(open) = kept.take() else { return };
    if let Err(error) = open.database.flush() {
        tracing::warn!(%error, "close the database");
    }
}

/// Waits until the entries of directories are on the disk.
pub(super) fn sync_directories(directories: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mut directories = directories.iter();
    directories.try_for_each(|directory| publish::sync_directory(directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::{Labels, Namespace, NamespaceRecord};
    use crate::store::Store;

    fn put(meta: &Meta, name: &str) {
        let record = NamespaceRecord {
            name: name.to_owned(),
            labels: Labels::new(),
        };
        let namespace: Namespace = name.parse().unwrap();
        let written: Result<(), MetaError> =
            meta.write(|transaction| transaction.put(&namespace, name, &record));
        written.unwrap();
    }

    fn count_all(meta: &Meta) -> usize {
        let count: Result<_, MetaError> =
            meta.read(|transaction| Ok(transaction.namespaces()?.len()));
        count.unwrap()
    }

    #[test]
    fn others_have_the_database_in_between() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Store::open(directory.path()).unwrap().meta();
        let other = Store::open(directory.path()).unwrap().meta();
        keeper.keep_open();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let keeper = &keeper;
                scope.spawn(move || {
                    for number in 0..25 {
                        put(keeper, &format!("kept-{thread}-{number}"));
                    }
                });
            }
            for number in 0..5 {
                put(&other, &format!("other-{number}"));
            }
        });
        assert_eq!(count_all(&keeper), 105);
        assert_eq!(count_all(&other), 105);
    }

    #[test]
    fn what_has_ended_is_in_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let meta = store.meta();
        meta.keep_open();
        let journal = Journal::beside(&meta.path);
        for number in 0..5 {
            put(&meta, &format!("n-{number}"));
            let (records, sequence, is_whole) = journal.fold().unwrap();
            assert!(is_whole);
            assert_eq!(sequence, number + 1);
            let name = format!("n-{number}");
            let has = |key: &Vec<u8>| String::from_utf8_lossy(key).contains(&name);
            assert!(records.keys().any(has));
        }
    }
}

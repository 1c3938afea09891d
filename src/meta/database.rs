//! sled, held at arm's length: its panics become errors.
//!
//! sled 0.34 answers some kinds of damage to its files by a panic, in the caller's thread
//! or in one of its own. Every call goes through [`guarded`], which catches those of the
//! caller's thread and keeps all of them off the user's screen. A value whose call has
//! panicked is forgotten rather than dropped: its destructor would wait for what no
//! thread does any more.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::MetaError;
use crate::publish;

/// How long sled's own lock may outlive the process or value that held it.
const LINGER: Duration = Duration::from_secs(2);
/// sled's page cache in bytes; the whole database is a few hundred kilobytes.
const CACHE: u64 = 4 << 20;
/// What the names of sled's threads begin with.
const THREADS: &str = "sled";

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What is wrong with the files of the database.
#[derive(Debug, Error)]
#[error("its files are damaged: {0}")]
pub struct Damage(pub(super) String);

/// A record's key, and its bytes; `None` for one that is removed.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Records with their keys.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// `None` once a call has panicked.
    db: RefCell<Option<sled::Db>>,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, MetaError> {
        let start = Instant::now();
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        loop {
            match guarded(|| config.open()) {
                // sled's threads let go of its lock a moment after the value is dropped.
                Ok(Err(sled::Error::Io(error)))
                    if is_locked(&error) && start.elapsed() < LINGER =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(Ok(db)) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        db: RefCell::new(Some(db)),
                    });
                }
                Ok(Err(error)) => return Err(failed("open", path, error)),
                Err(damage) => return Err(damaged(path, damage)),
            }
        }
    }

    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let found = self.call("read", |db| db.get(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    /// Returns the first key after another.
    pub(super) fn next_key(&self, after: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let found = self.call("read", |db| db.get_gt(after))?;
        Ok(found.map(|(key, _)| key.to_vec()))
    }

    /// Returns all records whose keys begin with `prefix`, sorted.
    pub(super) fn scan(&self, prefix: &[u8]) -> Result<Entries, MetaError> {
        self.call("read", |db| {
            db.scan_prefix(prefix)
                .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        })
    }

    /// Shows all records whose keys begin with `prefix`, sorted, without copying them; the
    /// first failure ends it.
    pub(super) fn visit(
        &self,
        prefix: &[u8],
        mut visitor: impl FnMut(&[u8], &[u8]) -> Result<(), MetaError>,
    ) -> Result<(), MetaError> {
        self.call("read", |db| {
            for entry in db.scan_prefix(prefix) {
                let (key, value) = entry?;
                if let Err(error) = visitor(&key, &value) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?
    }

    /// Applies changes all at once; they are on the disk when this returns.
    pub(super) fn apply(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), MetaError> {
        self.take(changes)?;
        self.flush()
    }

    /// Applies changes all at once; [`Self::flush`] brings them to the disk.
    pub(super) fn take(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), MetaError> {
        let mut batch = sled::Batch::default();
        for (key, change) in changes {
            match change {
                Some(bytes) => batch.insert(key, bytes),
                None => batch.remove(key),
            }
        }
        self.call("write", |db| db.apply_batch(batch))
    }

    /// Waits until all changes are on the disk.
    pub(super) fn flush(&self) -> Result<(), MetaError> {
        self.call("flush", |db| db.flush().map(drop))?;
        sync(&self.path).map_err(|source| MetaError::Sync {
            path: self.path.clone(),
            source,
        })
    }

    fn call<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, MetaError> {
        let Some(db) = self.db.take() else {
            let damage = Damage("an earlier call has failed".to_owned());
            return Err(damaged(&self.path, damage));
        };
        match guarded(|| work(&db)) {
            Ok(result) => {
                self.db.replace(Some(db));
                result.map_err(|error| failed(operation, &self.path, error))
            }
            Err(damage) => {
                std::mem::forget(db);
                Err(damaged(&self.path, damage))
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.db.take();
        // What was acknowledged is on the disk: a failure now loses nothing.
        if let Err(damage) = guarded(|| drop(db)) {
            tracing::debug!(error = %damage, "close the database");
        }
    }
}

/// Calls sled; a panic in this thread is returned, and none is printed.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Damage> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_of_sled = thread::current()
                .name()
                .is_some_and(|name| name.starts_with(THREADS));
            if is_of_sled || IS_GUARDED.get() {
                tracing::debug!(%info, "the database gives up");
            } else {
                print(info);
            }
        }));
    });
    IS_GUARDED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(false);
    result.map_err(|payload| Damage(text(payload.as_ref())))
}

/// Returns the first line of what a panic says.
fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    let line = text.and_then(|text| text.lines().next());
    line.unwrap_or("it cannot be read").to_owned()
}

fn failed(operation: &'static str, path: &Path, source: sled::Error) -> MetaError {
    match source {
        // What the system says; all else is sled's opinion of what it has read.
        sled::Error::Io(error) if error.raw_os_error().is_some() || is_locked(&error) => {
            MetaError::Database {
                operation,
                path: path.to_owned(),
                source: error,
            }
        }
        other => damaged(path, Damage(other.to_string())),
    }
}

fn damaged(path: &Path, source: Damage) -> MetaError {
    MetaError::Damaged {
        path: path.to_owned(),
        source,
    }
}

/// Says whether sled's lock is held; it has no other word for it.
fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().starts_with("could not acquire lock")
}

/// sled 0.34 flushes by `sync_file_range`, which leaves the disk's cache and the file's own
/// metadata out.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path.join("db"))?.sync_all()?;
    publish::sync_directory(path)
}

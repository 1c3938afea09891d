//! Locks between processes: `flock` on files under `locks/`.
//!
//! A lock dies with its holder, so nothing needs repair after `kill -9`. Lock
//! files are never unlinked while the store is in use: two processes could then
//! hold "the same" lock on different files. (The lock of a snapshot lies in the
//! snapshot's directory and goes with it; its number never comes again.) Order,
//! outermost first: store, gc, layer, ingest, snapshot, records, events; a holder never waits for
//! a lock to the left of its own.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use crate::publish;

/// How long a waiter sleeps before it tries again.
const RETRY: Duration = Duration::from_millis(20);
/// How long a lock that was let go may seem held: a child that another thread has just
/// forked has all of its parent's files open until it runs its program.
const MOMENT: Duration = Duration::from_millis(250);

/// A lock could not be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// The lock's file could not be made, opened or locked.
    #[error("lock {}", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// Another process held the lock for all of the time that was allowed.
    #[error("another process has held {} for {} seconds", path.display(), waited.as_secs())]
    TimedOut {
        /// The lock's file.
        path: PathBuf,
        /// How long this process has waited.
        waited: Duration,
    },
}

/// What a lock guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockName {
    /// The store as a whole: shared by its users, exclusive for who replaces its records.
    Store,
    /// The server of the store.
    Server,
    /// The process that serves the views of the store.
    Views,
    /// The database.
    Meta,
    /// The unpacking of one layer; the text is the diff ID as a file name.
    Layer(String),
    /// The download of one blob; the text is the ingest's id.
    Ingest(String),
    /// The spool of events.
    Events,
    /// Garbage collection; the file's time is that of the last one.
    Gc,
}

/// The directory of lock files.
#[derive(Debug, Clone)]
pub(crate) struct Locks {
    directory: PathBuf,
}

/// A lock that is held; dropping it lets go.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
}

impl Locks {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Waits until the lock is held together with other sharers.
    pub(crate) fn shared(&self, name: &LockName) -> Result<FileLock, LockError> {
        let lock = self.open(name)?;
        lock.flock(FlockOperation::LockShared)?;
        Ok(lock)
    }

    /// Waits at most `limit` for the lock held alone.
    pub(crate) fn exclusive(
        &self,
        name: &LockName,
        limit: Duration,
    ) -> Result<FileLock, LockError> {
        let lock = self.open(name)?;
        if retried(limit, || lock.try_upgrade())? {
            return Ok(lock);
        }
        Err(LockError::TimedOut {
            path: lock.path,
            waited: limit,
        })
    }

    /// Returns the lock held alone, or `None` while another holds it.
    pub(crate) fn try_exclusive(&self, name: &LockName) -> Result<Option<FileLock>, LockError> {
        let lock = self.open(name)?;
        Ok(lock.try_upgrade()?.then_some(lock))
    }

    /// Like [`Self::try_exclusive`], but is not misled by a process that was just started.
    pub(crate) fn exclusive_in_a_moment(
        &self,
        name: &LockName,
    ) -> Result<Option<FileLock>, LockError> {
        let lock = self.open(name)?;
        Ok(lock.upgrade_in_a_moment()?.then_some(lock))
    }

    /// Waits without end, and without a thread, for the lock held alone.
    pub(crate) async fn wait_exclusive(&self, name: &LockName) -> Result<FileLock, LockError> {
        let lock = self.open(name)?;
        while !lock.try_upgrade()? {
            tokio::time::sleep(RETRY).await;
        }
        Ok(lock)
    }

    fn open(&self, name: &LockName) -> Result<FileLock, LockError> {
        let path = self.directory.join(match name {
            LockName::Store => "store".to_owned(),
            LockName::Server => "server".to_owned(),
            LockName::Views => "views".to_owned(),
            LockName::Meta => "meta".to_owned(),
            LockName::Layer(id) => format!("layer-{id}"),
            LockName::Ingest(id) => format!("ingest-{id}"),
            LockName::Events => "events".to_owned(),
            LockName::Gc => "gc".to_owned(),
        });
        match publish::create_private(&self.directory) {
            Ok(()) => FileLock::open(path, true),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }
}

impl FileLock {
    /// Opens the file of a lock, which is not held yet.
    pub(crate) fn open(path: PathBuf, create: bool) -> Result<Self, LockError> {
        let opened = File::options()
            .create(create)
            .truncate(false)
            .write(true)
            .open(&path);
        match opened {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }

    /// Tries to hold together with other sharers; `false` when one holds it alone.
    pub(crate) fn try_share(&self) -> Result<bool, LockError> {
        self.try_flock(FlockOperation::NonBlockingLockShared)
    }

    /// Tries to hold alone what is held shared or not at all; `false` when another
    /// holds it. A shared hold may be lost by a failed try.
    pub(crate) fn try_upgrade(&self) -> Result<bool, LockError> {
        self.try_flock(FlockOperation::NonBlockingLockExclusive)
    }

    /// Like [`Self::try_share`], but is not misled by a process that was just started.
    pub(crate) fn share_in_a_moment(&self) -> Result<bool, LockError> {
        retried(MOMENT, || self.try_share())
    }

    /// Like [`Self::try_upgrade`], but is not misled by a process that was just started.
    pub(crate) fn upgrade_in_a_moment(&self) -> Result<bool, LockError> {
        retried(MOMENT, || self.try_upgrade())
    }

    /// Returns when the lock's file was made or last touched.
    pub(crate) fn modified(&self) -> Result<SystemTime, LockError> {
        let modified = self
            .file
            .metadata()
            .and_then(|metadata| metadata.modified());
        modified.map_err(|source| self.broken(source))
    }

    /// Makes the lock's file as new as now.
    pub(crate) fn touch(&self) -> Result<(), LockError> {
        let touched = self.file.set_modified(SystemTime::now());
        touched.map_err(|source| self.broken(source))
    }

    fn try_flock(&self, operation: FlockOperation) -> Result<bool, LockError> {
        match flock(&self.file, operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn flock(&self, operation: FlockOperation) -> Result<(), LockError> {
        loop {
            match flock(&self.file, operation) {
                Err(Errno::INTR) => {}
                other => return other.map_err(|errno| self.failed(errno)),
            }
        }
    }

    fn failed(&self, errno: Errno) -> LockError {
        self.broken(errno.into())
    }

    fn broken(&self, source: io::Error) -> LockError {
        LockError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// Tries until it works or the time is over; says whether it worked.
fn retried(
    limit: Duration,
    attempt: impl Fn() -> Result<bool, LockError>,
) -> Result<bool, LockError> {
    let start = Instant::now();
    while !attempt()? {
        if start.elapsed() >= limit {
            return Ok(false);
        }
        std::thread::sleep(RETRY.min(limit));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_freed_on_drop() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path().join("locks"));
        let name = LockName::Layer("a".into());
        let limit = Duration::from_millis(30);
        let held = locks.exclusive(&name, limit).unwrap();
        locks
            .exclusive(&LockName::Layer("b".into()), limit)
            .unwrap();
        let error = locks.exclusive(&name, limit).unwrap_err();
        assert!(matches!(error, LockError::TimedOut { .. }));
        drop(held);
        locks.exclusive(&name, limit).unwrap();
    }

    #[test]
    fn sharers_keep_the_exclusive_one_out() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path().to_owned());
        let first = locks.shared(&LockName::Store).unwrap();
        let second = locks.shared(&LockName::Store).unwrap();
        assert!(!second.try_upgrade().unwrap());
        drop(first);
        assert!(second.try_upgrade().unwrap());
    }
}

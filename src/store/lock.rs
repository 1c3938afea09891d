//! Locks between processes: `flock` on files under `locks/`.
//!
//! A lock dies with its holder, so nothing needs repair after `kill -9`. The file of a lock
//! with a name of its own (of a layer, of an ingest) is unlinked by its holder when it lets
//! go, or by [`Locks::sweep`] after a holder that was killed. So that no two processes hold
//! "the same" lock on different files, whoever gets such a lock looks whether its file still
//! has the name, and tries again if not. The other files stay. (The lock of a snapshot lies in
//! the snapshot's directory and goes with it; its number never comes again.) Order,
//! outermost first: store, gc, layer, ingest, snapshot, records, events; a holder never waits for
//! a lock to the left of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use super::entries;
use crate::publish;

/// What the names of files begin with whose locks have names of their own.
const LAYER: &str = "layer-";
const INGEST: &str = "ingest-";
/// How long a waiter sleeps before it tries again: little at first, since most locks are held
/// for a moment.
const FIRST_RETRY: Duration = Duration::from_millis(1);
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
    /// Whether the file goes when the lock is let go.
    is_passing: bool,
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
        let held = retried(limit, || self.try_exclusive(name))?;
        held.ok_or_else(|| LockError::TimedOut {
            path: self.path(name),
            waited: limit,
        })
    }

    /// Returns the lock held alone, or `None` while another holds it.
    pub(crate) fn try_exclusive(&self, name: &LockName) -> Result<Option<FileLock>, LockError> {
        loop {
            let mut lock = self.open(name)?;
            if !lock.try_upgrade()? {
                return Ok(None);
            }
            if !name.is_passing() {
                return Ok(Some(lock));
            }
            if lock.has_name()? {
                lock.is_passing = true;
                return Ok(Some(lock));
            }
        }
    }

    /// Like [`Self::try_exclusive`], but is not misled by a process that was just started.
    pub(crate) fn exclusive_in_a_moment(
        &self,
        name: &LockName,
    ) -> Result<Option<FileLock>, LockError> {
        retried(MOMENT, || self.try_exclusive(name))
    }

    /// Waits without end, and without a thread, for the lock held alone.
    pub(crate) async fn wait_exclusive(&self, name: &LockName) -> Result<FileLock, LockError> {
        let mut pause = FIRST_RETRY;
        loop {
            if let Some(lock) = self.try_exclusive(name)? {
                return Ok(lock);
            }
            tokio::time::sleep(pause).await;
            pause = RETRY.min(2 * pause);
        }
    }

    /// Removes the files that killed holders have left.
    pub(crate) fn sweep(&self) -> Result<(), LockError> {
        let failed = |source| LockError::Io {
            path: self.directory.clone(),
            source,
        };
        for file in entries(&self.directory).map_err(failed)? {
            let name = if let Some(id) = file.strip_prefix(LAYER) {
                LockName::Layer(id.to_owned())
            } else if let Some(id) = file.strip_prefix(INGEST) {
                LockName::Ingest(id.to_owned())
            } else {
                continue;
            };
            drop(self.try_exclusive(&name)?);
        }
        Ok(())
    }

    fn path(&self, name: &LockName) -> PathBuf {
        self.directory.join(match name {
            LockName::Store => "store".to_owned(),
            LockName::Server => "server".to_owned(),
            LockName::Views => "views".to_owned(),
            LockName::Meta => "meta".to_owned(),
            LockName::Layer(id) => format!("{LAYER}{id}"),
            LockName::Ingest(id) => format!("{INGEST}{id}"),
            LockName::Events => "events".to_owned(),
            LockName::Gc => "gc".to_owned(),
        })
    }

    fn open(&self, name: &LockName) -> Result<FileLock, LockError> {
        let path = self.path(name);
        match publish::create_private(&self.directory) {
            Ok(()) => FileLock::open(path, true),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }
}

impl LockName {
    /// Says whether it is one of many names, whose file goes with its holder.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Layer(_) | Self::Ingest(_))
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
            Ok(file) => Ok(Self {
                file,
                path,
                is_passing: false,
            }),
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
        Ok(retried(MOMENT, || Ok(self.try_share()?.then_some(())))?.is_some())
    }

    /// Like [`Self::try_upgrade`], but is not misled by a process that was just started.
    pub(crate) fn upgrade_in_a_moment(&self) -> Result<bool, LockError> {
        Ok(retried(MOMENT, || Ok(self.try_upgrade()?.then_some(())))?.is_some())
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

    /// Says whether the file still has its name.
    fn has_name(&self) -> Result<bool, LockError> {
        match fs::metadata(&self.path) {
            Ok(named) => {
                let open = self.file.metadata().map_err(|error| self.broken(error))?;
                Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.broken(error)),
        }
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

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_passing {
            // Before the lock is let go. What stays is in nobody's way.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Tries until it works; `None` if the time is over before.
fn retried<T>(
    limit: Duration,
    attempt: impl Fn() -> Result<Option<T>, LockError>,
) -> Result<Option<T>, LockError> {
    let start = Instant::now();
    let mut pause = FIRST_RETRY;
    loop {
        if let Some(done) = attempt()? {
            return Ok(Some(done));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        std::thread::sleep(pause.min(limit));
        pause = RETRY.min(2 * pause);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[test]
    fn a_lock_with_a_name_of_its_own_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path().to_owned());
        let files = || fs::read_dir(dir.path()).unwrap().count();
        for name in [LockName::Layer("a".into()), LockName::Ingest("b".into())] {
            let held = locks.try_exclusive(&name).unwrap().unwrap();
            assert!(locks.try_exclusive(&name).unwrap().is_none());
            assert_eq!(files(), 1, "{name:?}");
            locks.sweep().unwrap();
            assert_eq!(files(), 1, "{name:?} is held");
            drop(held);
            assert_eq!(files(), 0, "{name:?}");
        }
        File::create(dir.path().join("layer-killed")).unwrap();
        File::create(dir.path().join("meta")).unwrap();
        locks.sweep().unwrap();
        assert_eq!(files(), 1);
    }

    #[test]
    fn one_at_a_time_holds_a_lock_whose_file_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let locks = Locks::new(dir.path().to_owned());
        let name = LockName::Ingest("a".into());
        let (holders, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while rounds.load(Ordering::SeqCst) < 2000 {
                        let Some(held) = locks.try_exclusive(&name).unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        rounds.fetch_add(1, Ordering::SeqCst);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
    }
}

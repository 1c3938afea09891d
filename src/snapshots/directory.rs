//! Directories of snapshots: `snapshots/<id>/{fs,work,lower,lock,info}`.
//!
//! `fs` is the upper of an active snapshot, and the layer of a committed one. `work`, on
//! the same file system, is what overlayfs needs beside an upper; `lower` is empty, and
//! what an upper without a parent lies on. Who uses the directory holds `lock`: alone to
//! write, commit or remove, shared to read. `info` says which snapshot it is ([`describe`](super::describe)).
//!
//! A directory is made under `tmp/` and published before the record that names it;
//! at removal the record goes first. So one without a record is garbage, and a record
//! without one is damage.
//!
//! The name of a new directory is on the disk when the transaction of its record ends. There is
//! nothing in it yet that could be lost; what is written to it is on the disk when the
//! snapshot is committed, before the record says so.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::describe::{Description, INFO};
use super::{SnapshotError, usage};
use crate::meta::{Kind, Namespace, SnapshotCounter, SnapshotId, Transaction, Usage};
use crate::publish::{self, Published, Rounds, Staging};
use crate::store::{self, FileLock};

const FS: &str = "fs";
const WORK: &str = "work";
const LOWER: &str = "lower";
const LOCK: &str = "lock";
/// The counter's name among the shared records.
pub(super) const COUNTER: &str = "snapshots";

/// Owner and mode of the top of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Top {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

/// Keeps others from writing to a snapshot's directory, or from using it at all, while
/// it lives.
#[derive(Debug)]
pub struct Hold {
    /// `None` for a directory that has lost its lock.
    _lock: Option<FileLock>,
}

/// The directories of all snapshots of a store.
#[derive(Debug, Clone)]
pub(crate) struct Directories {
    root: PathBuf,
    tmp: PathBuf,
}

impl Directories {
    pub(crate) fn new(store: &Path) -> Self {
        Self {
            root: store.join("snapshots"),
            tmp: store.join("tmp"),
        }
    }

    pub(super) fn fs(&self, id: SnapshotId) -> PathBuf {
        self.path(id).join(FS)
    }

    pub(super) fn work(&self, id: SnapshotId) -> PathBuf {
        self.path(id).join(WORK)
    }

    /// Returns the empty layer below an upper that has no parent.
    pub(super) fn lower(&self, id: SnapshotId) -> PathBuf {
        self.path(id).join(LOWER)
    }

    pub(crate) fn path(&self, id: SnapshotId) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// Makes the directory of a new snapshot, which has no number yet.
    pub(super) fn stage(
        &self,
        description: &Description,
        top: Option<Top>,
    ) -> Result<Staging, SnapshotError> {
        let staging = Staging::directory(&self.tmp).map_err(failed("create", &self.tmp))?;
        let fill = || {
            File::create_new(staging.path().join(LOCK))?;
            fs::write(staging.path().join(INFO), description.encode()?)?;
            if description.record.kind == Kind::Active {
                // As overlayfs has it: nobody but root need enter.
                make(&staging.path().join(WORK), 0o711)?;
                make(&staging.path().join(LOWER), 0o755)?;
            }
            let fs = staging.path().join(FS);
            make(&fs, 0o755)?;
            if let Some(top) = top {
                chown(&fs, Some(top.uid), Some(top.gid))?;
                fs::set_permissions(&fs, fs::Permissions::from_mode(top.mode))?;
            }
            Ok(())
        };
        fill().map_err(failed("fill", staging.path()))?;
        Ok(staging)
    }

    /// Gives a new directory the next number, for the record of the same transaction.
    ///
    /// A number whose directory is there was given by a transaction that a crash has
    /// cut short; it is garbage.
    pub(super) fn publish(
        &self,
        transaction: &Transaction,
        mut stage: impl FnMut() -> Result<Staging, SnapshotError>,
    ) -> Result<SnapshotId, SnapshotError> {
        let shared = Namespace::shared();
        let counter: Option<SnapshotCounter> = transaction.find(&shared, COUNTER)?;
        let mut last = counter.map_or(SnapshotId(0), |counter| counter.last);
        loop {
            last = SnapshotId(last.0 + 1);
            let path = self.path(last);
            let published = stage()?.publish(&path).map_err(failed("publish", &path))?;
            if published == Published::New {
                break;
            }
        }
        transaction.sync_first(&self.root);
        transaction.put(&shared, COUNTER, &SnapshotCounter { last })?;
        Ok(last)
    }

    /// Removes the directory of a snapshot whose record is gone; it may be gone itself.
    pub(super) fn retire(&self, id: SnapshotId) -> Result<(), SnapshotError> {
        let path = self.path(id);
        match publish::retire_directory(&path, &self.tmp) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed("remove", &path)),
        }
    }

    /// Keeps all others from using the directory.
    pub(crate) fn hold_alone(&self, name: &str, id: SnapshotId) -> Result<Hold, SnapshotError> {
        let lock = self.lock(name, id)?;
        if !lock.upgrade_in_a_moment()? {
            return Err(SnapshotError::InUse(name.to_owned()));
        }
        Ok(Hold { _lock: Some(lock) })
    }

    /// Keeps others from changing what is in the directory.
    pub(crate) fn hold_shared(&self, name: &str, id: SnapshotId) -> Result<Hold, SnapshotError> {
        let lock = self.lock(name, id)?;
        if !lock.share_in_a_moment()? {
            return Err(SnapshotError::InUse(name.to_owned()));
        }
        Ok(Hold { _lock: Some(lock) })
    }

    /// Returns what the tree of a snapshot takes.
    pub(super) fn usage(&self, name: &str, id: SnapshotId) -> Result<Usage, SnapshotError> {
        self.require(name, id)?;
        let fs = self.fs(id);
        usage::measure(&fs).map_err(failed_call("measure", &fs))
    }

    /// Waits until all that was written to the file system of the directories is on the disk,
    /// in a round with others.
    pub(super) fn sync(&self, rounds: &Rounds<()>) -> Result<(), SnapshotError> {
        let sync = |()| Ok(rustix::fs::syncfs(File::open(&self.root)?)?);
        let synced = rounds.join(|()| (), sync);
        synced.map_err(failed("sync", &self.root))
    }

    /// Returns the first part that the directory of a snapshot lacks.
    pub(crate) fn missing_part(
        &self,
        id: SnapshotId,
        is_active: bool,
    ) -> Result<Option<&'static str>, SnapshotError> {
        let parts: &[&str] = if is_active {
            &[FS, LOCK, WORK, LOWER]
        } else {
            &[FS, LOCK]
        };
        for part in parts {
            let path = self.path(id).join(part);
            if !path.try_exists().map_err(failed("stat", &path))? {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// Makes a part of a directory that has nothing in it; others cannot be made again.
    pub(crate) fn complete(&self, id: SnapshotId, part: &str) -> Result<(), SnapshotError> {
        let path = self.path(id).join(part);
        let made = match part {
            WORK => make(&path, 0o711),
            LOWER => make(&path, 0o755),
            LOCK if self.fs(id).exists() => File::create(&path).map(drop),
            _ => Ok(()),
        };
        made.map_err(failed("create", &path))
    }

    /// Fails if the directory is not there.
    pub(super) fn require(&self, name: &str, id: SnapshotId) -> Result<(), SnapshotError> {
        let path = self.path(id);
        match fs::symlink_metadata(path.join(FS)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = name.to_owned();
                Err(SnapshotError::Lost { name, path })
            }
            Err(error) => Err(failed("stat", &path)(error)),
        }
    }

    /// Lists the numbers of all directories.
    pub(crate) fn list(&self) -> Result<Vec<SnapshotId>, SnapshotError> {
        let names = store::entries(&self.root).map_err(failed("list", &self.root))?;
        let id = |name: String| {
            SnapshotId::named(&name).ok_or_else(|| {
                let path = self.root.join(&name);
                SnapshotError::Name { path }
            })
        };
        names.into_iter().map(id).collect()
    }

    /// Says whether a process uses a directory, or seems to in this moment.
    pub(crate) fn is_in_use(&self, id: SnapshotId) -> Result<bool, SnapshotError> {
        match self.lock("", id) {
            Ok(lock) => Ok(!lock.try_upgrade()?),
            // Not even the lock is there, so nobody holds it.
            Err(SnapshotError::Lost { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps all others from using a directory; `None` if one does.
    pub(crate) fn hold_unused(&self, id: SnapshotId) -> Result<Option<Hold>, SnapshotError> {
        match self.hold_alone("", id) {
            Ok(hold) => Ok(Some(hold)),
            Err(SnapshotError::InUse(_)) => Ok(None),
            // Not even the lock is there, so nobody holds it.
            Err(SnapshotError::Lost { .. }) => Ok(Some(Hold { _lock: None })),
            Err(error) => Err(error),
        }
    }

    fn lock(&self, name: &str, id: SnapshotId) -> Result<FileLock, SnapshotError> {
        let path = self.path(id).join(LOCK);
        match path.try_exists() {
            Ok(true) => Ok(FileLock::open(path, false)?),
            Ok(false) => Err(SnapshotError::Lost {
                name: name.to_owned(),
                path: self.path(id),
            }),
            Err(error) => Err(failed("stat", &path)(error)),
        }
    }
}

/// Makes a directory whose mode the process's mask does not change.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> SnapshotError {
    move |source| SnapshotError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

pub(super) fn failed_call(operation: &'static str, path: &Path) -> impl Fn(Errno) -> SnapshotError {
    move |errno| failed(operation, path)(errno.into())
}

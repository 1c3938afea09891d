//! Holds: which layers running processes serve from.
//!
//! A process that shows layers writes their diff IDs into a file of its own under
//! `locks/uses/` and keeps that file locked. The lock ends with the process, so garbage
//! collection can tell the living from the dead without asking anybody. A file that it
//! finds unlocked it removes; a process whose file was removed before it was locked makes
//! another.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{LayerError, Layers, entries, failed};
use crate::oci::DiffId;
use crate::publish;

/// Keeps layers from being removed as garbage while it lives.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    _locked: File,
}

impl Layers {
    /// Keeps layers from being removed as garbage.
    pub fn hold(&self, diff_ids: &[DiffId]) -> Result<Hold, LayerError> {
        publish::create_private(&self.uses).map_err(failed("create", &self.uses))?;
        let lines: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
        let lines = lines.join("\n");
        loop {
            let path = self.uses.join(publish::unique_name());
            let write = || {
                // Whole before it is locked: from then on it counts.
                let mut file = File::create_new(&path)?;
                file.write_all(lines.as_bytes())?;
                flock(&file, FlockOperation::LockExclusive)?;
                Ok(file)
            };
            let locked = write().map_err(|error: io::Error| failed("write", &path)(error))?;
            if path.try_exists().map_err(failed("stat", &path))? {
                return Ok(Hold {
                    path,
                    _locked: locked,
                });
            }
        }
    }

    /// Returns the layers held by running processes, and forgets those of ended ones.
    pub(crate) fn held(&self) -> Result<BTreeSet<DiffId>, LayerError> {
        let mut held = BTreeSet::new();
        for name in entries(&self.uses)? {
            let path = self.uses.join(name);
            let Some(lines) = read_if_locked(&path).map_err(failed("read", &path))? else {
                continue;
            };
            for line in lines.lines() {
                let parsed = line.parse();
                held.insert(parsed.map_err(|source| LayerError::Name {
                    path: path.clone(),
                    source,
                })?);
            }
        }
        Ok(held)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A file that stays is that of an ended process, which the next collection removes.
        drop(fs::remove_file(&self.path));
    }
}

fn read_if_locked(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        // Its process has just ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(String::new())),
        other => other?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Removed while it is locked, so that its maker sees that it is gone.
        Ok(()) => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            removed => removed.map(|()| None),
        },
        Err(Errno::WOULDBLOCK) => io::read_to_string(file).map(Some),
        Err(errno) => Err(errno.into()),
    }
}

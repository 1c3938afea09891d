//! Holds: which layers running processes serve from.
//!
//! A process that shows layers writes their diff IDs into a file of its own under
//! `locks/uses/` and keeps that file locked. The lock ends with the process, so a
//! sweep can tell the living from the dead without asking anybody.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{LayerError, Layers, entries, failed};
use crate::oci::DiffId;
use crate::publish;

/// Keeps layers from being swept while it lives.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    _locked: File,
}

impl Layers {
    /// Keeps layers from being swept. The caller has the store open.
    pub fn hold(&self, diff_ids: &[DiffId]) -> Result<Hold, LayerError> {
        publish::create_private(&self.uses).map_err(failed("create", &self.uses))?;
        let path = self.uses.join(publish::unique_name());
        let lines: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
        let write = || {
            let mut file = File::create_new(&path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            file.write_all(lines.join("\n").as_bytes())?;
            Ok(file)
        };
        let locked = write().map_err(|error: io::Error| failed("write", &path)(error))?;
        Ok(Hold {
            path,
            _locked: locked,
        })
    }

    /// Returns the layers held by running processes, and forgets those of ended
    /// ones. The caller holds the store alone.
    pub(crate) fn held(&self) -> Result<BTreeSet<DiffId>, LayerError> {
        let mut held = BTreeSet::new();
        for name in entries(&self.uses)? {
            let path = self.uses.join(name);
            let Some(lines) = read_if_locked(&path).map_err(failed("read", &path))? else {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
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
        // A file that stays is that of an ended process, which a sweep removes.
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
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => io::read_to_string(file).map(Some),
        Err(errno) => Err(errno.into()),
    }
}

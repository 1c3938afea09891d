//! Records of mounts: one file for each mount point, written by the process that serves it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mica_fuse::session;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::process::Process;
use super::{AccessMode, LayerPlan, MountsError, TransportMode, UpperPlan, failed};
use crate::browse::Browse;
use crate::publish;

/// A mount that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountRecord {
    /// Where, absolute and free of symbolic links.
    #[serde(with = "crate::json_path")]
    pub mountpoint: PathBuf,
    /// The image, where an image was named.
    pub image: Option<String>,
    /// The key of the snapshot.
    pub snapshot: Option<String>,
    /// The layers, uppermost first.
    pub layers: Vec<LayerPlan>,
    /// Where changes go; `None` for a read-only mount.
    #[serde(default)]
    pub upper: Option<UpperPlan>,
    /// What of the store is shown, where it is the store and not one tree.
    #[serde(default)]
    pub browse: Option<Browse>,
    /// Who checks permissions.
    pub access: AccessMode,
    /// How requests come from the kernel; never `Auto` but for mounts of earlier versions.
    #[serde(default)]
    pub transport: TransportMode,
    /// The root of the store.
    #[serde(with = "crate::json_path")]
    pub store: PathBuf,
    /// The process that serves it.
    pub pid: u32,
    /// When that process started, in ticks since the boot: tells it from later ones.
    pub pid_start_time: u64,
    /// The descriptor in that process of what it counts; `None` with earlier versions.
    #[serde(default)]
    pub statistics_descriptor: Option<i32>,
    /// When it was mounted.
    pub created: Timestamp,
    /// The file of its warnings and errors; `None` where they go to a terminal.
    #[serde(with = "crate::json_path::optional", default)]
    pub log: Option<PathBuf>,
}

impl MountRecord {
    /// Returns whether anything can be changed in it.
    pub fn is_writable(&self) -> bool {
        self.upper.is_some() || self.browse.as_ref().is_some_and(|browse| browse.rw)
    }

    /// Returns whether the process that serves it runs.
    pub fn is_served(&self) -> Result<bool, MountsError> {
        self.process()
            .is_running()
            .map_err(failed("look for the process of", &self.mountpoint))
    }

    pub(crate) fn process(&self) -> Process {
        Process {
            pid: self.pid,
            start_time: self.pid_start_time,
        }
    }
}

/// The directory of records.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

impl Records {
    /// Names the directory; it is made when something is written.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Returns the records of all mounts that this process sees, by mount point.
    ///
    /// A record whose process has ended and whose mount is gone is removed. One of a
    /// mount in another mount namespace stays, unlisted, while its process runs.
    pub fn list(&self) -> Result<Vec<MountRecord>, MountsError> {
        let mounted = session::mounts()?;
        let mut records = Vec::new();
        for path in self.paths()? {
            let Some(record) = read(&path)? else { continue };
            let is_mounted = mounted
                .iter()
                .any(|mount| mount.is_ours() && mount.point == record.mountpoint);
            if is_mounted {
                records.push(record);
            } else if !record
                .process()
                .is_running()
                .map_err(failed("look for", &path))?
            {
                remove(&path)?;
            }
        }
        records.sort_by(|a, b| a.mountpoint.cmp(&b.mountpoint));
        Ok(records)
    }

    /// Returns the record of one mount point, whether or not it is still mounted.
    pub fn find(&self, mountpoint: &Path) -> Result<Option<MountRecord>, MountsError> {
        read(&self.path(mountpoint))
    }

    pub(crate) fn write(&self, record: &MountRecord) -> Result<(), MountsError> {
        let path = self.path(&record.mountpoint);
        publish::create_private(&self.directory).map_err(failed("create", &self.directory))?;
        let json =
            serde_json::to_vec_pretty(record).map_err(|source| MountsError::Description {
                path: path.clone(),
                source,
            })?;
        // No mount outlives a crash.
        publish::write_file_for_now(&path, &json).map_err(failed("write", &path))
    }

    /// Removes the record of a mount with its log, unless another process has written a
    /// new one.
    pub(crate) fn remove(&self, record: &MountRecord) -> Result<(), MountsError> {
        let path = self.path(&record.mountpoint);
        match read(&path)? {
            Some(current) if current.process() == record.process() => remove(&path),
            _ => Ok(()),
        }
    }

    /// Returns where the log of a mount lies.
    pub(crate) fn log(&self, mountpoint: &Path) -> PathBuf {
        log_of(&self.path(mountpoint))
    }

    fn path(&self, mountpoint: &Path) -> PathBuf {
        let digest: [u8; 32] = Sha256::digest(mountpoint.as_os_str().as_bytes()).into();
        let name = digest
            .first_chunk()
            .map_or(0, |start| u128::from_be_bytes(*start));
        self.directory.join(format!("{name:032x}.json"))
    }

    fn paths(&self) -> Result<Vec<PathBuf>, MountsError> {
        let failed = failed("list", &self.directory);
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(&failed)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                paths.push(path);
            }
        }
        Ok(paths)
    }
}

/// Returns the record, or `None` if its process has removed it meanwhile, or a crash has left
/// an empty file of it.
fn read(path: &Path) -> Result<Option<MountRecord>, MountsError> {
    let bytes = match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => return Ok(None),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| MountsError::Description {
            path: path.to_owned(),
            source,
        })
}

/// Removes a record; its log goes first, since nothing else leads to it.
fn remove(path: &Path) -> Result<(), MountsError> {
    for path in [&log_of(path), path] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn log_of(record: &Path) -> PathBuf {
    record.with_extension("log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_leaves_of_a_record_is_no_record() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path());
        let point = Path::new("/mnt");
        fs::write(records.path(point), b"").unwrap();
        assert!(records.find(point).unwrap().is_none());
        assert!(records.list().unwrap().is_empty());
    }
}

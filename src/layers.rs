//! The layer store: every layer once, keyed by its diff ID.
//!
//! `layers/<alg>/<hex>/` holds `data` (the uncompressed tar, whose digest *is* the
//! diff ID), `index`, and what is known of their durability:
//!
//! - A layer is unpacked at the speed of memory, and its bytes are not waited for
//!   when it is published: they can be made again from the blob, which is on the
//!   disk by then. `boot` names the boot in which it was written; in that boot the
//!   page cache has every byte, whatever the disk has.
//! - `synced` says that the bytes are on the disk. [`Layers::settle`] syncs layers
//!   that the kernel has written back anyway and leaves that mark.
//! - A layer with neither the mark nor the present boot's name was overtaken by a
//!   crash, or found damaged: it is [`LayerState::Unproven`] until its digest was
//!   computed again, and made anew from its blob when that is wrong.
//!
//! Both marks are positive evidence: one that a crash has eaten costs a check.

mod ahead;
mod hold;
mod plan;
mod shared;
mod unpack;
mod verify;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mica_fuse::{DirectoryLayer, Layer, PackedLayer};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use thiserror::Error;

use crate::oci::{DiffId, Digest, ParseDigestError};
use crate::publish;
use crate::store::{self, FileLock, LockError, LockName, Locks};

pub use hold::Hold;
pub use plan::LayerPlan;
pub(crate) use shared::SharedLayers;
pub(crate) use unpack::{UnpackedLayer, Unpacking};
pub use verify::Verified;

/// The files of a packed layer, as `mica_fuse` writes them.
const DATA: &str = "data";
const INDEX: &str = "index";
/// The mark that the bytes are on the disk.
const SYNCED: &str = "synced";
/// The mark that names the boot in which the layer was written.
const BOOT: &str = "boot";
/// How old a layer is when the kernel has written it back by itself.
pub(crate) const SETTLED: Duration = Duration::from_secs(60);

/// Why a layer could not be stored or used.
#[derive(Debug, Error)]
pub enum LayerError {
    /// A system call on the layer store failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The layer is not in the store.
    #[error("layer {0} is not in the store")]
    NotFound(DiffId),
    /// The unpacked bytes are others than the diff ID stands for.
    #[error("layer {expected} has the wrong content: its diff ID is {found}")]
    DiffId {
        /// The diff ID that the image's config gives.
        expected: DiffId,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The layer is not in the store, or a crash has damaged it.
    #[error("layer {0} is missing or damaged")]
    Unusable(DiffId),
    /// The index is not the one that the data yields.
    #[error("the index of layer {0} does not belong to its data")]
    Index(DiffId),
    /// There is more or less data than the index says.
    #[error("layer {diff_id} has {found} bytes of data, its index says {expected}")]
    Length {
        /// The layer.
        diff_id: DiffId,
        /// The bytes that there are to be.
        expected: u64,
        /// The bytes that there are.
        found: u64,
    },
    /// The archive or the packed layer cannot be used.
    #[error("layer {diff_id}")]
    Packed {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        source: mica_fuse::Error,
    },
    /// A layer that is made here could not be stored.
    #[error("new layer")]
    New(#[source] mica_fuse::Error),
    /// A directory layer cannot be used.
    #[error("layer {}", path.display())]
    Directory {
        /// The layer.
        path: PathBuf,
        /// What is wrong.
        source: mica_fuse::Error,
    },
    /// The name of a directory in the store is not a digest.
    #[error("a directory in {} is not named by a digest", path.display())]
    Name {
        /// The directory it is in.
        path: PathBuf,
        /// What is wrong with the name.
        source: ParseDigestError,
    },
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl LayerError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::Unusable(_)).then_some("pull the image again")
    }
}

/// What is known of a layer without reading its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It is not there.
    Missing,
    /// It is there, whole.
    Ready,
    /// It is there, but a crash may have damaged it, or damage was seen.
    Unproven,
}

/// The layers of a store.
#[derive(Debug, Clone)]
pub struct Layers {
    directory: PathBuf,
    tmp: PathBuf,
    uses: PathBuf,
    locks: Locks,
}

impl Layers {
    pub(crate) fn new(root: &Path, locks: Locks) -> Self {
        Self {
            directory: root.join("layers"),
            tmp: root.join("tmp"),
            uses: root.join("locks/uses"),
            locks,
        }
    }

    /// Returns what is known of a layer.
    pub fn state(&self, diff_id: &DiffId) -> Result<LayerState, LayerError> {
        let path = self.path(diff_id);
        // Either mark says as well that the layer is there.
        if exists(&path.join(SYNCED))? || is_of_this_boot(&path)? {
            return Ok(LayerState::Ready);
        }
        Ok(if exists(&path)? {
            LayerState::Unproven
        } else {
            LayerState::Missing
        })
    }

    /// Opens a layer for reading.
    pub fn open(&self, diff_id: &DiffId) -> Result<PackedLayer, LayerError> {
        let path = self.path(diff_id);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(LayerError::NotFound(diff_id.clone())),
            other => other.map_err(|errno| failed("open", &path)(errno.into()))?,
        };
        PackedLayer::open(directory, diff_id.to_string()).map_err(|source| LayerError::Packed {
            diff_id: diff_id.clone(),
            source,
        })
    }

    /// Opens the layers of a chain, packed ones and directories.
    pub fn open_all(&self, plans: &[LayerPlan]) -> Result<Vec<Layer>, LayerError> {
        ahead::on_all_processors(plans, |plan| self.open_planned(plan))
    }

    /// Opens a layer in either form.
    fn open_planned(&self, plan: &LayerPlan) -> Result<Layer, LayerError> {
        match plan {
            LayerPlan::Packed(diff_id) => Ok(Layer::Packed(Arc::new(self.open(diff_id)?))),
            LayerPlan::Directory(path) => match DirectoryLayer::open(path) {
                Ok(layer) => Ok(Layer::Directory(Arc::new(layer))),
                Err(source) => Err(LayerError::Directory {
                    path: path.clone(),
                    source,
                }),
            },
        }
    }

    /// Opens the data of a layer: its tar, byte for byte.
    pub fn open_data(&self, diff_id: &DiffId) -> Result<File, LayerError> {
        let path = self.path(diff_id);
        if !exists(&path)? {
            return Err(LayerError::NotFound(diff_id.clone()));
        }
        let path = path.join(DATA);
        File::open(&path).map_err(failed("open", &path))
    }

    /// Waits until a layer is on the disk, for one that nobody could make anew.
    pub(crate) fn make_durable(&self, diff_id: &DiffId) -> Result<(), LayerError> {
        let path = self.path(diff_id);
        mark_synced(&path)?;
        for directory in [&path, path.parent().unwrap_or(&self.directory)] {
            publish::sync_directory(directory).map_err(failed("sync", directory))?;
        }
        Ok(())
    }

    /// Lists the diff IDs of all layers, sorted.
    pub fn list(&self) -> Result<Vec<DiffId>, LayerError> {
        let mut found = Vec::new();
        for algorithm in entries(&self.directory)? {
            let path = self.directory.join(&algorithm);
            for hex in entries(&path)? {
                let digest =
                    Digest::from_parts(&algorithm, &hex).map_err(|source| LayerError::Name {
                        path: path.clone(),
                        source,
                    })?;
                found.push(DiffId(digest));
            }
        }
        Ok(found)
    }

    /// Returns the size of a layer's data in bytes.
    pub fn data_size(&self, diff_id: &DiffId) -> Result<u64, LayerError> {
        let path = self.path(diff_id).join(DATA);
        Ok(fs::metadata(&path).map_err(failed("stat", &path))?.len())
    }

    /// Waits until no other process unpacks the layer.
    pub(crate) async fn lock(&self, diff_id: &DiffId) -> Result<FileLock, LayerError> {
        Ok(self
            .locks
            .wait_exclusive(&LockName::Layer(file_name(diff_id)))
            .await?)
    }

    /// Makes the names of all layers published so far survive a crash.
    pub(crate) fn sync(&self) -> Result<(), LayerError> {
        for algorithm in entries(&self.directory)? {
            let path = self.directory.join(algorithm);
            publish::sync_directory(&path).map_err(failed("sync", &path))?;
        }
        Ok(())
    }

    /// Marks layers of this boot as durable that are old enough for a sync to cost
    /// nothing.
    pub(crate) fn settle(&self) -> Result<(), LayerError> {
        for diff_id in self.list()? {
            let path = self.path(&diff_id);
            if exists(&path.join(SYNCED))? || !is_of_this_boot(&path)? {
                continue;
            }
            let modified = fs::metadata(&path)
                .and_then(|m| m.modified())
                .map_err(failed("stat", &path))?;
            let age = SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default();
            if age >= SETTLED {
                mark_synced(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the directory of a layer.
    pub(crate) fn path(&self, diff_id: &DiffId) -> PathBuf {
        self.directory
            .join(diff_id.0.algorithm().name())
            .join(diff_id.0.hex())
    }
}

/// Syncs a layer's files, then says so.
fn mark_synced(path: &Path) -> Result<(), LayerError> {
    for name in [DATA, INDEX] {
        let file = path.join(name);
        File::open(&file)
            .and_then(|f| f.sync_all())
            .map_err(failed("sync", &file))?;
    }
    let mark = path.join(SYNCED);
    File::create(&mark).map_err(failed("create", &mark))?;
    Ok(())
}

fn is_of_this_boot(path: &Path) -> Result<bool, LayerError> {
    let mark = path.join(BOOT);
    match fs::read(&mark) {
        Ok(boot) => Ok(boot == boot_id()?.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("read", &mark)(error)),
    }
}

/// Returns what names this boot of the machine.
fn boot_id() -> Result<&'static str, LayerError> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(known);
    }
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let read = fs::read_to_string(path).map_err(failed("read", path))?;
    Ok(BOOT_ID.get_or_init(|| read))
}

fn file_name(diff_id: &DiffId) -> String {
    format!("{}-{}", diff_id.0.algorithm(), diff_id.0.hex())
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LayerError + 'a {
    move |source| LayerError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

fn exists(path: &Path) -> Result<bool, LayerError> {
    path.try_exists().map_err(failed("stat", path))
}

fn entries(path: &Path) -> Result<Vec<String>, LayerError> {
    store::entries(path).map_err(failed("list", path))
}

#[cfg(test)]
mod tests;

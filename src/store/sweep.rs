//! The sweep: removes what no image and no snapshot needs and no process uses.
//!
//! It marks from the records of images, and of snapshots that no pull has made, and
//! sweeps the rest: records first, in one transaction, files after. It runs only while
//! it holds the store alone; while others use the store it is put off, and the next one
//! finds the same garbage. Downloads that were broken off stay for a day.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::{LockError, Store};
use crate::content::ContentError;
use crate::images::{self, ImageError};
use crate::layers::LayerError;
use crate::meta::{
    ContentRecord, ImageRecord, MetaError, Namespace, SnapshotId, SnapshotRecord, Transaction,
};
use crate::oci::{DiffId, Digest};
use crate::publish;
use crate::snapshots::{self, Directories, SnapshotError};

/// How long a broken-off download may be taken up again.
const INGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a sweep stopped; what it had not reached yet is still there.
#[derive(Debug, Error)]
pub enum SweepError {
    /// A file could not be listed or removed.
    #[error("remove {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// An image's documents cannot be read, so that nothing is known to be garbage.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob could not be listed or removed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A layer could not be listed or removed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A snapshot's directory could not be listed or removed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What a sweep has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Others use the store; nothing was removed.
    pub is_deferred: bool,
    /// Blobs removed.
    pub blobs: u64,
    /// Layers removed.
    pub layers: u64,
    /// Directories of snapshots removed.
    pub snapshots: u64,
    /// The bytes that they took.
    pub bytes: u64,
}

/// What the records need.
#[derive(Debug, Default)]
struct Marked {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<DiffId>,
    directories: BTreeSet<SnapshotId>,
}

impl Store {
    /// Removes what no image needs and no process uses.
    pub fn sweep(&self) -> Result<Swept, SweepError> {
        let result = if self.shared.try_upgrade()? {
            self.sweep_alone()
        } else {
            Ok(Swept {
                is_deferred: true,
                ..Swept::default()
            })
        };
        self.shared.share()?;
        result
    }

    /// Removes what killed processes have left half-made.
    pub(crate) fn tidy(&self) -> Result<(), SweepError> {
        let path = self.root.join("tmp");
        publish::sweep_tmp(&path).map_err(|source| SweepError::Io { path, source })
    }

    fn sweep_alone(&self) -> Result<Swept, SweepError> {
        self.tidy()?;
        self.expire_ingests()?;
        let marked = self.mark()?;
        let mut swept = Swept::default();
        for digest in self.content().digests()? {
            if !marked.blobs.contains(&digest) {
                swept.bytes += self.content().remove(&digest)?;
                swept.blobs += 1;
            }
        }
        let held = self.layers().held()?;
        for diff_id in self.layers().list()? {
            if !marked.layers.contains(&diff_id) && !held.contains(&diff_id) {
                swept.bytes += self.layers().remove(&diff_id)?;
                swept.layers += 1;
            }
        }
        let directories = Directories::new(&self.root);
        let (count, bytes) = directories.sweep(|id| marked.directories.contains(&id))?;
        swept.snapshots = count;
        swept.bytes += bytes;
        Ok(swept)
    }

    /// Finds what the images need and forgets the records of everything else.
    fn mark(&self) -> Result<Marked, SweepError> {
        self.meta().write(|transaction| {
            let mut marked = Marked::default();
            for namespace in transaction.namespaces()? {
                self.mark_namespace(transaction, &namespace, &mut marked)?;
            }
            Ok(marked)
        })
    }

    fn mark_namespace(
        &self,
        transaction: &Transaction,
        namespace: &Namespace,
        marked: &mut Marked,
    ) -> Result<(), SweepError> {
        let (mut blobs, mut chains) = (BTreeSet::new(), BTreeSet::new());
        for image in transaction.list::<ImageRecord>(namespace)? {
            images::reachable(&self.content(), &image.target, &mut blobs, &mut chains)?;
        }
        let all = transaction.list::<SnapshotRecord>(namespace)?;
        let needed = snapshots::needed(&all, &chains);
        for snapshot in all {
            if needed.contains(&snapshot.name) {
                marked.layers.extend(snapshot.layer);
                marked.directories.extend(snapshot.id);
            } else {
                transaction.remove::<SnapshotRecord>(namespace, &snapshot.name)?;
            }
        }
        for record in transaction.list::<ContentRecord>(namespace)? {
            if !blobs.contains(&record.digest) {
                transaction.remove::<ContentRecord>(namespace, &record.digest.to_string())?;
            }
        }
        marked.blobs.extend(blobs);
        Ok(())
    }

    fn expire_ingests(&self) -> Result<(), SweepError> {
        let ingests = self.root.join("content/ingests");
        remove_entries(&ingests, |path| {
            // The data's time is that of the last write; the directory's, of the start.
            let data = path.join("data");
            let modified = fs::metadata(if data.exists() { &data } else { path })?.modified()?;
            Ok(SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default()
                >= INGEST_LIFE)
        })
    }
}

fn remove_entries(
    directory: &Path,
    is_garbage: impl Fn(&Path) -> io::Result<bool>,
) -> Result<(), SweepError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SweepError::Io { path, source }
    };
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if !is_garbage(&path).map_err(failed(&path))? {
            continue;
        }
        let is_directory = fs::symlink_metadata(&path).map_err(failed(&path))?.is_dir();
        let removed = if is_directory {
            publish::remove_tree(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(failed(&path))?;
    }
    Ok(())
}

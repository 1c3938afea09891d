//! The files of the store that no record needs: which there are, and their way out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::collect::Survivors;
use super::error::GcError;
use super::{Node, NodeKind};
use crate::content::Names;
use crate::meta::SnapshotId;
use crate::oci::{DiffId, Digest};
use crate::publish;
use crate::snapshots::{Directories, Hold};
use crate::store::{FileLock, LockName, Store};

/// How long a broken-off download may be taken up again.
pub(crate) const INGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A file or directory of the store that has a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum File {
    Blob(Digest),
    Layer(DiffId),
    Directory(SnapshotId),
    /// By the name of its directory.
    Ingest(String),
}

impl File {
    pub(super) fn path(&self, store: &Store) -> PathBuf {
        match self {
            Self::Blob(digest) => store.content().path(digest),
            Self::Layer(diff_id) => store.layers().path(diff_id),
            Self::Directory(id) => Directories::new(store.root()).path(*id),
            Self::Ingest(id) => store.content().ingest_path(id),
        }
    }

    pub(super) fn node(&self) -> Node {
        match self {
            Self::Blob(digest) => NodeKind::Content.node(digest),
            Self::Layer(diff_id) => NodeKind::Layer.node(diff_id),
            Self::Directory(id) => NodeKind::Directory.node(id),
            Self::Ingest(id) => NodeKind::Ingest.node(id),
        }
    }
}

/// What is there.
#[derive(Debug)]
pub(super) struct Listing {
    blobs: Names,
    layers: Vec<DiffId>,
    directories: Vec<SnapshotId>,
    /// With the references that they tell.
    ingests: Vec<(String, Option<String>)>,
}

impl Listing {
    /// Lists what is there. The kernel keeps a directory locked while it is read.
    pub(super) fn of(store: &Store) -> Result<Self, GcError> {
        Ok(Self {
            blobs: store.content().names()?,
            layers: store.layers().list()?,
            directories: Directories::new(store.root()).list()?,
            ingests: store.content().ingest_directories()?,
        })
    }

    /// Returns what is there and not needed. Some of it may be in use.
    pub(super) fn garbage(
        self,
        store: &Store,
        survivors: &Survivors,
    ) -> Result<Vec<File>, GcError> {
        let Self {
            blobs,
            mut layers,
            mut directories,
            ingests,
        } = self;
        let mut blobs = blobs.digests()?;
        blobs.retain(|digest| !survivors.has(NodeKind::Content, digest));
        layers.retain(|diff_id| !survivors.has(NodeKind::Layer, diff_id));
        directories.retain(|id| !survivors.has(NodeKind::Directory, id));
        let blobs = blobs.into_iter().map(File::Blob);
        let layers = layers.into_iter().map(File::Layer);
        let directories = directories.into_iter().map(File::Directory);
        let mut garbage: Vec<File> = blobs.chain(layers).chain(directories).collect();
        for (id, reference) in ingests {
            let is_leased =
                reference.is_some_and(|reference| survivors.has(NodeKind::Ingest, reference));
            let path = store.content().ingest_path(&id);
            if !is_leased && is_old(&path).map_err(failed(&path))? {
                garbage.push(File::Ingest(id));
            }
        }
        Ok(garbage)
    }
}

/// A file with what keeps others from it; `None` where no more is needed.
type Held<'f> = (&'f File, Option<Keeper>);

#[derive(Debug)]
#[expect(dead_code, reason = "they keep by being there")]
pub(super) enum Keeper {
    Directory(Hold),
    Ingest(FileLock),
}

/// Holds what of the garbage no process uses, as far as it has a lock of its own.
pub(super) fn hold<'f>(store: &Store, files: &'f [File]) -> Result<Vec<Held<'f>>, GcError> {
    let directories = Directories::new(store.root());
    let mut held = Vec::new();
    for file in files {
        let keeper = match file {
            File::Directory(id) => directories.hold_unused(*id)?.map(Keeper::Directory),
            File::Ingest(id) => {
                let lock = store.locks().try_exclusive(&LockName::Ingest(id.clone()))?;
                lock.map(Keeper::Ingest)
            }
            File::Blob(_) | File::Layer(_) => {
                held.push((file, None));
                continue;
            }
        };
        if keeper.is_some() {
            held.push((file, keeper));
        }
    }
    Ok(held)
}

/// Moves garbage into `tmp/`, but for layers that a process shows; returns what and where
/// to.
pub(super) fn set_aside<'f>(
    store: &Store,
    files: &[Held<'f>],
) -> Result<Vec<(&'f File, PathBuf)>, GcError> {
    let shown = store.layers().held()?;
    let tmp = store.tmp();
    let mut moved = Vec::new();
    for (file, _) in files {
        if matches!(file, File::Layer(diff_id) if shown.contains(diff_id)) {
            continue;
        }
        let path = file.path(store);
        match publish::set_aside(&path, &tmp) {
            Ok(away) => moved.push((*file, away)),
            // Its owner has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    Ok(moved)
}

/// Returns the bytes that a file or a tree takes.
pub(super) fn size(path: &Path) -> Result<u64, GcError> {
    let metadata = fs::symlink_metadata(path).map_err(failed(path))?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    match crate::snapshots::measure(path) {
        Ok(usage) => Ok(usage.size),
        // A directory that its owner has closed: it goes without being counted.
        Err(rustix::io::Errno::ACCESS) => Ok(0),
        Err(errno) => Err(failed(path)(errno.into())),
    }
}

/// Says whether a broken-off download was left alone for long.
fn is_old(path: &Path) -> io::Result<bool> {
    // The data's time is that of the last write; the directory's, of the start.
    let data = path.join("data");
    let metadata = match fs::metadata(&data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(path),
        other => other,
    };
    match metadata {
        Ok(metadata) => {
            let age = SystemTime::now().duration_since(metadata.modified()?);
            Ok(age.unwrap_or_default() >= INGEST_LIFE)
        }
        // Finished meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> GcError {
    move |source| GcError::Io {
        path: path.to_owned(),
        source,
    }
}

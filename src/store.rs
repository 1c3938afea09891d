//! The store: one directory that holds everything, and who may work in it.
//!
//! ```text
//! version                    the layout's version
//! uuid   served-at           of the server: its number, and where it listens
//! content/blobs/<alg>/<hex>  content/ingests/<id>/
//! layers/<alg>/<hex>/        snapshots/<id>/{fs,work}/
//! meta.sled/   meta.{journal,wanted,reserve}    damaged/   mounts/   views/   events/   locks/   tmp/
//! ```
//! The directory belongs to one user (0700). Processes agree by locks on files
//! ([`lock`]). Everyone who uses the store holds it shared; who holds it alone may do
//! what no user could bear, such as replacing the records. Garbage collection
//! ([`crate::gc`]) is a user like others; that of older releases needs the store alone, and
//! does not know of leases.

mod attributes;
mod listing;
mod lock;
#[cfg(test)]
mod scale;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use thiserror::Error;

use crate::content::Content;
use crate::events::Events;
use crate::layers::Layers;
use crate::meta::{Kept, Meta};
use crate::publish::{self, Rounds};
use crate::views::Views;

pub(crate) use attributes::try_out as try_attributes;
pub(crate) use listing::{entries, names};
pub use lock::LockError;
pub(crate) use lock::{FileLock, LockName, Locks};

/// The version of the directory layout that this program writes and reads.
const VERSION: u32 = 1;

/// Why the store could not be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or directory of the layout could not be made or read.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// A later release has written this store.
    #[error("store {} has layout version {found}, this program knows version {VERSION}", path.display())]
    Newer {
        /// The root of the store.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// The version file holds something else than a number.
    #[error("{} does not hold a version number", path.display())]
    Version {
        /// The version file.
        path: PathBuf,
    },
    /// There are files in the directory, and they are not a store.
    #[error("{} is not empty and not a store", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Files there can have no extended attributes, which writable snapshots are made of.
    #[error("the file system of {} has no extended attributes", path.display())]
    NoAttributes {
        /// The directory.
        path: PathBuf,
    },
    /// Neither `--root` nor a home directory says where the store is.
    #[error("no store directory: neither XDG_DATA_HOME nor HOME is set")]
    Homeless,
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// An open store, held shared.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    locks: Locks,
    views: Views,
    kept: Arc<Kept>,
    syncs: Arc<Rounds<()>>,
    _shared: FileLock,
}

impl Store {
    /// Opens the store at `root`, and makes an empty one where there is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io {
                operation,
                path,
                source,
            }
        };
        publish::create_private(root).map_err(io("create", root))?;
        let root = fs::canonicalize(root).map_err(io("resolve", root))?;
        check_version(&root)?;
        for name in [
            "tmp",
            "locks",
            "mounts",
            "content/ingests",
            "content/blobs",
            "layers",
            "snapshots",
        ] {
            let path = root.join(name);
            publish::create_private(&path).map_err(io("create", &path))?;
        }
        let locks = Locks::new(root.join("locks"));
        let shared = locks.shared(&LockName::Store)?;
        Ok(Self {
            views: Views::of_store(&root),
            kept: Arc::default(),
            syncs: Arc::default(),
            root,
            locks,
            _shared: shared,
        })
    }

    /// Returns the directory used when none is named: the system's state directory
    /// for root, the user's data directory for others.
    pub fn default_root() -> Result<PathBuf, StoreError> {
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/mica"));
        }
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("mica"))
            .ok_or(StoreError::Homeless)
    }

    /// Returns the root of the store, absolute and free of symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the store of blobs.
    pub fn content(&self) -> Content {
        Content::new(&self.root, self.locks.clone())
    }

    /// Returns the store of layers.
    pub fn layers(&self) -> Layers {
        Layers::new(&self.root, self.locks.clone())
    }

    /// Returns the records.
    pub fn meta(&self) -> Meta {
        let path = self.root.join("meta.sled");
        Meta::new(
            path,
            self.locks.clone(),
            self.events(),
            Arc::clone(&self.kept),
        )
    }

    /// Returns the events.
    pub fn events(&self) -> Events {
        Events::new(&self.root, self.locks.clone())
    }

    /// Returns the rounds in which the whole file system of the store is synced.
    pub(crate) fn syncs(&self) -> Arc<Rounds<()>> {
        Arc::clone(&self.syncs)
    }

    /// Returns the views of the snapshots.
    pub(crate) fn views(&self) -> &Views {
        &self.views
    }

    pub(crate) fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Returns the directory of what is half-made or half-removed.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Returns the directory in which the records of mounts are kept.
    pub fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }
}

fn check_version(root: &Path) -> Result<(), StoreError> {
    let path = root.join("version");
    let io = |operation| {
        let path = path.clone();
        move |source| StoreError::Io {
            operation,
            path,
            source,
        }
    };
    // Two first openers would both find the directory empty, or one the other's files.
    let directory = File::open(root).map_err(io("open"))?;
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|errno| io("lock")(errno.into()))?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for entry in fs::read_dir(root).map_err(io("list"))? {
                let name = entry.map_err(io("list"))?.file_name();
                // A first opener that was killed, and the top of a file system of its own.
                if !name.as_encoded_bytes().starts_with(b".") && name != "lost+found" {
                    return Err(StoreError::Foreign {
                        path: root.to_owned(),
                    });
                }
            }
            if attributes::try_out(root) == Err(Errno::OPNOTSUPP) {
                return Err(StoreError::NoAttributes {
                    path: root.to_owned(),
                });
            }
            return publish::write_file(&path, format!("{VERSION}\n").as_bytes())
                .map_err(io("write"));
        }
        Err(error) => return Err(io("read")(error)),
    };
    match text.trim().parse() {
        Ok(VERSION) => Ok(()),
        Ok(found) if found > VERSION => Err(StoreError::Newer {
            path: root.to_owned(),
            found,
        }),
        _ => Err(StoreError::Version { path }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_store_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let store = Store::open(&root).unwrap();
        assert_eq!(
            fs::metadata(store.root()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read_to_string(root.join("version")).unwrap(), "1\n");
        Store::open(&root).unwrap();
    }

    #[test]
    fn a_store_that_is_not_ours_to_read_is_refused() {
        let table: [(&str, &str, &[u8], &str); 3] = [
            ("a newer version", "version", b"2\n", "has layout version 2"),
            (
                "no number",
                "version",
                b"one",
                "does not hold a version number",
            ),
            (
                "somebody's files",
                "thesis.txt",
                b"",
                "is not empty and not a store",
            ),
        ];
        for (why, name, content, message) in table {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), content).unwrap();
            let error = Store::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(message), "{why}: {error}");
        }
    }
}

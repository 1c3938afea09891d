//! Which store a server has, so that a client does not take it for another one's.
//!
//! Paths and files are those of one mount namespace, and a directory may have many paths: what
//! tells a store is the directory itself, and what a client can leave to the server is only
//! what means the same to both.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use mica_proto::mica::ServedResponse;

use crate::store::Store;

/// A store, as one process sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place(ServedResponse);

impl Place {
    /// Returns what this process sees of a store.
    pub(crate) fn of(store: &Store) -> io::Result<Self> {
        let root = store.root();
        let directory = fs::metadata(root)?;
        Ok(Self(ServedResponse {
            root: root.as_os_str().as_bytes().to_vec(),
            device: directory.dev(),
            inode: directory.ino(),
            mount_namespace: fs::metadata("/proc/self/ns/mnt")?.ino(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    pub(crate) fn into_message(self) -> ServedResponse {
        self.0
    }

    /// Says whether a server has told the same of its store.
    pub(crate) fn is(&self, told: &ServedResponse) -> bool {
        self.0 == *told
    }
}

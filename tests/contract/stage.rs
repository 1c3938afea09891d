//! A store of its own for each case, and the way to its API.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mica::api::Way;
use mica::store::Store;
use mica_proto::types::Mount;
use tempfile::TempDir;

use crate::client::Snapshots;
use crate::server::{Mounted, Server, mount, take_views_away};

/// How the API is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport {
    Socket,
    Memory,
}

/// A store and its API.
pub(crate) struct Stage {
    pub(crate) snapshots: Snapshots,
    pub(crate) way: Way,
    server: Option<Server>,
    directory: TempDir,
}

impl Stage {
    pub(crate) async fn new(transport: Transport) -> Self {
        let directory = TempDir::with_prefix("mica-contract-").unwrap();
        let (way, server) = match transport {
            Transport::Socket => {
                let server = Server::start();
                (server.way().await, Some(server))
            }
            Transport::Memory => {
                let store = Store::open(&directory.path().join("store")).unwrap();
                (Way::in_memory(&Arc::new(store)), None)
            }
        };
        Self {
            snapshots: Snapshots::on(way.clone()),
            way,
            server,
            directory,
        }
    }

    /// Returns the directory of the store.
    pub(crate) fn store(&self) -> PathBuf {
        let own = self.directory.path().join("store");
        self.server.as_ref().map_or(own, Server::store)
    }

    /// Returns the socket of the server.
    pub(crate) fn socket(&self) -> PathBuf {
        self.server.as_ref().unwrap().socket()
    }

    /// Mounts what a call has answered.
    pub(crate) fn mount(&self, mounts: &[Mount]) -> Mounted {
        mount(self.directory.path(), mounts)
    }

    /// Makes a committed snapshot to which something was written.
    pub(crate) async fn commit(&mut self, name: &str, parent: &str, change: impl FnOnce(&Path)) {
        let key = format!("preparing {name}");
        let mounts = self.snapshots.prepare(&key, parent).await.unwrap();
        let mounted = self.mount(&mounts);
        change(mounted.path());
        drop(mounted);
        self.snapshots.commit(name, &key).await.unwrap();
    }

    /// Makes an empty directory as the top of a snapshot is.
    pub(crate) fn flat(&self) -> PathBuf {
        let path = self.directory.path().join("flat");
        fs::create_dir(&path).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        path
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        take_views_away(&self.directory.path().join("store"));
    }
}

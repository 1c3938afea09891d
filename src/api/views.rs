//! What a client mounts to use a snapshot: one `bind` of a directory.
//!
//! A snapshot without a parent is its own directory. Any other is shown by a process of its
//! own below `views/` in the store; it goes on when the server ends, and another server
//! finds it. A snapshot that is committed or removed is taken from there first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mica_fuse::session::{self, Busy, MountError};
use mica_proto::types::Mount;

use crate::layers::LayerPlan;
use crate::meta::{SnapshotId, SnapshotRecord};
use crate::mounts::{self, MountPlan, MountsError, Records};
use crate::publish;
use crate::snapshots::{SnapshotError, SnapshotMounts};
use crate::store::Store;

/// The directories under which the snapshots of a store are shown.
#[derive(Debug, Clone)]
pub(super) struct Views {
    directory: PathBuf,
    records: Records,
    /// Held while a view is made or taken away.
    changing: Arc<Mutex<()>>,
}

impl Views {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            directory: store.root().join("views"),
            records: Records::at(store.mounts()),
            changing: Arc::default(),
        }
    }

    /// Returns what a client mounts of an active snapshot or a view, which is shown when
    /// this returns.
    pub(super) fn mount(
        &self,
        store: &Store,
        key: &str,
        shown: SnapshotMounts,
    ) -> Result<Mount, MountsError> {
        let access = if shown.upper.is_some() { "rw" } else { "ro" };
        let source = match own_directory(&shown) {
            Some(directory) => directory.to_owned(),
            None => self.show(store, key, shown)?,
        };
        Ok(Mount {
            r#type: "bind".to_owned(),
            source: source.to_string_lossy().into_owned(),
            target: String::new(),
            options: vec![access.to_owned(), "rbind".to_owned()],
        })
    }

    /// Takes the view of a snapshot away, unless somebody uses it
    /// ([`SnapshotError::InUse`]).
    pub(super) fn release(&self, record: &SnapshotRecord) -> Result<(), MountsError> {
        let Some(id) = record.id else {
            return Ok(());
        };
        let point = self.point(id);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = || MountsError::from(SnapshotError::InUse(record.name.clone()));
        if is_mounted_elsewhere(&point)? {
            return Err(in_use());
        }
        match mounts::stop(&self.records, &point, Busy::Refuse) {
            Err(MountsError::Mount(MountError::Busy { .. })) => return Err(in_use()),
            Err(MountsError::Mount(MountError::NotMounted { .. } | MountError::Missing { .. })) => {
            }
            other => other?,
        }
        match fs::remove_dir(&point) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(mounts::failed("remove", &point)),
        }
    }

    fn show(
        &self,
        store: &Store,
        key: &str,
        shown: SnapshotMounts,
    ) -> Result<PathBuf, MountsError> {
        let own = shown.own().map(|own| own.id);
        let id = own.ok_or_else(|| SnapshotError::NotMountable(key.to_owned()))?;
        let point = self.point(id);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.records.find(&point)? {
            let running = found.process().is_running();
            let running = running.map_err(mounts::failed("look for the process of", &point))?;
            match (running, is_mounted(&point)?) {
                (true, true) => return Ok(point),
                // Its mount was taken away while somebody used it.
                (true, false) => return Err(SnapshotError::InUse(key.to_owned()).into()),
                (false, true) => mounts::stop(&self.records, &point, Busy::Detach)?,
                (false, false) => {}
            }
        }
        publish::create_private(&self.directory)
            .map_err(mounts::failed("create", &self.directory))?;
        match fs::create_dir(&point) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(mounts::failed("create", &point))?,
        }
        mounts::start(&MountPlan {
            snapshot: Some(key.to_owned()),
            ..MountPlan::of_snapshot(store, shown, point.clone(), key.to_owned())
        })?;
        Ok(point)
    }

    /// Returns where a snapshot with a directory of its own is shown.
    fn point(&self, id: SnapshotId) -> PathBuf {
        self.directory.join(id.to_string())
    }
}

/// Returns the directory of a snapshot that stands on nothing.
fn own_directory(shown: &SnapshotMounts) -> Option<&Path> {
    match (&shown.upper, shown.layers.as_slice(), shown.uses.len()) {
        (Some(upper), [LayerPlan::Directory(_)], 0) => Some(&upper.fs),
        (None, [LayerPlan::Directory(path)], 1) => Some(path),
        _ => None,
    }
}

/// Returns whether a mount of ours is at a path.
fn is_mounted(point: &Path) -> Result<bool, MountsError> {
    let mut mounts = session::mounts()?.into_iter();
    Ok(mounts.any(|mount| mount.point == point && mount.is_ours()))
}

/// Returns whether what is mounted at a path can be seen at another too, as a client's bind.
fn is_mounted_elsewhere(point: &Path) -> Result<bool, MountsError> {
    let mounts = session::mounts()?;
    let is_view = |mount: &&session::Mount| mount.point == point && mount.is_ours();
    let Some(view) = mounts.iter().rfind(is_view) else {
        return Ok(false);
    };
    let is_other = |mount: &session::Mount| mount.device == view.device && mount.point != point;
    Ok(mounts.iter().any(is_other))
}

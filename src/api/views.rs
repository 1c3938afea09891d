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
use crate::meta::{Kind, SnapshotRecord};
use crate::mounts::{
    self, AccessMode, MountPlan, MountsError, Records, TransportMode, UpperPlan, XattrMode,
};
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

    /// Returns what a client mounts; the snapshot is shown when this returns.
    pub(super) fn mount(
        &self,
        store: &Store,
        record: &SnapshotRecord,
        shown: SnapshotMounts,
    ) -> Result<Mount, MountsError> {
        let access = if record.kind == Kind::Active {
            "rw"
        } else {
            "ro"
        };
        let source = match own_directory(record, &shown) {
            Some(directory) => directory,
            None => self.show(store, record, shown)?,
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
        let Some(point) = self.point(record) else {
            return Ok(());
        };
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
        record: &SnapshotRecord,
        shown: SnapshotMounts,
    ) -> Result<PathBuf, MountsError> {
        let point = self.point(record).unwrap_or_default();
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.records.find(&point)? {
            let running = found.process().is_running();
            let running = running.map_err(mounts::failed("look for the process of", &point))?;
            match (running, mount_at(&point)?) {
                (true, Some(_)) => return Ok(point),
                // Its mount was taken away while somebody used it.
                (true, None) => return Err(SnapshotError::InUse(record.name.clone()).into()),
                (false, Some(_)) => mounts::stop(&self.records, &point, Busy::Detach)?,
                (false, None) => {}
            }
        }
        publish::create_private(&self.directory)
            .map_err(mounts::failed("create", &self.directory))?;
        match fs::create_dir(&point) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(mounts::failed("create", &point))?,
        }
        mounts::start(&MountPlan {
            store: store.root().to_owned(),
            records: store.mounts(),
            layers: shown.layers,
            upper: shown.upper.map(|upper| UpperPlan {
                fs: upper.fs,
                work: upper.work,
                xattrs: XattrMode::default_for_process(),
                snapshot: Some(upper.owner),
            }),
            uses: shown.uses,
            mountpoint: point.clone(),
            source: record.name.clone(),
            image: None,
            snapshot: Some(record.name.clone()),
            access: AccessMode::default_for_process(),
            suid_and_dev: None,
            allow_nonempty: false,
            transport: TransportMode::default(),
        })?;
        Ok(point)
    }

    /// Returns where a snapshot with a directory of its own is shown.
    fn point(&self, record: &SnapshotRecord) -> Option<PathBuf> {
        record.id.map(|id| self.directory.join(id.to_string()))
    }
}

/// Returns the directory of a snapshot that stands on nothing.
fn own_directory(record: &SnapshotRecord, shown: &SnapshotMounts) -> Option<PathBuf> {
    if record.parent.is_some() {
        return None;
    }
    match (&shown.upper, shown.layers.as_slice()) {
        (Some(upper), _) => Some(upper.fs.clone()),
        (None, [LayerPlan::Directory(path)]) => Some(path.clone()),
        _ => None,
    }
}

/// Returns the mount of ours at a path.
fn mount_at(point: &Path) -> Result<Option<session::Mount>, MountsError> {
    let mounts = session::mounts()?;
    Ok(mounts
        .into_iter()
        .rfind(|mount| mount.point == point && mount.is_ours()))
}

/// Returns whether what is mounted at a path can be seen at another too, as a client's bind.
fn is_mounted_elsewhere(point: &Path) -> Result<bool, MountsError> {
    let Some(view) = mount_at(point)? else {
        return Ok(false);
    };
    let mounts = session::mounts()?;
    let is_other = |mount: &session::Mount| mount.device == view.device && mount.point != point;
    Ok(mounts.iter().any(is_other))
}

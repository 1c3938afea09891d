//! Mounts that outlive the server: each is served by a process of its own.

use std::path::PathBuf;

use mica_fuse::session::Busy;
use mica_proto::mica::{MountInfo, MountRequest, MountResponse, MountsResponse, UmountRequest};
use tonic::Status;

use super::super::call::Call;
use super::super::convert;
use super::super::status::{Classified, refused, status};
use crate::error_class::ErrorClass;
use crate::images::{ImageError, Images};
use crate::layers::LayerPlan;
use crate::mounts::{self, MountPlan, MountRecord, MountsError, Records};
use crate::oci::Platform;
use crate::snapshots::{SnapshotMounts, Snapshots};
use crate::store::Store;

impl Classified for MountsError {
    fn error_class(&self) -> ErrorClass {
        match self {
            Self::Snapshot(error) => error.class(),
            // What is wrong is the mount point, or what is there already.
            Self::Mount(_) | Self::Daemon(_) => ErrorClass::FailedPrecondition,
            _ => ErrorClass::Internal,
        }
    }
}

/// Mounts an image, or a snapshot.
pub(super) fn mount(call: &Call, request: &MountRequest) -> Result<MountResponse, Status> {
    let mountpoint = absolute(&request.mountpoint)?;
    let what = &request.what;
    let images = Images::new(
        call.store.meta(),
        call.store.content(),
        call.namespace.clone(),
    );
    let (image, snapshot, shown) = match images.resolve(what) {
        Ok(image) => {
            let contents = images.contents_for(&image, &Platform::host());
            let contents = contents.map_err(|error| status(&error))?;
            let shown = SnapshotMounts::of_packed(contents.config.diff_ids());
            let snapshot = contents.chain_id().map(|chain_id| chain_id.to_string());
            (Some(image.name), snapshot, shown)
        }
        Err(ImageError::NotFound(_)) => {
            let snapshots = Snapshots::new(&call.store, call.namespace.clone());
            let shown = if request.rw {
                snapshots.mounts(what)
            } else {
                snapshots.show(what)
            };
            let shown = shown.map_err(|error| status(&error))?;
            (None, Some(what.clone()), shown)
        }
        Err(error) => return Err(status(&error)),
    };
    if request.rw && shown.upper.is_none() {
        let message = format!("{what} is no active snapshot");
        return Err(refused(ErrorClass::InvalidArgument, &message));
    }
    let packed = shown.layers.iter().filter_map(LayerPlan::diff_id);
    let packed: Vec<_> = packed.cloned().collect();
    let required = call.store.layers().require(&packed);
    required.map_err(|error| status(&MountsError::from(error)))?;
    let plan = MountPlan {
        image,
        snapshot,
        ..MountPlan::of_snapshot(&call.store, shown, mountpoint, what.clone())
    };
    let record = mounts::start(&plan).map_err(|error| status(&error))?;
    let mount = Some(message(&record));
    Ok(MountResponse { mount })
}

/// Takes a mount away.
pub(super) fn umount(store: &Store, request: &UmountRequest) -> Result<(), Status> {
    let busy = if request.lazy {
        Busy::Detach
    } else {
        Busy::Refuse
    };
    let mountpoint = absolute(&request.mountpoint)?;
    let records = Records::at(store.mounts());
    mounts::stop(&records, &mountpoint, busy).map_err(|error| status(&error))
}

/// Lists the mounts of the store.
pub(super) fn list(store: &Store) -> Result<MountsResponse, Status> {
    let records = Records::at(store.mounts()).list();
    let records = records.map_err(|error| status(&error))?;
    let mounts = records.iter().map(message).collect();
    Ok(MountsResponse { mounts })
}

/// Reads a path, which cannot be relative to where the client is.
fn absolute(path: &str) -> Result<PathBuf, Status> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("mount point {:?} is not absolute", path.display());
    Err(refused(ErrorClass::InvalidArgument, &message))
}

fn message(record: &MountRecord) -> MountInfo {
    MountInfo {
        mountpoint: record.mountpoint.to_string_lossy().into_owned(),
        image: record.image.clone().unwrap_or_default(),
        snapshot: record.snapshot.clone().unwrap_or_default(),
        rw: record.is_writable(),
        pid: record.pid,
        created_at: Some(convert::timestamp(record.created)),
    }
}

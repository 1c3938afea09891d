//! Mounts that outlive the server: each is served by a process of its own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use mica_fuse::session::Busy;
use mica_proto::mica::{MountInfo, MountRequest, MountResponse, MountsResponse, UmountRequest};
use tonic::Status;

use super::super::call::{Call, blocking};
use super::super::convert;
use super::super::status::{Classified, refused, status};
use crate::error_class::ErrorClass;
use crate::mounts::{self, MountPlan, MountRecord, MountsError, Records};
use crate::named::{Named, Readiness};
use crate::oci::Platform;
use crate::snapshots::Snapshots;
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

    fn hint_of_its_own(&self) -> Option<&str> {
        self.hint()
    }
}

/// Mounts an image or a snapshot, once its layers are there.
pub(super) async fn mount(call: Call, request: MountRequest) -> Result<MountResponse, Status> {
    let mountpoint = absolute(&request.mountpoint)?;
    let (finder, what, rw) = (call.clone(), request.what.clone(), request.rw);
    let named = blocking(move || find(&finder, &what, rw)).await?;
    let made = match named.check(&call.store, false) {
        Ok(Readiness::Ready) => Ok(()),
        Ok(Readiness::ToMake(missing)) => missing.make(&call.store, &call.namespace).await,
        Err(error) => Err(error),
    };
    made.map_err(|error| status(&error))?;
    let plan = MountPlan {
        image: named.image.map(|image| image.name),
        snapshot: named.snapshot,
        ..MountPlan::of_snapshot(&call.store, named.shown, mountpoint, request.what)
    };
    let start = move || mounts::start(&plan).map_err(|error| status(&error));
    let mount = Some(message(&blocking(start).await?));
    Ok(MountResponse { mount })
}

/// Finds what is to be mounted; only an active snapshot can be written to.
fn find(call: &Call, what: &str, rw: bool) -> Result<Named, Status> {
    let named = Named::find(&call.store, &call.namespace, what, &Platform::host());
    let mut named = named.map_err(|error| status(&error))?;
    if rw && named.image.is_none() {
        let snapshots = Snapshots::new(&call.store, call.namespace.clone());
        named.shown = snapshots.mounts(what).map_err(|error| status(&error))?;
    }
    if rw && named.shown.upper.is_none() {
        let message = format!("{what} is no active snapshot");
        return Err(refused(ErrorClass::InvalidArgument, &message));
    }
    Ok(named)
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
fn absolute(path: &[u8]) -> Result<PathBuf, Status> {
    let path = PathBuf::from(OsStr::from_bytes(path));
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("mount point {:?} is not absolute", path.display());
    Err(refused(ErrorClass::InvalidArgument, &message))
}

fn message(record: &MountRecord) -> MountInfo {
    MountInfo {
        mountpoint: record.mountpoint.as_os_str().as_bytes().to_vec(),
        image: record.image.clone().unwrap_or_default(),
        snapshot: record.snapshot.clone().unwrap_or_default(),
        rw: record.is_writable(),
        pid: record.pid,
        created_at: Some(convert::timestamp(record.created)),
    }
}

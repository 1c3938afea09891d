//! Snapshots with what only this store knows of them, and new ones on images.

use std::os::unix::ffi::OsStringExt as _;

use mica_proto::mica::snapshot_mounts_response::{Layer, Upper, Use};
use mica_proto::mica::{
    ListSnapshotsRequest, ListSnapshotsResponse, NewSnapshotRequest, Snapshot,
    SnapshotMountsResponse, SnapshotRequest, SnapshotUsageRequest, SnapshotUsageResponse, Usage,
};
use tonic::Status;

use super::super::call::{Answers, Call, blocking, blocks};
use super::super::convert;
use super::super::snapshots::message;
use super::super::status::status;
use crate::images::ImageError;
use crate::layers::LayerPlan;
use crate::leases::Resource;
use crate::meta::{self, Labels, SnapshotRecord};
use crate::named::{Named, NamedError, Readiness};
use crate::oci::Platform;
use crate::snapshots::{SnapshotError, SnapshotUse, Snapshots};

pub(super) fn stat(call: &Call, request: &SnapshotRequest) -> Result<Snapshot, Status> {
    let record = of(call).stat(&request.key);
    record.map(snapshot).map_err(|error| status(&error))
}

pub(super) fn list(
    call: &Call,
    request: &ListSnapshotsRequest,
) -> Result<Answers<ListSnapshotsResponse>, Status> {
    let filter = convert::filter(&request.filters)?;
    let records = of(call).matching(&filter);
    let records = records.map_err(|error| status(&error))?;
    Ok(blocks(records, |block| {
        let snapshots = block.map(snapshot).collect();
        ListSnapshotsResponse { snapshots }
    }))
}

pub(super) fn usage(
    call: &Call,
    request: SnapshotUsageRequest,
) -> Result<Answers<SnapshotUsageResponse>, Status> {
    let snapshots = of(call);
    let names = if request.key.is_empty() {
        let all = snapshots.list().map_err(|error| status(&error))?;
        all.into_iter().map(|snapshot| snapshot.name).collect()
    } else {
        vec![request.key]
    };
    let mut messages = Vec::new();
    for name in names {
        let usage = snapshots.usage(&name).map_err(|error| status(&error))?;
        let usage = Some(usage_message(usage));
        messages.push(Ok(SnapshotUsageResponse { name, usage }));
    }
    Ok(Box::pin(tokio_stream::iter(messages)))
}

pub(super) fn mounts(
    call: &Call,
    request: &SnapshotRequest,
) -> Result<SnapshotMountsResponse, Status> {
    let shown = of(call).mounts(&request.key);
    let shown = shown.map_err(|error| status(&error))?;
    let layers = shown.layers.into_iter().map(|layer| match layer {
        LayerPlan::Packed(diff_id) => Layer {
            packed: diff_id.to_string(),
            directory: Vec::new(),
        },
        LayerPlan::Directory(path) => Layer {
            packed: String::new(),
            directory: path.into_os_string().into_vec(),
        },
    });
    let upper = shown.upper.map(|upper| Upper {
        fs: upper.fs.into_os_string().into_vec(),
        work: upper.work.into_os_string().into_vec(),
        owner: Some(used(upper.owner)),
    });
    Ok(SnapshotMountsResponse {
        layers: layers.collect(),
        upper,
        uses: shown.uses.into_iter().map(used).collect(),
    })
}

/// Makes a snapshot, once all that it stands on is there.
pub(super) async fn make(call: Call, request: NewSnapshotRequest) -> Result<(), Status> {
    let mut labels = request.labels.clone();
    let mut parent = Some(request.parent.clone()).filter(|parent| !parent.is_empty());
    if let Some(name) = &parent {
        let (finder, name) = (call.clone(), name.clone());
        if let Some(image) = blocking(move || image_of(&finder, &name)).await? {
            let made = match image.check(&call.store, true) {
                Ok(Readiness::ToMake(missing)) => missing.make(&call.store, &call.namespace).await,
                Ok(Readiness::Ready) => Ok(()),
                Err(error) => Err(error),
            };
            made.map_err(|error| status(&error))?;
            labels.extend(image.base_labels());
            parent = image.snapshot;
        }
    }
    blocking(move || create(&call, &request, parent.as_deref(), labels)).await
}

/// Returns the image that is to be stood on; none where it is a snapshot, or nothing.
fn image_of(call: &Call, name: &str) -> Result<Option<Named>, Status> {
    match of(call).stat(name) {
        Ok(_) => return Ok(None),
        Err(SnapshotError::NotFound(_)) => {}
        Err(error) => return Err(status(&error)),
    }
    match Named::find(&call.store, &call.namespace, name, &Platform::host()) {
        Ok(named) => Ok(Some(named)),
        // The snapshots say that there is none.
        Err(NamedError::Image(ImageError::NotFound(_))) => Ok(None),
        Err(error) => Err(status(&error)),
    }
}

fn create(
    call: &Call,
    request: &NewSnapshotRequest,
    parent: Option<&str>,
    labels: Labels,
) -> Result<(), Status> {
    call.lease(|| Resource::snapshot(&request.key))?;
    let make = if request.is_view {
        Snapshots::view
    } else {
        Snapshots::prepare
    };
    make(&of(call), &request.key, parent, labels)
        .map(drop)
        .map_err(|error| status(&error))
}

fn of(call: &Call) -> Snapshots {
    Snapshots::new(&call.store, call.namespace.clone())
}

fn snapshot(mut record: SnapshotRecord) -> Snapshot {
    let layer = record.layer.take();
    Snapshot {
        layer: layer.map(|layer| layer.to_string()).unwrap_or_default(),
        directory: record.id.map(|id| id.0),
        usage: record.usage.map(usage_message),
        info: Some(message(record)),
    }
}

fn usage_message(usage: meta::Usage) -> Usage {
    Usage {
        size: usage.size,
        inodes: usage.inodes,
    }
}

fn used(used: SnapshotUse) -> Use {
    Use {
        namespace: used.namespace.as_str().to_owned(),
        name: used.name,
        directory: used.id.0,
    }
}

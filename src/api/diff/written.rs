//! What a snapshot has changed, as a blob.

use mica_proto::diff::{DiffRequest, DiffResponse};
use tonic::Status;

use super::super::call::Call;
use super::super::convert;
use super::super::status::{refused, status};
use super::{Mounted, declined, mounted};
use crate::content::Blobs;
use crate::diff::{Difference, LayerForm};
use crate::error_class::ErrorClass;
use crate::leases::Resource;
use crate::meta::Kind;
use crate::publish;
use crate::snapshots::{SnapshotError, SnapshotMounts};

pub(super) fn diff(call: &Call, request: DiffRequest) -> Result<DiffResponse, Status> {
    let after = mounted(call, &request.right)?;
    let before = match request.left.as_slice() {
        [] => None,
        left => Some(mounted(call, left)?),
    };
    let made = make(call, before.as_ref(), &after, request);
    for mounted in before.iter().chain([&after]) {
        mounted.show(&call.store)?;
    }
    made
}

fn make(
    call: &Call,
    before: Option<&Mounted>,
    after: &Mounted,
    request: DiffRequest,
) -> Result<DiffResponse, Status> {
    let Some(form) = LayerForm::of(&request.media_type) else {
        let message = format!("media type {}", request.media_type);
        return Err(refused(ErrorClass::Unimplemented, &message));
    };
    let before = before.map_or_else(|| Ok(SnapshotMounts::empty()), shown)?;
    let difference = Difference::of_trees(&call.store, &after.snapshots, &before, &shown(after)?)
        .map_err(|error| status(&error))?;
    let reference = match request.r#ref {
        reference if reference.is_empty() => format!("diff-{}", publish::unique_name()),
        reference => reference,
    };
    let ingest = Resource::new("ingests", &reference).map_err(|error| status(&error))?;
    call.lease(|| ingest)?;
    let latest = request.source_date_epoch.map(|time| time.seconds);
    let labels = request.labels;
    let blobs = Blobs::new(&call.store, call.namespace.clone());
    let writer = blobs
        .writer(&reference, 0, None)
        .map_err(|error| status(&error))?;
    let blob = difference
        .write_blob(writer, form, latest, labels)
        .map_err(|error| status(&error))?;
    call.lease(|| Resource::content(&blob.digest))?;
    Ok(DiffResponse {
        diff: Some(convert::descriptor_message(&blob)),
    })
}

/// Returns what a snapshot shows, which nobody changes then.
fn shown(mounted: &Mounted) -> Result<SnapshotMounts, Status> {
    let Mounted {
        snapshots, record, ..
    } = mounted;
    if let (Kind::Active, Some(id)) = (record.kind, record.id) {
        snapshots
            .withdraw(&record.name, id)
            .map_err(|error| match error {
                SnapshotError::InUse(_) => declined(error),
                error => status(&error),
            })?;
    }
    snapshots.show(&record.name).map_err(|error| status(&error))
}

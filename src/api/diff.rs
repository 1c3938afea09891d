//! Unpacking blobs onto snapshots, and making blobs of what snapshots have changed.
//!
//! Both are for mounts that this server has handed out. Others, and snapshots that are in
//! use or were written to, are answered with "not implemented", so that containerd asks its
//! next differ.

mod source;
mod written;

use std::path::Path;

use mica_proto::diff::diff_server::Diff;
use mica_proto::diff::{ApplyRequest, ApplyResponse, DiffRequest, DiffResponse};
use mica_proto::types::Mount;
use tonic::{Request, Response, Status};

use super::call::{self, Call, blocking};
use super::convert::{self, required};
use super::status::{refused, status};
use super::views;
use crate::apply::{Applied, ApplyError, Target};
use crate::containerd::Containerd;
use crate::error_class::ErrorClass;
use crate::meta::{Kind, SnapshotRecord};
use crate::oci::{Descriptor, Kind as Media, MediaType};
use crate::snapshots::{SnapshotError, Snapshots};
use crate::store::Store;

use source::Source;

/// The differ of a store.
#[derive(Debug)]
pub(super) struct Service {
    calls: call::Service,
    /// Who has the blobs that are not in the store.
    containerd: Option<Containerd>,
}

/// A snapshot whose mounts a client has given back.
#[derive(Debug, Clone)]
struct Mounted {
    snapshots: Snapshots,
    record: SnapshotRecord,
    /// Whether the mounts are of a view, and not of the snapshot's own directory.
    is_shown: bool,
}

impl Service {
    pub(super) fn new(calls: call::Service, containerd: Option<Containerd>) -> Self {
        Self { calls, containerd }
    }
}

impl Mounted {
    /// Shows the snapshot again at the source of the mounts.
    fn show(&self, store: &Store) -> Result<(), Status> {
        if !self.is_shown {
            return Ok(());
        }
        let key = &self.record.name;
        let shown = self.snapshots.mounts(key);
        let shown = shown.and_then(|shown| views::mount(store, key, shown));
        shown.map(drop).map_err(|error| status(&error))
    }
}

#[tonic::async_trait]
impl Diff for Service {
    async fn apply(
        &self,
        request: Request<ApplyRequest>,
    ) -> Result<Response<ApplyResponse>, Status> {
        let call = self.calls.call(&request)?;
        let request = request.into_inner();
        let blob = convert::descriptor(required(request.diff, "diff")?)?;
        let applied = apply(self.containerd.as_ref(), call, blob, request.mounts).await?;
        let applied = Descriptor::new(MediaType::OCI_LAYER, applied.diff_id.0, applied.size);
        let applied = Some(convert::descriptor_message(&applied));
        Ok(Response::new(ApplyResponse { applied }))
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Result<Response<DiffResponse>, Status> {
        let diff = |call: Call, request| written::diff(&call, request);
        self.calls.answer(request, diff).await
    }
}

async fn apply(
    containerd: Option<&Containerd>,
    call: Call,
    blob: Descriptor,
    mounts: Vec<Mount>,
) -> Result<Applied, Status> {
    if !matches!(blob.media_type.kind(), Media::Layer(_)) {
        let message = format!("media type {}", blob.media_type);
        return Err(refused(ErrorClass::Unimplemented, &message));
    }
    let source = Source::find(&call, &blob.digest, containerd).await?;
    let mounted = {
        let call = call.clone();
        blocking(move || mounted(&call, &mounts)).await?
    };
    let outcome = apply_to(&call, &mounted, &source, &blob).await;
    blocking(move || {
        // Also for the next differ.
        mounted.show(&call.store)?;
        let applied = outcome?;
        source.label(&applied)?;
        Ok(applied)
    })
    .await
}

async fn apply_to(
    call: &Call,
    mounted: &Mounted,
    source: &Source,
    blob: &Descriptor,
) -> Result<Applied, Status> {
    let known = source.diff_id();
    let (call, mounted) = (call.clone(), mounted.clone());
    let prepare = move || {
        let target = reserve(&call, mounted)?;
        match known {
            Some(diff_id) => target.apply_known(&diff_id).map_err(failed),
            None => Ok(Err(target)),
        }
    };
    match blocking(prepare).await? {
        Ok(applied) => Ok(applied),
        Err(target) => {
            let opened = source.open().await?;
            let applied = target.apply(blob, opened.supply, source.is_own()).await;
            drop(opened.task);
            applied.map_err(failed)
        }
    }
}

/// Keeps an active snapshot for a layer; nobody can look into it then.
fn reserve(call: &Call, mounted: Mounted) -> Result<Target, Status> {
    let Mounted {
        snapshots, record, ..
    } = mounted;
    if record.kind != Kind::Active {
        return Err(declined(SnapshotError::NotActive(record.name)));
    }
    Target::reserve(&call.store, snapshots, &record.name).map_err(failed)
}

/// Returns the snapshot of mounts.
fn mounted(call: &Call, mounts: &[Mount]) -> Result<Mounted, Status> {
    let others = || refused(ErrorClass::Unimplemented, "mounts of others");
    let [mount] = mounts else {
        return Err(others());
    };
    let source = Path::new(&mount.source);
    let id = views::snapshot_at(&call.store, source).ok_or_else(others)?;
    let found = Snapshots::of_directory(&call.store, id).map_err(|error| status(&error))?;
    let (snapshots, record) = found.ok_or_else(others)?;
    Ok(Mounted {
        snapshots,
        record,
        is_shown: call.store.views().snapshot_at(source).is_some(),
    })
}

/// Returns the status of an apply that failed.
fn failed(error: ApplyError) -> Status {
    match error {
        ApplyError::Snapshot(
            error @ (SnapshotError::InUse(_)
            | SnapshotError::NotEmpty(_)
            | SnapshotError::NotActive(_)),
        ) => declined(error),
        error => status(&error),
    }
}

/// Returns the status that has containerd ask its next differ.
#[expect(clippy::needless_pass_by_value, reason = "errors are passed on")]
fn declined(error: SnapshotError) -> Status {
    refused(ErrorClass::Unimplemented, &error.to_string())
}

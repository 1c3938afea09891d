//! Snapshots.

use mica_proto::snapshots::snapshots_server::Snapshots;
use mica_proto::snapshots::{
    CleanupRequest, CommitSnapshotRequest, Info, Kind as KindMessage, ListSnapshotsRequest,
    ListSnapshotsResponse, MountsRequest, MountsResponse, PrepareSnapshotRequest,
    PrepareSnapshotResponse, RemoveSnapshotRequest, StatSnapshotRequest, StatSnapshotResponse,
    UpdateSnapshotRequest, UpdateSnapshotResponse, UsageRequest, UsageResponse,
    ViewSnapshotRequest, ViewSnapshotResponse,
};
use mica_proto::types::Mount;
use tonic::{Code, Request, Response, Status};

use super::call::{self, Answers, Call, blocks};
use super::convert::{self, required};
use super::status::{refused, status};
use super::views;
use crate::error_class::ErrorClass;
use crate::filter::Filter;
use crate::leases::Resource;
use crate::meta::{Kind, Labels, SnapshotRecord};
use crate::snapshots::{self, SNAPSHOTTER, SnapshotError, SnapshotMounts};

/// The snapshotter by which `ctr images mount` of containerd 1.6 mounts an image, whatever it
/// was told.
const CTR_DEFAULT: &str = "overlayfs";

/// The snapshots of a store.
#[derive(Debug)]
pub(crate) struct Service {
    calls: call::Service,
}

impl Service {
    pub(super) fn new(calls: call::Service) -> Self {
        Self { calls }
    }
}

#[tonic::async_trait]
impl Snapshots for Service {
    async fn prepare(
        &self,
        request: Request<PrepareSnapshotRequest>,
    ) -> Result<Response<PrepareSnapshotResponse>, Status> {
        let prepare = |call: Call, request: PrepareSnapshotRequest| {
            let new = New {
                snapshotter: &request.snapshotter,
                key: &request.key,
                parent: &request.parent,
                labels: request.labels,
            };
            let mounts = create(&call, new, snapshots::Snapshots::prepare)?;
            Ok(PrepareSnapshotResponse { mounts })
        };
        self.calls
            .answer_about(|it| &it.key, request, prepare)
            .await
    }

    async fn view(
        &self,
        request: Request<ViewSnapshotRequest>,
    ) -> Result<Response<ViewSnapshotResponse>, Status> {
        let view = |call: Call, request: ViewSnapshotRequest| {
            let new = New {
                snapshotter: known(&request.snapshotter),
                key: &request.key,
                parent: &request.parent,
                labels: request.labels,
            };
            let mounts = create(&call, new, snapshots::Snapshots::view)?;
            Ok(ViewSnapshotResponse { mounts })
        };
        self.calls.answer_about(|it| &it.key, request, view).await
    }

    async fn mounts(
        &self,
        request: Request<MountsRequest>,
    ) -> Result<Response<MountsResponse>, Status> {
        let answer = |call: Call, request: MountsRequest| {
            let all = of(&call, &request.snapshotter)?;
            let shown = all.mounts(&request.key).map_err(|error| status(&error))?;
            let mounts = mounts(&call, &request.key, shown)?;
            Ok(MountsResponse { mounts })
        };
        self.calls.answer_about(|it| &it.key, request, answer).await
    }

    async fn commit(
        &self,
        request: Request<CommitSnapshotRequest>,
    ) -> Result<Response<()>, Status> {
        let answer = |call: Call, request| commit(&call, request);
        self.calls.answer_about(|it| &it.key, request, answer).await
    }

    async fn remove(
        &self,
        request: Request<RemoveSnapshotRequest>,
    ) -> Result<Response<()>, Status> {
        let remove = |call: Call, request: RemoveSnapshotRequest| {
            let all = of(&call, known(&request.snapshotter))?;
            all.remove(&request.key).map_err(|error| status(&error))
        };
        self.calls.answer_about(|it| &it.key, request, remove).await
    }

    async fn stat(
        &self,
        request: Request<StatSnapshotRequest>,
    ) -> Result<Response<StatSnapshotResponse>, Status> {
        let stat = |call: Call, request: StatSnapshotRequest| {
            let all = of(&call, known(&request.snapshotter))?;
            let record = all.stat(&request.key).map_err(|error| status(&error))?;
            let info = Some(message(record));
            Ok(StatSnapshotResponse { info })
        };
        self.calls.answer_about(|it| &it.key, request, stat).await
    }

    async fn update(
        &self,
        request: Request<UpdateSnapshotRequest>,
    ) -> Result<Response<UpdateSnapshotResponse>, Status> {
        let update = |call: Call, request: UpdateSnapshotRequest| {
            let all = of(&call, &request.snapshotter)?;
            let info = required(request.info, "info")?;
            let mask = convert::mask(request.update_mask);
            let mask: Vec<&str> = mask.iter().map(String::as_str).collect();
            let record = all
                .update(&info.name, &info.labels, &mask)
                .map_err(|error| status(&error))?;
            let info = Some(message(record));
            Ok(UpdateSnapshotResponse { info })
        };
        self.calls.answer_about(updated, request, update).await
    }

    type ListStream = Answers<ListSnapshotsResponse>;

    async fn list(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let records = if call::Service::has_namespace(&request) {
            let list = |call: Call, request: ListSnapshotsRequest| {
                let all = of(&call, &request.snapshotter)?;
                let filter = filter(&request.filters)?;
                let mut found = all.matching(&filter).map_err(|error| status(&error))?;
                if is_for_target(&request.filters) {
                    found.retain(|snapshot| snapshots::keeper(&snapshot.name).is_some());
                }
                Ok(found)
            };
            self.calls.answer(request, list).await?.into_inner()
        } else {
            let store = self.calls.shared();
            let request = request.into_inner();
            call::blocking(move || {
                check(&request.snapshotter)?;
                let filter = filter(&request.filters)?;
                let mut found = snapshots::proxied(&store).map_err(|error| status(&error))?;
                found.retain(|snapshot| filter.matches(snapshot));
                Ok(found)
            })
            .await?
        };
        let messages = blocks(records, |block| {
            let info = block.map(message).collect();
            ListSnapshotsResponse { info }
        });
        Ok(Response::new(messages))
    }

    async fn usage(
        &self,
        request: Request<UsageRequest>,
    ) -> Result<Response<UsageResponse>, Status> {
        let usage = |call: Call, request: UsageRequest| {
            let all = of(&call, &request.snapshotter)?;
            let usage = all.usage(&request.key).map_err(|error| status(&error))?;
            Ok(UsageResponse {
                size: convert::size(usage.size),
                inodes: convert::size(usage.inodes),
            })
        };
        self.calls.answer_about(|it| &it.key, request, usage).await
    }

    async fn cleanup(&self, request: Request<CleanupRequest>) -> Result<Response<()>, Status> {
        // What was removed has freed its disk by then.
        check(&request.get_ref().snapshotter).map(Response::new)
    }
}

/// Returns the name that an update is about.
fn updated(request: &UpdateSnapshotRequest) -> &str {
    request.info.as_ref().map_or("", |info| &info.name)
}

/// Returns whether a list is the question of a containerd for the snapshot that this store
/// has made in place of unpacking a layer. It must get one of those that it keeps here.
fn is_for_target(filters: &[String]) -> bool {
    let question = "labels.\"containerd.io/snapshot.ref\"==";
    matches!(filters, [filter] if filter.starts_with(question))
}

fn filter(filters: &[String]) -> Result<Filter, Status> {
    // containerd reports an error of this stream under no class.
    convert::filter(filters).map_err(|error| Status::new(Code::Unknown, error.message()))
}

fn commit(call: &Call, request: CommitSnapshotRequest) -> Result<(), Status> {
    let all = of(call, &request.snapshotter)?;
    let record = all.stat(&request.key).map_err(|error| status(&error))?;
    if record.parent.is_none() && !request.parent.is_empty() {
        let message = "a parent that is given at the commit";
        return Err(refused(ErrorClass::Unimplemented, message));
    }
    call.lease(|| Resource::snapshot(&request.name))?;
    let labels = request.labels;
    all.commit(&request.name, &request.key, labels)
        .map(drop)
        .map_err(|error| status(&error))
}

/// Returns the snapshotter that is meant where a snapshot is only looked at.
fn known(name: &str) -> &str {
    match name {
        CTR_DEFAULT => SNAPSHOTTER,
        other => other,
    }
}

/// Returns the snapshots of a call's namespace.
fn of(call: &Call, snapshotter: &str) -> Result<snapshots::Snapshots, Status> {
    check(snapshotter)?;
    let namespace = call.namespace.clone();
    Ok(snapshots::Snapshots::new(&call.store, namespace))
}

fn check(snapshotter: &str) -> Result<(), Status> {
    let message = match snapshotter {
        SNAPSHOTTER => return Ok(()),
        "" => "snapshotter argument missing".to_owned(),
        other => format!("snapshotter not loaded: {other}"),
    };
    Err(refused(ErrorClass::InvalidArgument, &message))
}

/// A snapshot that is to be made.
struct New<'r> {
    snapshotter: &'r str,
    key: &'r str,
    parent: &'r str,
    labels: Labels,
}

type Make =
    fn(&snapshots::Snapshots, &str, Option<&str>, Labels) -> Result<SnapshotMounts, SnapshotError>;

fn create(call: &Call, new: New<'_>, make: Make) -> Result<Vec<Mount>, Status> {
    let all = of(call, new.snapshotter)?;
    call.lease(|| Resource::snapshot(new.key))?;
    let parent = Some(new.parent).filter(|name| !name.is_empty());
    let shown = make(&all, new.key, parent, new.labels).map_err(|error| status(&error))?;
    mounts(call, new.key, shown)
}

fn mounts(call: &Call, key: &str, shown: SnapshotMounts) -> Result<Vec<Mount>, Status> {
    let mount = views::mount(&call.store, key, shown);
    Ok(vec![mount.map_err(|error| status(&error))?])
}

pub(super) fn message(record: SnapshotRecord) -> Info {
    let kind = match record.kind {
        Kind::View => KindMessage::View,
        Kind::Active => KindMessage::Active,
        Kind::Committed => KindMessage::Committed,
    };
    Info {
        name: record.name,
        parent: record.parent.unwrap_or_default(),
        kind: kind.into(),
        created_at: Some(convert::timestamp(record.created)),
        updated_at: Some(convert::timestamp(record.updated)),
        labels: record.labels,
    }
}

//! What containerd has no word for: pulls in one call, mounts, checks, garbage collection, and
//! what only this store knows of images and snapshots.

mod images;
mod leases;
mod mounts;
mod namespaces;
mod pull;
mod snapshots;
mod survey;

use mica_proto::images::Image;
use mica_proto::mica::mica_server::Mica;
use mica_proto::mica::{
    CheckImagesRequest, CheckResponse, CheckedImage, Finding, GcResponse, ListLeasesRequest,
    ListLeasesResponse, ListNamespacesRequest, ListSnapshotsRequest, ListSnapshotsResponse,
    MountRequest, MountResponse, MountsResponse, NewSnapshotRequest, PullRequest, PullResponse,
    RemoveImageRequest, ResolveImageRequest, ServedResponse, SharingPolicyRequest,
    SharingPolicyResponse, Snapshot, SnapshotMountsResponse, SnapshotRequest, SnapshotUsageRequest,
    SnapshotUsageResponse, SurveyResponse, TagImageRequest, UmountRequest,
};
use mica_proto::namespaces::ListNamespacesResponse;
use tonic::{Request, Response, Status};

use super::call::{self, Answers, Call, blocking};
use super::served::Place;
use super::status::{refused, status};
use crate::check::{self, Severity};
use crate::error_class::ErrorClass;
use crate::gc;

/// The rest of a store.
#[derive(Debug)]
pub(crate) struct Service(pub(super) call::Service);

#[tonic::async_trait]
impl Mica for Service {
    type PullStream = Answers<PullResponse>;

    async fn pull(
        &self,
        request: Request<PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let call = self.0.call(&request)?;
        let stream = pull::begin(&call, &request.into_inner())?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn mount(
        &self,
        request: Request<MountRequest>,
    ) -> Result<Response<MountResponse>, Status> {
        let call = self.0.call(&request)?;
        mounts::mount(call, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn umount(&self, request: Request<UmountRequest>) -> Result<Response<()>, Status> {
        let store = self.0.shared();
        let request = request.into_inner();
        let umount = move || mounts::umount(&store, &request);
        blocking(umount).await.map(Response::new)
    }

    async fn mounts(&self, _: Request<()>) -> Result<Response<MountsResponse>, Status> {
        let store = self.0.shared();
        blocking(move || mounts::list(&store))
            .await
            .map(Response::new)
    }

    async fn check(&self, _: Request<()>) -> Result<Response<CheckResponse>, Status> {
        let store = self.0.shared();
        let check = move || check::check(&store).map_err(|error| status(&error));
        let report = blocking(check).await?;
        let findings = report.findings.iter().map(|finding| Finding {
            is_damage: finding.severity == Severity::Damage,
            problem: finding.problem.clone(),
            repair: finding.repair.to_owned(),
        });
        Ok(Response::new(CheckResponse {
            findings: findings.collect(),
            blobs: report.blobs as u64,
            layers: report.layers as u64,
            snapshots: report.snapshots as u64,
            images: report.images as u64,
            bytes: report.bytes,
        }))
    }

    async fn gc(&self, _: Request<()>) -> Result<Response<GcResponse>, Status> {
        let store = self.0.shared();
        let collect = move || gc::collect(&store).map_err(|error| status(&error));
        let collected = blocking(collect).await?;
        Ok(Response::new(GcResponse {
            is_deferred: collected.is_deferred,
            blobs: collected.blobs,
            layers: collected.layers,
            snapshots: collected.snapshots,
            ingests: collected.ingests,
            bytes: collected.bytes,
        }))
    }

    type SurveyStream = Answers<SurveyResponse>;

    async fn survey(&self, _: Request<()>) -> Result<Response<Self::SurveyStream>, Status> {
        let store = self.0.shared();
        let survey = move || gc::survey(&store).map_err(|error| status(&error));
        Ok(Response::new(survey::messages(blocking(survey).await?)))
    }

    async fn served(&self, _: Request<()>) -> Result<Response<ServedResponse>, Status> {
        let place = Place::of(self.0.store());
        let place = place.map_err(|error| {
            let message = format!("look at the store: {error}");
            refused(ErrorClass::Internal, &message)
        })?;
        Ok(Response::new(place.into_message()))
    }

    async fn resolve_image(
        &self,
        request: Request<ResolveImageRequest>,
    ) -> Result<Response<Image>, Status> {
        let resolve = |call: Call, request: ResolveImageRequest| images::resolve(&call, &request);
        self.0.answer(request, resolve).await
    }

    async fn tag_image(
        &self,
        request: Request<TagImageRequest>,
    ) -> Result<Response<Image>, Status> {
        let tag = |call: Call, request: TagImageRequest| images::tag(&call, &request);
        self.0.answer(request, tag).await
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<Image>, Status> {
        let remove = |call: Call, request: RemoveImageRequest| images::remove(&call, &request);
        self.0.answer(request, remove).await
    }

    type CheckImagesStream = Answers<CheckedImage>;

    async fn check_images(
        &self,
        request: Request<CheckImagesRequest>,
    ) -> Result<Response<Self::CheckImagesStream>, Status> {
        let check = |call: Call, request: CheckImagesRequest| images::check(&call, &request);
        self.0.answer(request, check).await
    }

    async fn stat_snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Snapshot>, Status> {
        let stat = |call: Call, request: SnapshotRequest| snapshots::stat(&call, &request);
        self.0.answer(request, stat).await
    }

    type ListSnapshotsStream = Answers<ListSnapshotsResponse>;

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<Self::ListSnapshotsStream>, Status> {
        let list = |call: Call, request: ListSnapshotsRequest| snapshots::list(&call, &request);
        self.0.answer(request, list).await
    }

    type SnapshotUsageStream = Answers<SnapshotUsageResponse>;

    async fn snapshot_usage(
        &self,
        request: Request<SnapshotUsageRequest>,
    ) -> Result<Response<Self::SnapshotUsageStream>, Status> {
        let usage = |call: Call, request: SnapshotUsageRequest| snapshots::usage(&call, request);
        self.0.answer(request, usage).await
    }

    async fn snapshot_mounts(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotMountsResponse>, Status> {
        let mounts = |call: Call, request: SnapshotRequest| snapshots::mounts(&call, &request);
        self.0.answer(request, mounts).await
    }

    async fn new_snapshot(
        &self,
        request: Request<NewSnapshotRequest>,
    ) -> Result<Response<()>, Status> {
        let call = self.0.call(&request)?;
        snapshots::make(call, request.into_inner())
            .await
            .map(Response::new)
    }

    type ListLeasesStream = Answers<ListLeasesResponse>;

    async fn list_leases(
        &self,
        request: Request<ListLeasesRequest>,
    ) -> Result<Response<Self::ListLeasesStream>, Status> {
        let list = |call: Call, request: ListLeasesRequest| leases::list(&call, &request);
        self.0.answer(request, list).await
    }

    async fn list_namespaces(
        &self,
        request: Request<ListNamespacesRequest>,
    ) -> Result<Response<ListNamespacesResponse>, Status> {
        let (store, request) = (self.0.shared(), request.into_inner());
        let list = move || namespaces::list(&store, &request);
        blocking(list).await.map(Response::new)
    }

    async fn sharing_policy(
        &self,
        request: Request<SharingPolicyRequest>,
    ) -> Result<Response<SharingPolicyResponse>, Status> {
        let (store, request) = (self.0.shared(), request.into_inner());
        let policy = move || namespaces::policy(&store, &request);
        blocking(policy).await.map(Response::new)
    }
}

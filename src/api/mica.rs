//! What containerd has no word for: pulls in one call, mounts, checks, garbage collection.

mod mounts;
mod pull;

use std::pin::Pin;

use mica_proto::mica::mica_server::Mica;
use mica_proto::mica::{
    CheckResponse, Finding, GcResponse, MountRequest, MountResponse, MountsResponse, PullRequest,
    PullResponse, UmountRequest,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::call::{self, Call, blocking};
use super::status::refused;
use crate::causes::in_one_line;
use crate::check::{self, Severity};
use crate::error_class::ErrorClass;
use crate::gc;

/// The rest of a store.
#[derive(Debug)]
pub(super) struct Service(pub(super) call::Service);

#[tonic::async_trait]
impl Mica for Service {
    type PullStream = Pin<Box<dyn Stream<Item = Result<PullResponse, Status>> + Send>>;

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
        let mount = |call: Call, request: MountRequest| mounts::mount(&call, &request);
        self.0.answer(request, mount).await
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
        let check = move || check::check(&store).map_err(|error| internal(&error));
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
        let collect = move || gc::collect(&store).map_err(|error| internal(&error));
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
}

/// Returns the status of a failure that is nobody's fault but the store's.
fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    refused(ErrorClass::Internal, &in_one_line(error))
}

//! Leases.

use mica_proto::leases::leases_server::Leases;
use mica_proto::leases::{
    AddResourceRequest, CreateRequest, CreateResponse, DeleteRequest, DeleteResourceRequest, Lease,
    ListRequest, ListResourcesRequest, ListResourcesResponse, ListResponse, Resource,
};
use tonic::{Request, Response, Status};

use super::call::{self, Call};
use super::convert::{self, required};
use super::status::status;
use crate::leases;
use crate::meta::LeaseRecord;

/// The leases of a store.
#[derive(Debug)]
pub(crate) struct Service(pub(super) call::Service);

#[tonic::async_trait]
impl Leases for Service {
    async fn create(
        &self,
        request: Request<CreateRequest>,
    ) -> Result<Response<CreateResponse>, Status> {
        let create = |call: Call, request: CreateRequest| {
            let lease = of(&call)
                .create(&request.id, request.labels)
                .map_err(|error| status(&error))?;
            let lease = Some(message(lease));
            Ok(CreateResponse { lease })
        };
        self.0.answer(request, create).await
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<()>, Status> {
        let delete = |call: Call, request: DeleteRequest| {
            of(&call)
                .delete(&request.id)
                .map_err(|error| status(&error))?;
            call.collected(request.sync)
        };
        self.0.answer(request, delete).await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let list = |call: Call, request: ListRequest| {
            let filter = convert::filter(&request.filters)?;
            let leases = of(&call)
                .matching(&filter)
                .map_err(|error| status(&error))?;
            let leases = leases.into_iter().map(message).collect();
            Ok(ListResponse { leases })
        };
        self.0.answer(request, list).await
    }

    async fn add_resource(
        &self,
        request: Request<AddResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let add = |call: Call, request: AddResourceRequest| {
            let resource = resource(request.resource)?;
            of(&call)
                .add(&request.id, &resource)
                .map_err(|error| status(&error))
        };
        self.0.answer(request, add).await
    }

    async fn delete_resource(
        &self,
        request: Request<DeleteResourceRequest>,
    ) -> Result<Response<()>, Status> {
        let delete = |call: Call, request: DeleteResourceRequest| {
            let resource = resource(request.resource)?;
            of(&call)
                .remove(&request.id, &resource)
                .map_err(|error| status(&error))
        };
        self.0.answer(request, delete).await
    }

    async fn list_resources(
        &self,
        request: Request<ListResourcesRequest>,
    ) -> Result<Response<ListResourcesResponse>, Status> {
        let list = |call: Call, request: ListResourcesRequest| {
            let all = of(&call)
                .resources(&request.id)
                .map_err(|error| status(&error))?;
            let resources = all.into_iter().map(resource_message).collect();
            Ok(ListResourcesResponse { resources })
        };
        self.0.answer(request, list).await
    }
}

pub(super) fn of(call: &Call) -> leases::Leases {
    leases::Leases::new(&call.store, call.namespace.clone())
}

fn resource(message: Option<Resource>) -> Result<leases::Resource, Status> {
    let message = required(message, "resource")?;
    leases::Resource::new(&message.r#type, &message.id).map_err(|error| status(&error))
}

pub(super) fn resource_message(resource: leases::Resource) -> Resource {
    Resource {
        r#type: resource.kind.to_string(),
        id: resource.id,
    }
}

pub(super) fn message(lease: LeaseRecord) -> Lease {
    Lease {
        id: lease.id,
        created_at: Some(convert::timestamp(lease.created)),
        labels: lease.labels,
    }
}

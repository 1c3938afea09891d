//! Namespaces.

use mica_proto::namespaces::namespaces_server::Namespaces;
use mica_proto::namespaces::{
    CreateNamespaceRequest, CreateNamespaceResponse, DeleteNamespaceRequest, GetNamespaceRequest,
    GetNamespaceResponse, ListNamespacesRequest, ListNamespacesResponse, Namespace,
    UpdateNamespaceRequest, UpdateNamespaceResponse,
};
use tonic::{Request, Response, Status};

use super::call::{self, blocking};
use super::convert::{self, required};
use super::status::status;
use crate::meta::NamespaceRecord;
use crate::namespaces;

/// The namespaces of a store; a call needs none itself.
#[derive(Debug)]
pub(crate) struct Service(pub(super) call::Service);

impl Service {
    async fn answer<R: Send + 'static>(
        &self,
        answer: impl FnOnce(&namespaces::Namespaces) -> Result<R, namespaces::NamespaceError>
        + Send
        + 'static,
    ) -> Result<R, Status> {
        let all = namespaces::Namespaces::new(self.0.store());
        blocking(move || answer(&all).map_err(|error| status(&error))).await
    }
}

#[tonic::async_trait]
impl Namespaces for Service {
    async fn get(
        &self,
        request: Request<GetNamespaceRequest>,
    ) -> Result<Response<GetNamespaceResponse>, Status> {
        let name = request.into_inner().name;
        let record = self.answer(move |all| all.info(&name)).await?;
        let namespace = Some(message(record));
        Ok(Response::new(GetNamespaceResponse { namespace }))
    }

    async fn list(
        &self,
        request: Request<ListNamespacesRequest>,
    ) -> Result<Response<ListNamespacesResponse>, Status> {
        let text = request.into_inner().filter;
        let filter = convert::filter(if text.is_empty() {
            &[]
        } else {
            std::slice::from_ref(&text)
        })?;
        let records = self.answer(move |all| all.matching(&filter)).await?;
        let namespaces = records.into_iter().map(message).collect();
        Ok(Response::new(ListNamespacesResponse { namespaces }))
    }

    async fn create(
        &self,
        request: Request<CreateNamespaceRequest>,
    ) -> Result<Response<CreateNamespaceResponse>, Status> {
        let new = required(request.into_inner().namespace, "namespace")?;
        let create = move |all: &namespaces::Namespaces| all.create(&new.name, new.labels);
        let namespace = Some(message(self.answer(create).await?));
        Ok(Response::new(CreateNamespaceResponse { namespace }))
    }

    async fn update(
        &self,
        request: Request<UpdateNamespaceRequest>,
    ) -> Result<Response<UpdateNamespaceResponse>, Status> {
        let request = request.into_inner();
        let new = required(request.namespace, "namespace")?;
        let mask = convert::mask(request.update_mask);
        let update = move |all: &namespaces::Namespaces| {
            let mask: Vec<&str> = mask.iter().map(String::as_str).collect();
            all.update(&new.name, &new.labels, &mask)
        };
        let namespace = Some(message(self.answer(update).await?));
        Ok(Response::new(UpdateNamespaceResponse { namespace }))
    }

    async fn delete(
        &self,
        request: Request<DeleteNamespaceRequest>,
    ) -> Result<Response<()>, Status> {
        let name = request.into_inner().name;
        self.answer(move |all| all.delete(&name))
            .await
            .map(Response::new)
    }
}

pub(super) fn message(record: NamespaceRecord) -> Namespace {
    Namespace {
        name: record.name,
        labels: record.labels,
    }
}

//! Leases.

use mica_proto::leases::leases_client::LeasesClient;
use mica_proto::leases::leases_server::Leases as _;
use mica_proto::leases::{
    AddResourceRequest, CreateRequest, DeleteRequest, DeleteResourceRequest, ListResourcesRequest,
    Resource as ResourceMessage,
};
use mica_proto::mica::mica_client::MicaClient;
use mica_proto::mica::mica_server::Mica as _;
use mica_proto::mica::{Lease, ListLeasesRequest};

use super::answer::field;
use super::{Client, ClientError, ask, follow};
use crate::api::convert;
use crate::leases::Resource;
use crate::meta::{Labels, LeaseRecord};

impl Client {
    /// Lists the leases that one of the filters matches.
    pub(crate) fn leases(&self, filters: &[String]) -> Result<Vec<LeaseRecord>, ClientError> {
        let filters = filters.to_vec();
        let list = ListLeasesRequest { filters };
        let mut leases = Vec::new();
        follow!(self, mica, MicaClient::list_leases, list, |block| {
            for lease in block.leases {
                leases.push(record(lease)?);
            }
            Ok::<_, ClientError>(())
        })?;
        Ok(leases)
    }

    /// Makes a lease, and returns its id.
    pub(crate) fn create_lease(&self, id: &str, labels: Labels) -> Result<String, ClientError> {
        let id = id.to_owned();
        let create = CreateRequest { id, labels };
        let created = ask!(self, leases, LeasesClient::create, create)?;
        Ok(field(created.lease, "lease")?.id)
    }

    /// Removes a lease.
    pub(crate) fn remove_lease(&self, id: &str) -> Result<(), ClientError> {
        let delete = DeleteRequest {
            id: id.to_owned(),
            sync: false,
        };
        Ok(ask!(self, leases, LeasesClient::delete, delete)?)
    }

    /// Lists what a lease keeps.
    pub(crate) fn leased(&self, id: &str) -> Result<Vec<Resource>, ClientError> {
        let id = id.to_owned();
        let list = ListResourcesRequest { id };
        let listed = ask!(self, leases, LeasesClient::list_resources, list)?;
        listed.resources.iter().map(resource).collect()
    }

    /// Adds to what a lease keeps.
    pub(crate) fn add_to_lease(&self, id: &str, added: &Resource) -> Result<(), ClientError> {
        let add = AddResourceRequest {
            id: id.to_owned(),
            resource: Some(message(added)),
        };
        Ok(ask!(self, leases, LeasesClient::add_resource, add)?)
    }

    /// Takes something away from what a lease keeps.
    pub(crate) fn drop_from_lease(&self, id: &str, dropped: &Resource) -> Result<(), ClientError> {
        let drop = DeleteResourceRequest {
            id: id.to_owned(),
            resource: Some(message(dropped)),
        };
        Ok(ask!(self, leases, LeasesClient::delete_resource, drop)?)
    }
}

fn record(lease: Lease) -> Result<LeaseRecord, ClientError> {
    let info = field(lease.info, "info")?;
    let resources = lease.resources.iter().map(resource);
    Ok(LeaseRecord {
        id: info.id,
        labels: info.labels,
        resources: resources.collect::<Result<_, _>>()?,
        created: convert::time(info.created_at)?,
    })
}

fn resource(message: &ResourceMessage) -> Result<Resource, ClientError> {
    let resource = Resource::new(&message.r#type, &message.id);
    resource.map_err(|_| ClientError::Answer("resource"))
}

fn message(resource: &Resource) -> ResourceMessage {
    ResourceMessage {
        r#type: resource.kind.to_string(),
        id: resource.id.clone(),
    }
}

//! Namespaces, and what they may have of each other's blobs.

use mica_proto::mica::SharingPolicyRequest;
use mica_proto::mica::mica_client::MicaClient;
use mica_proto::mica::mica_server::Mica as _;
use mica_proto::namespaces::namespaces_client::NamespacesClient;
use mica_proto::namespaces::namespaces_server::Namespaces as _;
use mica_proto::namespaces::{
    CreateNamespaceRequest, DeleteNamespaceRequest, Namespace, UpdateNamespaceRequest,
};

use super::answer::{field, field_mask, parsed};
use super::{Client, ClientError, ask};
use crate::content::SharingPolicy;
use crate::meta::{Labels, NamespaceRecord};

impl Client {
    /// Lists the namespaces that one of the filters matches.
    pub(crate) fn namespaces(
        &self,
        filters: &[String],
    ) -> Result<Vec<NamespaceRecord>, ClientError> {
        let filters = filters.to_vec();
        let list = mica_proto::mica::ListNamespacesRequest { filters };
        let listed = ask!(self, mica, MicaClient::list_namespaces, list)?;
        Ok(listed.namespaces.into_iter().map(record).collect())
    }

    /// Makes a namespace.
    pub(crate) fn create_namespace(
        &self,
        name: &str,
        labels: Labels,
    ) -> Result<NamespaceRecord, ClientError> {
        let namespace = Some(message(name, labels));
        let create = CreateNamespaceRequest { namespace };
        let created = ask!(self, namespaces, NamespacesClient::create, create)?;
        Ok(record(field(created.namespace, "namespace")?))
    }

    /// Changes labels of a namespace under a field mask.
    pub(crate) fn label_namespace(
        &self,
        name: &str,
        labels: &Labels,
        mask: &[&str],
    ) -> Result<NamespaceRecord, ClientError> {
        let update = UpdateNamespaceRequest {
            namespace: Some(message(name, labels.clone())),
            update_mask: Some(field_mask(mask)),
        };
        let updated = ask!(self, namespaces, NamespacesClient::update, update)?;
        Ok(record(field(updated.namespace, "namespace")?))
    }

    /// Removes a namespace that has nothing any more.
    pub(crate) fn remove_namespace(&self, name: &str) -> Result<(), ClientError> {
        let name = name.to_owned();
        let delete = DeleteNamespaceRequest { name };
        Ok(ask!(self, namespaces, NamespacesClient::delete, delete)?)
    }

    /// Returns what namespaces may have of each other's blobs, after it was set where that
    /// is wanted.
    pub(crate) fn sharing_policy(
        &self,
        set: Option<SharingPolicy>,
    ) -> Result<SharingPolicy, ClientError> {
        let set = set.map(|policy| policy.to_string());
        let asked = SharingPolicyRequest { set };
        let told = ask!(self, mica, MicaClient::sharing_policy, asked)?;
        parsed(&told.policy, "policy")
    }
}

fn message(name: &str, labels: Labels) -> Namespace {
    Namespace {
        name: name.to_owned(),
        labels,
    }
}

fn record(namespace: Namespace) -> NamespaceRecord {
    NamespaceRecord {
        name: namespace.name,
        labels: namespace.labels,
    }
}

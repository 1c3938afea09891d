//! Namespaces, and what they may have of each other's blobs.

use mica_proto::mica::{ListNamespacesRequest, SharingPolicyRequest, SharingPolicyResponse};
use mica_proto::namespaces::ListNamespacesResponse;
use tonic::Status;

use super::super::convert;
use super::super::namespaces::message;
use super::super::status::{refused, status};
use crate::content::{SharingPolicy, UnknownPolicy};
use crate::error_class::ErrorClass;
use crate::namespaces::Namespaces;
use crate::store::Store;

pub(super) fn list(
    store: &Store,
    request: &ListNamespacesRequest,
) -> Result<ListNamespacesResponse, Status> {
    let filter = convert::filter(&request.filters)?;
    let found = Namespaces::new(store).matching(&filter);
    let found = found.map_err(|error| status(&error))?;
    let namespaces = found.into_iter().map(message).collect();
    Ok(ListNamespacesResponse { namespaces })
}

pub(super) fn policy(
    store: &Store,
    request: &SharingPolicyRequest,
) -> Result<SharingPolicyResponse, Status> {
    let content = store.content();
    if let Some(text) = &request.set {
        let policy: SharingPolicy = text.parse().map_err(|error: UnknownPolicy| {
            refused(ErrorClass::InvalidArgument, &error.to_string())
        })?;
        let set = content.set_sharing_policy(policy);
        set.map_err(|error| status(&error))?;
    }
    let policy = content.sharing_policy().map_err(|error| status(&error))?;
    let policy = policy.to_string();
    Ok(SharingPolicyResponse { policy })
}

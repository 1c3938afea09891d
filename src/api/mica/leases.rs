//! Leases with what they keep.

use mica_proto::mica::{Lease, ListLeasesRequest, ListLeasesResponse};
use tonic::Status;

use super::super::call::{Answers, Call, blocks};
use super::super::convert;
use super::super::leases::{message, of, resource_message};
use super::super::status::status;
use crate::meta::LeaseRecord;

pub(super) fn list(
    call: &Call,
    request: &ListLeasesRequest,
) -> Result<Answers<ListLeasesResponse>, Status> {
    let filter = convert::filter(&request.filters)?;
    let leases = of(call).matching(&filter);
    let leases = leases.map_err(|error| status(&error))?;
    Ok(blocks(leases, |block| {
        let leases = block.map(lease).collect();
        ListLeasesResponse { leases }
    }))
}

fn lease(mut lease: LeaseRecord) -> Lease {
    let resources = std::mem::take(&mut lease.resources);
    Lease {
        info: Some(message(lease)),
        resources: resources.into_iter().map(resource_message).collect(),
    }
}

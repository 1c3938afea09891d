//! The version of the server.

use mica_proto::version::VersionResponse;
use mica_proto::version::version_server::Version;
use tonic::{Request, Response, Status};

/// Tells the version.
#[derive(Debug)]
pub(super) struct Service;

#[tonic::async_trait]
impl Version for Service {
    async fn version(&self, _request: Request<()>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            version: format!("v{}", env!("CARGO_PKG_VERSION")),
            revision: String::new(),
        }))
    }
}

//! The way to the API of a store: over the socket of its server, or in memory where none
//! runs. What is asked is the same on both, and so is what answers.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{Service, StdError, http};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};

use super::{Identity, routes};
use crate::store::Store;

/// A transport for clients of the API.
#[derive(Debug, Clone)]
pub enum Way {
    /// A connection to a server.
    Socket(Channel),
    /// The services themselves.
    Memory(Routes),
}

impl Way {
    /// Connects to the server that listens at a socket.
    pub async fn to(socket: &Path) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        Ok(Self::Socket(endpoint.connect().await?))
    }

    /// Serves a store to this process alone.
    pub fn in_memory(store: &Arc<Store>) -> Self {
        let uuid = String::new();
        Self::Memory(routes(store, Identity { uuid }, None))
    }
}

impl Service<http::Request<Body>> for Way {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Socket(channel) => channel.poll_ready(context).map_err(StdError::from),
            Self::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Self::Socket(channel) => {
                let answer = channel.call(request);
                Box::pin(async { Ok(answer.await?) })
            }
            Self::Memory(routes) => {
                let answer = routes.call(request);
                Box::pin(async { Ok(answer.await?) })
            }
        }
    }
}

//! Commands that are calls of the API: over the socket where a server serves the store, in
//! memory otherwise.

use tonic::{Request, Status};

use super::{CliError, Session};
use crate::api::Way;
use crate::meta::Namespace;
use crate::serve;

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        Self::Api(Box::new(status))
    }
}

/// Asks the API of the store.
pub(super) fn ask<T>(
    session: &Session,
    question: impl AsyncFnOnce(Way, &Namespace) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(async {
        let way = match serve::socket_of(&session.store)? {
            // One that is about to begin or to end answers nobody.
            Some(socket) => {
                let reached = Way::to(&socket).await;
                reached.unwrap_or_else(|_| Way::in_memory(&session.store))
            }
            None => Way::in_memory(&session.store),
        };
        question(way, &session.namespace).await
    })
}

/// Returns a request in a namespace.
pub(super) fn request<T>(namespace: &Namespace, message: T) -> Result<Request<T>, CliError> {
    let mut request = Request::new(message);
    let name = namespace.as_str().parse();
    let name = name.map_err(|_| Status::invalid_argument("the namespace is no header"))?;
    request.metadata_mut().insert("containerd-namespace", name);
    Ok(request)
}

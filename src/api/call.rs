//! What all services have of a call: the store, the namespace, the lease, a thread.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Request, Status};

use super::status::{refused, status};
use crate::error_class::ErrorClass;
use crate::gc;
use crate::leases::{LeaseError, Leases, Resource};
use crate::meta::Namespace;
use crate::snapshots;
use crate::store::Store;

/// The header that names the namespace.
pub(crate) const NAMESPACE: &str = "containerd-namespace";
/// The header that names the lease under which things are made.
const LEASE: &str = "containerd-lease";

/// The most records in one message of a list.
const BLOCK: usize = 100;

/// The messages that answer a call.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The store, as the services share it.
#[derive(Debug, Clone)]
pub(super) struct Service(Arc<Store>);

/// One call: on what, in which namespace, under which lease.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) store: Arc<Store>,
    pub(super) namespace: Namespace,
    lease: Option<String>,
}

impl Service {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        Self(Arc::clone(store))
    }

    pub(super) fn store(&self) -> &Store {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<Store> {
        Arc::clone(&self.0)
    }

    /// Returns what a call says of itself in its headers.
    pub(super) fn call<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        let Some(name) = header(request, NAMESPACE)? else {
            let message = "namespace is required";
            return Err(refused(ErrorClass::FailedPrecondition, message));
        };
        Ok(Call {
            store: Arc::clone(&self.0),
            namespace: name.parse().map_err(|error| status(&error))?,
            lease: header(request, LEASE)?,
        })
    }

    /// Answers a call about a snapshot on a thread that may block. A containerd that keeps
    /// it here says whose it is in its name, and no lease that is known here.
    pub(super) async fn answer_about<T, R: Send + 'static>(
        &self,
        name: impl FnOnce(&T) -> &str,
        request: Request<T>,
        answer: impl FnOnce(Call, T) -> Result<R, Status> + Send + 'static,
    ) -> Result<tonic::Response<R>, Status>
    where
        T: Send + 'static,
    {
        let keeper = snapshots::keeper(name(request.get_ref()));
        let caller = header(&request, NAMESPACE)?;
        let is_keepers = |keeper: &Namespace| {
            let caller = caller.as_deref();
            caller.is_none_or(|caller| caller == keeper.as_str())
        };
        let Some(namespace) = keeper.filter(is_keepers) else {
            return self.answer(request, answer).await;
        };
        let call = Call {
            store: Arc::clone(&self.0),
            namespace,
            lease: None,
        };
        let message = request.into_inner();
        let answer = blocking(move || answer(call, message)).await?;
        Ok(tonic::Response::new(answer))
    }

    /// Returns whether a call says in which namespace it is.
    pub(super) fn has_namespace<T>(request: &Request<T>) -> bool {
        request.metadata().contains_key(NAMESPACE)
    }

    /// Answers a call on a thread that may block.
    pub(super) async fn answer<T, R: Send + 'static>(
        &self,
        request: Request<T>,
        answer: impl FnOnce(Call, T) -> Result<R, Status> + Send + 'static,
    ) -> Result<tonic::Response<R>, Status>
    where
        T: Send + 'static,
    {
        let call = self.call(&request)?;
        let message = request.into_inner();
        let answer = blocking(move || answer(call, message)).await?;
        Ok(tonic::Response::new(answer))
    }
}

impl Call {
    /// Puts what the call is about to make or use under its lease, if it has one.
    pub(super) fn lease(&self, resource: impl FnOnce() -> Resource) -> Result<(), Status> {
        let Some(id) = &self.lease else {
            return Ok(());
        };
        let leases = Leases::new(&self.store, self.namespace.clone());
        match leases.add(id, &resource()) {
            Ok(()) => Ok(()),
            Err(LeaseError::NotFound(_)) => {
                Err(refused(ErrorClass::NotFound, "lease does not exist"))
            }
            Err(error) => Err(status(&error)),
        }
    }
}

impl Call {
    /// Removes garbage before the call is answered, if its client wants to wait for that.
    pub(super) fn collected(&self, is_wanted: bool) -> Result<(), Status> {
        if !is_wanted {
            return Ok(());
        }
        let collected = gc::collect(&self.store).map(drop);
        collected.map_err(|error| {
            let message = format!("remove garbage: {error}");
            refused(ErrorClass::Internal, &message)
        })
    }
}

/// Runs what may block on a thread of its own.
pub(super) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Status> + Send + 'static,
) -> Result<R, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // It has panicked, or the server ends.
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// Returns the messages of a list, each of a block of its records.
pub(super) fn blocks<R: Send + 'static, M: Send + 'static>(
    records: Vec<R>,
    message: impl Fn(&mut dyn Iterator<Item = R>) -> M + Send + 'static,
) -> Answers<M> {
    let count = records.len().div_ceil(BLOCK);
    let mut records = records.into_iter();
    let messages = (0..count).map(move |_| Ok(message(&mut records.by_ref().take(BLOCK))));
    Box::pin(tokio_stream::iter(messages))
}

fn header<T>(request: &Request<T>, name: &'static str) -> Result<Option<String>, Status> {
    let Some(value) = request.metadata().get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => {
            let message = format!("header {name} is not text");
            Err(refused(ErrorClass::InvalidArgument, &message))
        }
    }
}

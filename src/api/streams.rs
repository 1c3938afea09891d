//! Streams between a client and a transfer that it has begun or will begin.
//!
//! A client opens a stream under a name, and names it in the transfer that is to use it.
//! Between the two the stream waits here; it is forgotten when the client goes away.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mica_proto::prost_types::Any;
use mica_proto::streaming::StreamInit;
use mica_proto::streaming::streaming_server::Streaming;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::any;
use super::call;
use super::status::refused;
use crate::error_class::ErrorClass;
use crate::meta::Namespace;

/// Messages that may wait for the client.
const AHEAD: usize = 16;

/// A stream that nobody else uses.
#[derive(Debug)]
pub(super) struct OpenStream {
    /// What the client says.
    pub(super) incoming: tonic::Streaming<Any>,
    /// What the client is told; dropped, the stream ends.
    pub(super) outgoing: Sender<Result<Any, Status>>,
}

/// The streams that wait for a transfer.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Waiting>>);

type Waiting = HashMap<(Namespace, String), OpenStream>;

/// Takes streams in.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) calls: call::Service,
    pub(super) streams: Streams,
}

impl Streams {
    /// Hands a stream over.
    pub(super) fn take(&self, namespace: &Namespace, id: &str) -> Result<OpenStream, Status> {
        let key = (namespace.clone(), id.to_owned());
        let found = self.waiting().remove(&key);
        found.ok_or_else(|| refused(ErrorClass::NotFound, &format!("stream {id:?}")))
    }

    fn put(&self, namespace: Namespace, id: String, stream: OpenStream) -> Result<(), Status> {
        let mut waiting = self.waiting();
        waiting.retain(|_, stream| !stream.outgoing.is_closed());
        if waiting.contains_key(&(namespace.clone(), id.clone())) {
            let message = format!("stream {id:?}");
            return Err(refused(ErrorClass::AlreadyExists, &message));
        }
        waiting.insert((namespace, id), stream);
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Streaming for Service {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<Any, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<tonic::Streaming<Any>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let call = self.calls.call(&request)?;
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.unwrap_or_default();
        let Some(StreamInit { id }) = any::unpacked(&first)? else {
            let message = "a stream begins with its name";
            return Err(refused(ErrorClass::InvalidArgument, message));
        };
        let (outgoing, answers) = mpsc::channel(AHEAD);
        let known = Any {
            type_url: "google.protobuf.Empty".to_owned(),
            value: Vec::new(),
        };
        // There is room for the first answer.
        drop(outgoing.try_send(Ok(known)));
        let stream = OpenStream { incoming, outgoing };
        self.streams.put(call.namespace, id, stream)?;
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

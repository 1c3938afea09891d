//! Events: what was published is sent on as it happens.
//!
//! Clients cannot publish: the store tells of itself, and nobody else has events here.

use std::pin::Pin;
use std::time::Duration;

use mica_proto::events::events_server::Events;
use mica_proto::events::{ForwardRequest, PublishRequest, SubscribeRequest};
use mica_proto::prost_types::Any;
use mica_proto::{event, images, types};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::any::packed;
use super::call;
use super::convert;
use super::status::refused;
use crate::error_class::ErrorClass;
use crate::events::{Envelope, Event, EventsError, Follower};
use crate::filter::Filter;

/// Events that may wait for a client.
const AHEAD: usize = 64;
/// After how long without an event it is seen that the client has gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// The events of a store.
#[derive(Debug)]
pub(crate) struct Service(pub(super) call::Service);

#[tonic::async_trait]
impl Events for Service {
    async fn publish(&self, _request: Request<PublishRequest>) -> Result<Response<()>, Status> {
        Err(refused(ErrorClass::Unimplemented, "publish an event"))
    }

    async fn forward(&self, _request: Request<ForwardRequest>) -> Result<Response<()>, Status> {
        Err(refused(ErrorClass::Unimplemented, "forward an event"))
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<types::Envelope, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filter = convert::filter(&request.into_inner().filters)?;
        let follower = self
            .0
            .store()
            .events()
            .from_now()
            .map_err(|error| failed(&error))?;
        let (events, stream) = mpsc::channel(AHEAD);
        // A thread of its own, as it may be there for days: those of other calls are counted.
        let thread = std::thread::Builder::new().name("mica-events".to_owned());
        let spawned = thread.spawn(move || {
            if let Err(error) = follow(follower, &filter, &events) {
                // The client has gone if nobody takes it.
                drop(events.blocking_send(Err(failed(&error))));
            }
        });
        spawned.map_err(|error| {
            let message = format!("follow the events: {error}");
            refused(ErrorClass::Unavailable, &message)
        })?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Sends events until nobody takes them.
fn follow(
    mut follower: Follower,
    filter: &Filter,
    events: &Sender<Result<types::Envelope, Status>>,
) -> Result<(), EventsError> {
    while !events.is_closed() {
        for envelope in follower.read()? {
            if filter.matches(&envelope) && events.blocking_send(Ok(message(&envelope))).is_err() {
                return Ok(());
            }
        }
        follower.wait(Some(PATIENCE))?;
    }
    Ok(())
}

fn failed(error: &EventsError) -> Status {
    Status::internal(format!("{error}: {}", ErrorClass::Internal))
}

fn message(envelope: &Envelope) -> types::Envelope {
    types::Envelope {
        timestamp: Some(convert::timestamp(envelope.timestamp)),
        namespace: envelope.namespace.as_str().to_owned(),
        topic: envelope.event.topic().to_owned(),
        event: Some(any(&envelope.event)),
    }
}

fn any(event: &Event) -> Any {
    match event.clone() {
        Event::ImageCreate { name, labels } => packed(&images::ImageCreate { name, labels }),
        Event::ImageUpdate { name, labels } => packed(&images::ImageUpdate { name, labels }),
        Event::ImageDelete { name } => packed(&images::ImageDelete { name }),
        Event::ContentCreate { digest, size } => packed(&event::ContentCreate {
            digest: digest.to_string(),
            size: convert::size(size),
        }),
        Event::ContentDelete { digest } => packed(&event::ContentDelete {
            digest: digest.to_string(),
        }),
        Event::SnapshotPrepare {
            key,
            parent,
            snapshotter,
        } => packed(&event::SnapshotPrepare {
            key,
            parent,
            snapshotter,
        }),
        Event::SnapshotCommit {
            key,
            name,
            snapshotter,
        } => packed(&event::SnapshotCommit {
            key,
            name,
            snapshotter,
        }),
        Event::SnapshotRemove { key, snapshotter } => {
            packed(&event::SnapshotRemove { key, snapshotter })
        }
        Event::NamespaceCreate { name, labels } => packed(&event::NamespaceCreate { name, labels }),
        Event::NamespaceUpdate { name, labels } => packed(&event::NamespaceUpdate { name, labels }),
        Event::NamespaceDelete { name } => packed(&event::NamespaceDelete { name }),
    }
}

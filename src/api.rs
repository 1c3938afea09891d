//! containerd's services and one of our own over the store: gRPC in, calls of the library, gRPC
//! out.
//!
//! Each service is a thin adapter: it reads the namespace and the lease of a call, translates
//! messages to the library's values and back, and reports an error under containerd's class
//! with containerd's ending. What a call means is decided by the library alone. The library
//! blocks, so each call runs on a thread of its own.

mod any;
mod call;
mod content;
pub(crate) mod convert;
mod diff;
mod events;
mod images;
mod introspection;
mod leases;
mod mica;
mod namespaces;
mod served;
mod snapshots;
mod status;
mod streams;
mod transfer;
mod version;
mod views;
mod way;

use std::sync::Arc;

use mica_proto::content::content_server::ContentServer;
use mica_proto::diff::diff_server::DiffServer;
use mica_proto::events::events_server::EventsServer;
use mica_proto::images::images_server::ImagesServer;
use mica_proto::introspection::introspection_server::IntrospectionServer;
use mica_proto::leases::leases_server::LeasesServer;
use mica_proto::mica::mica_server::MicaServer;
use mica_proto::namespaces::namespaces_server::NamespacesServer;
use mica_proto::snapshots::snapshots_server::SnapshotsServer;
use mica_proto::streaming::streaming_server::StreamingServer;
use mica_proto::transfer::transfer_server::TransferServer;
use mica_proto::version::version_server::VersionServer;
use tonic::service::{Routes, RoutesBuilder};

use crate::containerd::Containerd;
use crate::store::Store;

pub(crate) use call::NAMESPACE;
pub use introspection::Identity;
pub(crate) use served::Place;
pub(crate) use status::FAILURE;
pub use way::Way;

/// The most bytes of one message, as containerd has it.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;

/// Adds a service with containerd's limits on messages.
macro_rules! add {
    ($routes:expr, $server:expr) => {
        $routes.add_service(
            $server
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        )
    };
}

/// The services that commands call.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) content: content::Service,
    pub(crate) events: events::Service,
    pub(crate) images: images::Service,
    pub(crate) leases: leases::Service,
    pub(crate) mica: mica::Service,
    pub(crate) namespaces: namespaces::Service,
    pub(crate) snapshots: snapshots::Service,
}

impl Services {
    pub(crate) fn over(store: &Arc<Store>) -> Self {
        Self::of(&call::Service::new(store))
    }

    fn of(calls: &call::Service) -> Self {
        Self {
            content: content::Service(calls.clone()),
            events: events::Service(calls.clone()),
            images: images::Service(calls.clone()),
            leases: leases::Service(calls.clone()),
            mica: mica::Service(calls.clone()),
            namespaces: namespaces::Service(calls.clone()),
            snapshots: snapshots::Service::new(calls.clone()),
        }
    }
}

/// Returns all services over a store. What is to be unpacked may be in a containerd's.
pub fn routes(store: &Arc<Store>, identity: Identity, containerd: Option<Containerd>) -> Routes {
    let mut routes = RoutesBuilder::default();
    let service = call::Service::new(store);
    let services = Services::of(&service);
    add!(routes, ContentServer::new(services.content));
    add!(
        routes,
        DiffServer::new(diff::Service::new(service.clone(), containerd))
    );
    add!(routes, EventsServer::new(services.events));
    add!(routes, ImagesServer::new(services.images));
    add!(
        routes,
        IntrospectionServer::new(introspection::Service::new(identity))
    );
    add!(routes, LeasesServer::new(services.leases));
    add!(routes, MicaServer::new(services.mica));
    add!(routes, NamespacesServer::new(services.namespaces));
    add!(routes, SnapshotsServer::new(services.snapshots));
    let streams = streams::Streams::default();
    let transfer = transfer::Service {
        calls: service.clone(),
        streams: streams.clone(),
    };
    let calls = service;
    add!(
        routes,
        StreamingServer::new(streams::Service { calls, streams })
    );
    add!(routes, TransferServer::new(transfer));
    add!(routes, VersionServer::new(version::Service));
    routes.routes()
}

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
mod convert;
mod diff;
mod events;
mod images;
mod introspection;
mod leases;
mod mica;
mod namespaces;
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

pub use introspection::Identity;
pub use way::Way;

/// The most bytes of one message, as containerd has it.
const MESSAGE_LIMIT: usize = 16 << 20;

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

/// Returns all services over a store. What is to be unpacked may be in a containerd's.
pub fn routes(store: &Arc<Store>, identity: Identity, containerd: Option<Containerd>) -> Routes {
    let mut routes = RoutesBuilder::default();
    let service = call::Service::new(store);
    add!(
        routes,
        ContentServer::new(content::Service(service.clone()))
    );
    add!(
        routes,
        DiffServer::new(diff::Service::new(service.clone(), containerd))
    );
    add!(routes, EventsServer::new(events::Service(service.clone())));
    add!(routes, ImagesServer::new(images::Service(service.clone())));
    add!(
        routes,
        IntrospectionServer::new(introspection::Service::new(identity))
    );
    add!(routes, LeasesServer::new(leases::Service(service.clone())));
    add!(routes, MicaServer::new(mica::Service(service.clone())));
    add!(
        routes,
        NamespacesServer::new(namespaces::Service(service.clone()))
    );
    add!(
        routes,
        SnapshotsServer::new(snapshots::Service::new(service.clone()))
    );
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

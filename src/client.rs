//! The API of a store, as commands call it: over the socket of the server of that store, or in
//! memory where none runs.
//!
//! Both ways lead to the same services with the same messages; in memory nothing is encoded and
//! nobody is connected to. **A server is asked only for what it serves**: it has to be the
//! user's own, to have the very directory that this process has opened, and to see the same
//! mounts. Any other is as good as none, and so is one that does not say so at once.

mod answer;
mod connection;
mod content;
mod error;
mod images;
mod leases;
mod mica;
mod namespaces;
mod snapshots;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mica_proto::mica::mica_client::MicaClient;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::api::{NAMESPACE, Place, Services};
use crate::meta::Namespace;
use crate::serve;
use crate::store::Store;

pub(crate) use error::ClientError;

/// How long a server may take to say what it serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// A caller of the API, in one namespace.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    peer: Peer,
    namespace: Namespace,
}

/// Who answers.
#[derive(Debug)]
enum Peer {
    Server(Channel),
    Own(Box<Services>),
}

/// Calls a method that answers with one message.
macro_rules! ask {
    ($client:expr, $service:ident, $over:ident::$method:ident, $message:expr) => {{
        let client: &$crate::client::Client = $client;
        let request = client.request($message)?;
        let answered = client.runtime.block_on(async {
            match &client.peer {
                $crate::client::Peer::Server(channel) => {
                    $over::new(channel.clone())
                        .max_decoding_message_size($crate::api::MESSAGE_LIMIT)
                        .$method(request)
                        .await
                }
                $crate::client::Peer::Own(services) => services.$service.$method(request).await,
            }
        });
        answered.map(tonic::Response::into_inner)
    }};
}

/// Calls a method that answers with a stream, and gives each message to a function.
macro_rules! follow {
    ($client:expr, $service:ident, $over:ident::$method:ident, $message:expr, $take:expr) => {{
        let client: &$crate::client::Client = $client;
        let request = client.request($message)?;
        client.runtime.block_on(async {
            match &client.peer {
                $crate::client::Peer::Server(channel) => {
                    let mut over = $over::new(channel.clone())
                        .max_decoding_message_size($crate::api::MESSAGE_LIMIT);
                    let answers = over.$method(request).await?.into_inner();
                    $crate::client::answer::each(answers, $take).await
                }
                $crate::client::Peer::Own(services) => {
                    let answers = services.$service.$method(request).await?.into_inner();
                    $crate::client::answer::each(answers, $take).await
                }
            }
        })
    }};
}

use {ask, follow};

impl Client {
    /// Finds who answers for a store.
    pub(crate) fn of(store: &Arc<Store>, namespace: Namespace) -> Result<Self, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClientError::Runtime)?;
        let server = match serve::socket_of(store)? {
            Some(socket) => {
                let found = async { timeout(PATIENCE, server(store, &socket)).await };
                runtime.block_on(found).unwrap_or_else(|_| {
                    tracing::debug!("the server does not answer");
                    None
                })
            }
            None => None,
        };
        let peer = match server {
            Some(channel) => Peer::Server(channel),
            None => Peer::Own(Box::new(Services::over(store))),
        };
        Ok(Self {
            runtime,
            peer,
            namespace,
        })
    }

    /// Returns a request in the namespace.
    fn request<T>(&self, message: T) -> Result<Request<T>, ClientError> {
        let mut request = Request::new(message);
        let name = self.namespace.as_str().parse();
        let name = name.map_err(|_| Status::invalid_argument("the namespace is no header"))?;
        request.metadata_mut().insert(NAMESPACE, name);
        Ok(request)
    }
}

/// Returns a connection to the server of a store, if it is one for this process.
async fn server(store: &Store, socket: &Path) -> Option<Channel> {
    let socket_path = socket.display();
    let channel = match connection::open(socket).await {
        Ok(channel) => channel,
        Err(error) => {
            tracing::debug!(%error, "no server at {socket_path}");
            return None;
        }
    };
    let told = MicaClient::new(channel.clone()).served(()).await;
    let is_served = match (&told, Place::of(store)) {
        (Ok(told), Ok(place)) => place.is(told.get_ref()),
        _ => false,
    };
    if is_served {
        tracing::debug!("the server at {socket_path} answers");
        return Some(channel);
    }
    tracing::debug!("the server at {socket_path} serves something else");
    None
}

//! containerd's content service, asked as a client: the blobs of a containerd that has
//! this server unpack them.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mica_proto::content::content_client::ContentClient;
use mica_proto::content::{InfoRequest, ReadContentRequest, ReadContentResponse};
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::error_class::ErrorClass;
use crate::meta::{Labels, Namespace};
use crate::oci::Digest;

/// The most bytes of one message, as containerd has it.
const MESSAGE_LIMIT: usize = 16 << 20;
/// Messages that may wait for whoever reads.
const AHEAD: usize = 4;

/// Why containerd could not be asked.
#[derive(Debug, Error)]
pub enum ContainerdError {
    /// The path is none that can be connected to.
    #[error("connect to containerd at {}", path.display())]
    Address {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// The namespace is none that containerd could have.
    #[error("namespace {0} is none of containerd's")]
    Namespace(Namespace),
    /// The blob is not there.
    #[error("containerd does not have blob {0}")]
    NotFound(Digest),
    /// containerd did not answer, or not as was hoped.
    #[error("ask containerd for blob {digest}")]
    Call {
        /// The blob.
        digest: Digest,
        /// What it said.
        source: Box<Status>,
    },
}

impl ContainerdError {
    /// Returns the class under which the error is reported.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::Namespace(_) => ErrorClass::NotFound,
            Self::Address { .. } | Self::Call { .. } => ErrorClass::Unavailable,
        }
    }
}

/// A containerd, which need not run yet.
#[derive(Debug, Clone)]
pub struct Containerd {
    content: ContentClient<Channel>,
}

/// A blob that is being read; dropped, it is read no further.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) pieces: Receiver<io::Result<Bytes>>,
    /// Reads the pieces.
    pub(crate) task: JoinSet<()>,
}

impl Containerd {
    /// Names the containerd that listens at a socket. It is connected to at the first call,
    /// and again whenever it has gone away.
    pub fn at(socket: &Path) -> Result<Self, ContainerdError> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
        let endpoint = endpoint.map_err(|source| ContainerdError::Address {
            path: socket.to_owned(),
            source,
        })?;
        let content =
            ContentClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_LIMIT);
        Ok(Self { content })
    }

    /// Returns the labels of a blob.
    pub(crate) async fn labels(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<Labels, ContainerdError> {
        let info = InfoRequest {
            digest: digest.to_string(),
        };
        let mut content = self.content.clone();
        let answer = content.info(request(namespace, info)?).await;
        let info = answer.map_err(failed(digest))?.into_inner().info;
        Ok(info.unwrap_or_default().labels.into_iter().collect())
    }

    /// Begins to read a blob.
    pub(crate) async fn read(
        &self,
        namespace: &Namespace,
        digest: &Digest,
    ) -> Result<Reading, ContainerdError> {
        let read = ReadContentRequest {
            digest: digest.to_string(),
            offset: 0,
            size: 0,
        };
        let mut content = self.content.clone();
        let answer = content.read(request(namespace, read)?).await;
        let answers = answer.map_err(failed(digest))?.into_inner();
        let (sender, pieces) = channel(AHEAD);
        let mut task = JoinSet::new();
        task.spawn(pass_on(answers, sender));
        Ok(Reading { pieces, task })
    }
}

async fn pass_on(mut answers: Streaming<ReadContentResponse>, pieces: Sender<io::Result<Bytes>>) {
    loop {
        let piece = match answers.message().await {
            Ok(Some(answer)) => Ok(answer.data),
            Ok(None) => return,
            Err(status) => Err(io::Error::other(status)),
        };
        let is_end = piece.is_err();
        if pieces.send(piece).await.is_err() || is_end {
            return;
        }
    }
}

fn request<T>(namespace: &Namespace, message: T) -> Result<Request<T>, ContainerdError> {
    let name = namespace.as_str().parse();
    let name = name.map_err(|_| ContainerdError::Namespace(namespace.clone()))?;
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", name);
    Ok(request)
}

fn failed(digest: &Digest) -> impl Fn(Status) -> ContainerdError {
    move |status| match status.code() {
        Code::NotFound => ContainerdError::NotFound(digest.clone()),
        _ => ContainerdError::Call {
            digest: digest.clone(),
            source: Box::new(status),
        },
    }
}

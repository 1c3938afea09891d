//! A connection to a server of the user's own.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Gives away the one connection that there is.
struct Once(Option<UnixStream>);

/// Connects to a server. What another user listens at is none.
pub(super) async fn open(socket: &Path) -> io::Result<Channel> {
    let connection = UnixStream::connect(socket).await?;
    if connection.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is another user's"));
    }
    // Nobody looks at the name.
    let endpoint = Endpoint::from_static("http://mica");
    let channel = endpoint.connect_with_connector(Once(Some(connection)));
    channel.await.map_err(io::Error::other)
}

impl Service<Uri> for Once {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = self.0.take();
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the server has ended");
        Box::pin(std::future::ready(
            connection.map(TokioIo::new).ok_or_else(ended),
        ))
    }
}

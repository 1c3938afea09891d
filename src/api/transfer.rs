//! Transfers: images between registries, the store and archives that clients stream.
//!
//! What is transferred is told by the kinds of source and destination; the work is that of
//! `mica pull`, `push`, `import`, `export` and `image tag`. A client that goes away ends its
//! transfer, and what was brought by then is taken up by the next one.

mod auth;
mod bytes;
mod copies;
mod errors;
mod images;
mod progress;
mod registries;

use mica_proto::prost_types::Any;
use mica_proto::transfer::TransferRequest;
use mica_proto::transfer::transfer_server::Transfer;
use mica_proto::transfer_types::{ImageExportStream, ImageImportStream, ImageStore, OciRegistry};
use tonic::{Request, Response, Status};

use super::any::{name, unpacked};
use super::call::{self, Call};
use super::convert::required;
use super::status::refused;
use super::streams::Streams;
use crate::error_class::ErrorClass;

use progress::Progress;

/// Transfers of a store.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) calls: call::Service,
    pub(super) streams: Streams,
}

/// One end of a transfer.
#[derive(Debug)]
enum End {
    Registry(OciRegistry),
    Store(ImageStore),
    Import(ImageImportStream),
    Export(ImageExportStream),
}

/// One transfer: under which call, and who is told how far it is.
#[derive(Debug)]
struct Job {
    call: Call,
    streams: Streams,
    progress: Progress,
}

#[tonic::async_trait]
impl Transfer for Service {
    async fn transfer(&self, request: Request<TransferRequest>) -> Result<Response<()>, Status> {
        let call = self.calls.call(&request)?;
        let request = request.into_inner();
        let source = end(&required(request.source, "source")?)?;
        let destination = end(&required(request.destination, "destination")?)?;
        let stream = request.options.unwrap_or_default().progress_stream;
        let progress = match stream.as_str() {
            "" => Progress::default(),
            id => Progress::on(self.streams.take(&call.namespace, id)?),
        };
        let job = Job {
            call,
            streams: self.streams.clone(),
            progress,
        };
        match (source, destination) {
            (End::Registry(from), End::Store(to)) => job.pull(from, to).await?,
            (End::Store(from), End::Registry(to)) => job.push(from, to).await?,
            (End::Import(from), End::Store(to)) => job.import(from, to).await?,
            (End::Store(from), End::Export(to)) => job.export(from, to).await?,
            (End::Store(from), End::Store(to)) => job.tag(from, to).await?,
            _ => {
                let message = "a transfer of this kind";
                return Err(refused(ErrorClass::Unimplemented, message));
            }
        }
        Ok(Response::new(()))
    }
}

fn end(any: &Any) -> Result<End, Status> {
    if let Some(registry) = unpacked(any)? {
        return Ok(End::Registry(registry));
    }
    if let Some(store) = unpacked(any)? {
        return Ok(End::Store(store));
    }
    if let Some(import) = unpacked(any)? {
        return Ok(End::Import(import));
    }
    if let Some(export) = unpacked(any)? {
        return Ok(End::Export(export));
    }
    let message = format!("a transfer of {}", name(any));
    Err(refused(ErrorClass::Unimplemented, &message))
}

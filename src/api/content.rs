//! Blobs.

mod read;
mod write;

use mica_proto::content::content_server::Content;
use mica_proto::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest,
    ListContentResponse, ListStatusesRequest, ListStatusesResponse, ReadContentRequest,
    ReadContentResponse, Status as IngestMessage, StatusRequest, StatusResponse, UpdateRequest,
    UpdateResponse, WriteContentRequest, WriteContentResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::call::{self, Answers, Call, blocks};
use super::convert::{self, required};
use super::status::status;
use crate::content::{Blobs, IngestStatus};
use crate::meta::ContentRecord;

/// Messages that may wait for the client.
const AHEAD: usize = 4;

/// The blobs of a store.
#[derive(Debug)]
pub(crate) struct Service(pub(super) call::Service);

#[tonic::async_trait]
impl Content for Service {
    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let info = |call: Call, request: InfoRequest| {
            let digest = convert::digest(&request.digest)?;
            let record = of(&call).info(&digest).map_err(|error| status(&error))?;
            let info = Some(message(record));
            Ok(InfoResponse { info })
        };
        self.0.answer(request, info).await
    }

    async fn update(
        &self,
        request: Request<UpdateRequest>,
    ) -> Result<Response<UpdateResponse>, Status> {
        let update = |call: Call, request: UpdateRequest| {
            let info = required(request.info, "info")?;
            let digest = convert::digest(&info.digest)?;
            let mask = convert::mask(request.update_mask);
            let mask: Vec<&str> = mask.iter().map(String::as_str).collect();
            let record = of(&call)
                .update(&digest, &info.labels, &mask)
                .map_err(|error| status(&error))?;
            let info = Some(message(record));
            Ok(UpdateResponse { info })
        };
        self.0.answer(request, update).await
    }

    type ListStream = Answers<ListContentResponse>;

    async fn list(
        &self,
        request: Request<ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let list = |call: Call, request: ListContentRequest| {
            let filter = convert::filter(&request.filters)?;
            of(&call).matching(&filter).map_err(|error| status(&error))
        };
        let records = self.0.answer(request, list).await?.into_inner();
        let messages = blocks(records, |block| {
            let info = block.map(message).collect();
            ListContentResponse { info }
        });
        Ok(Response::new(messages))
    }

    async fn delete(&self, request: Request<DeleteContentRequest>) -> Result<Response<()>, Status> {
        let delete = |call: Call, request: DeleteContentRequest| {
            let digest = convert::digest(&request.digest)?;
            of(&call).delete(&digest).map_err(|error| status(&error))
        };
        self.0.answer(request, delete).await
    }

    type ReadStream = Answers<ReadContentResponse>;

    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let call = self.0.call(&request)?;
        let request = request.into_inner();
        let (answers, stream) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            if let Err(status) = read::run(call, request, &answers).await {
                // The client has gone if nobody takes it.
                drop(answers.send(Err(status)).await);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let answer = |call: Call, request: StatusRequest| {
            let ingest = of(&call)
                .status(&request.r#ref)
                .map_err(|error| status(&error))?;
            let status = Some(ingest_message(&ingest));
            Ok(StatusResponse { status })
        };
        self.0.answer(request, answer).await
    }

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let list = |call: Call, request: ListStatusesRequest| {
            let filter = convert::filter(&request.filters)?;
            let ingests = of(&call)
                .statuses(&filter)
                .map_err(|error| status(&error))?;
            let statuses = ingests.iter().map(ingest_message).collect();
            Ok(ListStatusesResponse { statuses })
        };
        self.0.answer(request, list).await
    }

    type WriteStream = Answers<WriteContentResponse>;

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let call = self.0.call(&request)?;
        let (answers, stream) = mpsc::channel(AHEAD);
        tokio::spawn(write::run(call, request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        let abort = |call: Call, request: AbortRequest| {
            of(&call)
                .abort(&request.r#ref)
                .map_err(|error| status(&error))
        };
        self.0.answer(request, abort).await
    }
}

fn of(call: &Call) -> Blobs {
    Blobs::new(&call.store, call.namespace.clone())
}

fn message(record: ContentRecord) -> Info {
    Info {
        digest: record.digest.to_string(),
        size: convert::size(record.size),
        created_at: Some(convert::timestamp(record.created)),
        updated_at: Some(convert::timestamp(record.updated)),
        labels: record.labels,
    }
}

fn ingest_message(ingest: &IngestStatus) -> IngestMessage {
    IngestMessage {
        started_at: Some(convert::timestamp(ingest.started)),
        updated_at: Some(convert::timestamp(ingest.updated)),
        r#ref: ingest.reference.clone(),
        offset: convert::size(ingest.offset),
        total: convert::size(ingest.total),
        expected: ingest
            .expected
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

//! The content service as a client calls it.

use std::collections::BTreeMap;

use mica::api::Way;
use mica_proto::content::content_client::ContentClient;
use mica_proto::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, ListContentRequest, ListStatusesRequest,
    ReadContentRequest, Status as Ingest, StatusRequest, UpdateRequest, WriteAction,
    WriteContentRequest, WriteContentResponse,
};
use mica_proto::prost_types::FieldMask;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::client::request_in;

/// The most bytes of a message, as containerd has it.
const MESSAGE_LIMIT: usize = 16 << 20;

/// The blobs of a namespace.
pub(crate) struct Blobs {
    client: ContentClient<Way>,
    namespace: &'static str,
}

/// A stream that writes a blob.
pub(crate) struct Writer {
    to: Sender<WriteContentRequest>,
    from: Streaming<WriteContentResponse>,
    /// What was answered last.
    pub(crate) last: WriteContentResponse,
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl Blobs {
    pub(crate) fn on(way: Way, namespace: &'static str) -> Self {
        let client = ContentClient::new(way);
        Self {
            client: client
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
            namespace,
        }
    }

    /// Opens a writer.
    pub(crate) async fn writer(
        &mut self,
        reference: &str,
        total: i64,
        expected: &str,
    ) -> Result<Writer, Status> {
        let (to, messages) = channel(1);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total,
            expected: expected.to_owned(),
            ..WriteContentRequest::default()
        };
        to.send(first).await.unwrap();
        let stream = request_in(self.namespace, ReceiverStream::new(messages));
        let mut from = self.client.write(stream).await?.into_inner();
        let last = from.message().await?.unwrap();
        Ok(Writer { to, from, last })
    }

    /// Writes a blob and returns its digest.
    pub(crate) async fn add(&mut self, bytes: &[u8]) -> String {
        let mut writer = self.writer("add", 0, "").await.unwrap();
        writer.write(bytes).await.unwrap();
        let committed = writer.commit(0, "", BTreeMap::new()).await;
        committed.unwrap().digest
    }

    pub(crate) async fn info(&mut self, digest: &str) -> Result<Info, Status> {
        let digest = digest.to_owned();
        let info = request_in(self.namespace, InfoRequest { digest });
        Ok(self.client.info(info).await?.into_inner().info.unwrap())
    }

    pub(crate) async fn update(&mut self, info: Info, mask: &[&str]) -> Result<Info, Status> {
        let update = UpdateRequest {
            info: Some(info),
            update_mask: Some(FieldMask { paths: owned(mask) }),
        };
        let update = request_in(self.namespace, update);
        let updated = self.client.update(update).await?;
        Ok(updated.into_inner().info.unwrap())
    }

    pub(crate) async fn list(&mut self, filters: &[&str]) -> Result<Vec<Info>, Status> {
        let filters = owned(filters);
        let list = request_in(self.namespace, ListContentRequest { filters });
        let mut blocks = self.client.list(list).await?.into_inner();
        let mut infos = Vec::new();
        while let Some(block) = blocks.message().await? {
            infos.extend(block.info);
        }
        Ok(infos)
    }

    pub(crate) async fn bytes(
        &mut self,
        digest: &str,
        offset: i64,
        size: i64,
    ) -> Result<Vec<u8>, Status> {
        let read = ReadContentRequest {
            digest: digest.to_owned(),
            offset,
            size,
        };
        let read = request_in(self.namespace, read);
        let mut parts = self.client.read(read).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await? {
            bytes.extend_from_slice(&part.data);
        }
        Ok(bytes)
    }

    pub(crate) async fn delete(&mut self, digest: &str) -> Result<(), Status> {
        let digest = digest.to_owned();
        let delete = request_in(self.namespace, DeleteContentRequest { digest });
        self.client.delete(delete).await.map(drop)
    }

    pub(crate) async fn status(&mut self, reference: &str) -> Result<Ingest, Status> {
        let status = StatusRequest {
            r#ref: reference.to_owned(),
        };
        let status = self.client.status(request_in(self.namespace, status));
        Ok(status.await?.into_inner().status.unwrap())
    }

    pub(crate) async fn statuses(&mut self, filters: &[&str]) -> Result<Vec<Ingest>, Status> {
        let filters = owned(filters);
        let list = request_in(self.namespace, ListStatusesRequest { filters });
        let statuses = self.client.list_statuses(list).await?;
        Ok(statuses.into_inner().statuses)
    }

    pub(crate) async fn abort(&mut self, reference: &str) -> Result<(), Status> {
        let abort = AbortRequest {
            r#ref: reference.to_owned(),
        };
        let abort = request_in(self.namespace, abort);
        self.client.abort(abort).await.map(drop)
    }
}

impl Writer {
    /// Writes behind what is there.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Status> {
        self.write_at(self.last.offset, bytes).await
    }

    pub(crate) async fn write_at(&mut self, offset: i64, bytes: &[u8]) -> Result<(), Status> {
        let message = WriteContentRequest {
            action: WriteAction::Write.into(),
            offset,
            data: bytes.to_vec().into(),
            ..WriteContentRequest::default()
        };
        self.say(message).await
    }

    pub(crate) async fn commit(
        mut self,
        total: i64,
        expected: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<WriteContentResponse, Status> {
        let message = WriteContentRequest {
            action: WriteAction::Commit.into(),
            total,
            offset: self.last.offset,
            expected: expected.to_owned(),
            labels,
            ..WriteContentRequest::default()
        };
        self.say(message).await?;
        let last = self.last.clone();
        self.close().await;
        Ok(last)
    }

    /// Ends the stream; nobody writes any more when this returns.
    pub(crate) async fn close(self) {
        let Self { to, mut from, .. } = self;
        drop(to);
        while let Ok(Some(_)) = from.message().await {}
    }

    async fn say(&mut self, message: WriteContentRequest) -> Result<(), Status> {
        // If nobody hears it, the answer says why.
        drop(self.to.send(message).await);
        let answer = self.from.message().await?;
        self.last = answer.ok_or_else(|| Status::unknown("the stream has ended"))?;
        Ok(())
    }
}

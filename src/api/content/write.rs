//! The stream that writes a blob: each message is answered, the first opens the writer, a
//! commit ends the stream. A client that goes away leaves what it has written.

use mica_proto::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use tokio::sync::mpsc::Sender;
use tonic::{Status, Streaming};

use super::super::call::{Call, blocking};
use super::super::convert;
use super::super::status::{refused, status};
use super::of;
use crate::content::Writer;
use crate::error_class::ErrorClass;
use crate::leases::Resource;
use crate::oci::Digest;

/// One stream.
#[derive(Debug)]
struct Write {
    call: Call,
    writer: Option<Writer>,
    total: u64,
    expected: Option<Digest>,
}

/// Answers messages until the stream ends.
pub(super) async fn run(
    call: Call,
    mut messages: Streaming<WriteContentRequest>,
    answers: Sender<Result<WriteContentResponse, Status>>,
) {
    let mut write = Write {
        call,
        writer: None,
        total: 0,
        expected: None,
    };
    while let Ok(Some(message)) = messages.message().await {
        let step = move || {
            let answer = write.step(message);
            Ok((write, answer))
        };
        let answer = match blocking(step).await {
            Ok((same, answer)) => {
                write = same;
                answer
            }
            Err(status) => {
                drop(answers.send(Err(status)).await);
                return;
            }
        };
        let is_end = write.writer.is_none();
        if answers.send(answer).await.is_err() || is_end {
            return;
        }
    }
}

impl Write {
    /// Does what a message says. Without a writer afterwards the stream is over.
    fn step(&mut self, message: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        let answer = self.act(message);
        if answer.is_err() {
            self.writer = None;
        }
        answer
    }

    fn act(&mut self, message: WriteContentRequest) -> Result<WriteContentResponse, Status> {
        let action = WriteAction::try_from(message.action).map_err(|_| {
            let message = format!("write action {}", message.action);
            refused(ErrorClass::InvalidArgument, &message)
        })?;
        if message.total != 0 {
            self.total = convert::unsigned(message.total, "total")?;
        }
        if let Some(expected) = convert::optional_digest(&message.expected)? {
            self.expected = Some(expected);
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.open(&message.r#ref)?,
        };
        if action == WriteAction::Stat {
            let answer = self.answer(action, &writer);
            self.writer = Some(writer);
            return answer;
        }
        let offset = convert::unsigned(message.offset, "offset")?;
        if !message.data.is_empty() || (action == WriteAction::Write && offset > 0) {
            writer.seek(offset).map_err(|error| status(&error))?;
        }
        writer
            .write(&message.data)
            .map_err(|error| status(&error))?;
        if action == WriteAction::Write {
            let answer = self.answer(action, &writer);
            self.writer = Some(writer);
            return answer;
        }
        self.commit(writer, message.labels)
    }

    fn open(&self, reference: &str) -> Result<Writer, Status> {
        if reference.is_empty() {
            let message = "first message must have a reference";
            return Err(refused(ErrorClass::InvalidArgument, message));
        }
        let ingest = Resource::new("ingests", reference).map_err(|error| status(&error))?;
        self.call.lease(|| ingest)?;
        of(&self.call)
            .writer(reference, self.total, self.expected.as_ref())
            .map_err(|error| status(&error))
    }

    fn commit(
        &self,
        writer: Writer,
        labels: crate::meta::Labels,
    ) -> Result<WriteContentResponse, Status> {
        let digest = self.expected.clone().unwrap_or_else(|| writer.digest());
        self.call.lease(|| Resource::content(&digest))?;
        let mut answer = self.answer(WriteAction::Commit, &writer)?;
        let record = writer
            .commit(self.total, self.expected.as_ref(), labels)
            .map_err(|error| status(&error))?;
        answer.digest = record.digest.to_string();
        answer.offset = convert::size(record.size);
        answer.total = answer.offset;
        Ok(answer)
    }

    fn answer(&self, action: WriteAction, writer: &Writer) -> Result<WriteContentResponse, Status> {
        let ingest = writer.status().map_err(|error| status(&error))?;
        Ok(WriteContentResponse {
            action: action.into(),
            started_at: Some(convert::timestamp(ingest.started)),
            updated_at: Some(convert::timestamp(ingest.updated)),
            offset: convert::size(writer.offset()),
            total: convert::size(self.total.max(ingest.total)),
            digest: writer.digest().to_string(),
        })
    }
}

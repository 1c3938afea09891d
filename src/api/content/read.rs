//! The stream that reads a blob. A client may take its time: nobody else waits for it, and no
//! thread does.

use std::io::Read as _;

use mica_proto::content::{ReadContentRequest, ReadContentResponse};
use mica_proto::prost::bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use super::super::call::{Call, blocking};
use super::super::convert;
use super::super::status::status;
use super::of;

/// Bytes in one message.
const CHUNK: u64 = 1 << 20;

/// Sends the bytes of a blob, until the end or until nobody takes them.
pub(super) async fn run(
    call: Call,
    request: ReadContentRequest,
    answers: &Sender<Result<ReadContentResponse, Status>>,
) -> Result<(), Status> {
    let digest = convert::digest(&request.digest)?;
    let mut offset = convert::unsigned(request.offset, "offset")?;
    let length = u64::try_from(request.size).ok().filter(|size| *size > 0);
    let open = {
        let digest = digest.clone();
        move || {
            let blob = of(&call).read(&digest, offset, length);
            blob.map_err(|error| status(&error))
        }
    };
    let mut blob = blocking(open).await?;
    loop {
        let step = move || {
            let mut chunk = Vec::new();
            let read = blob.by_ref().take(CHUNK).read_to_end(&mut chunk);
            Ok((blob, read.map(|_| chunk)))
        };
        let (same, chunk) = blocking(step).await?;
        blob = same;
        let chunk = chunk.map_err(|error| Status::internal(format!("read {digest}: {error}")))?;
        if chunk.is_empty() {
            return Ok(());
        }
        let count = chunk.len() as u64;
        let answer = ReadContentResponse {
            offset: convert::size(offset),
            data: Bytes::from(chunk),
        };
        if answers.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
        offset += count;
    }
}

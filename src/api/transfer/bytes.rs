//! Bytes over a stream: as many as the one who reads has allowed, in small messages.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use mica_proto::prost_types::Any;
use mica_proto::transfer_types::{Data, WindowUpdate};
use tokio::sync::mpsc::{self, Sender};
use tonic::Status;

use super::super::any::{packed, unpacked};
use super::super::status::refused;
use super::super::streams::OpenStream;
use crate::error_class::ErrorClass;

/// The most bytes of one message.
const PIECE: usize = 32 << 10;
/// Bytes that may be on their way.
const WINDOW: usize = 64 << 10;
/// Pieces that may wait for a thread.
const AHEAD: usize = 4;

/// Writes what the client sends into a pipe, until it ends or nobody reads the pipe any more.
pub(super) async fn receive(mut stream: OpenStream, mut pipe: File) -> Result<(), Status> {
    let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = pieces.blocking_recv() {
            pipe.write_all(&piece)?;
        }
        Ok::<_, io::Error>(())
    });
    allow(&stream.outgoing, WINDOW).await;
    while let Some(message) = stream.incoming.message().await? {
        let Some(Data { data }) = unpacked(&message)? else {
            continue;
        };
        let count = data.len();
        if sender.send(data).await.is_err() {
            break;
        }
        allow(&stream.outgoing, count).await;
    }
    drop(sender);
    match writer.await {
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(&error)),
        Ok(_) => Ok(()),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// Sends what comes out of a pipe, until its end.
pub(super) async fn send(mut stream: OpenStream, mut pipe: File) -> Result<(), Status> {
    let (sender, mut pieces) = mpsc::channel::<io::Result<Vec<u8>>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = (&mut pipe).take(PIECE as u64).read_to_end(&mut piece);
            let is_end = read.as_ref().map_or(true, |count| *count == 0);
            // Whoever has gone needs no more.
            if sender.blocking_send(read.map(|_| piece)).is_err() || is_end {
                return;
            }
        }
    });
    let mut allowed = 0;
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|error| failed(&error))?;
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            if allowed == 0 {
                allowed = window(&mut stream).await?;
                continue;
            }
            let (data, later) = rest.split_at(allowed.min(rest.len()));
            let message = Data {
                data: data.to_vec(),
            };
            let sent = stream.outgoing.send(Ok(packed(&message))).await;
            sent.map_err(|_| gone())?;
            allowed -= data.len();
            rest = later;
        }
    }
    Ok(())
}

async fn allow(client: &Sender<Result<Any, Status>>, count: usize) {
    let update = i32::try_from(count).unwrap_or(i32::MAX);
    // A client that reads no more has sent all, or will be seen to have gone.
    drop(client.send(Ok(packed(&WindowUpdate { update }))).await);
}

/// Waits until the client allows more bytes.
async fn window(stream: &mut OpenStream) -> Result<usize, Status> {
    let message = stream.incoming.message().await?.ok_or_else(gone)?;
    let update: Option<WindowUpdate> = unpacked(&message)?;
    let update = update.map_or(0, |window| window.update);
    Ok(usize::try_from(update).unwrap_or(0))
}

fn gone() -> Status {
    refused(ErrorClass::Unavailable, "the client has ended the stream")
}

fn failed(error: &io::Error) -> Status {
    Status::internal(format!("pass bytes on: {error}: {}", ErrorClass::Internal))
}

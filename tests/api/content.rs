//! Blobs over the socket; what the rules are is tested with the library.

use mica_proto::content::content_client::ContentClient;
use mica_proto::content::{
    InfoRequest, ReadContentRequest, StatusRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::client::request;
use crate::server::{Server, refused};

/// `sha256sum` of `hello\n`.
const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn message(action: WriteAction, offset: i64, data: &'static [u8]) -> WriteContentRequest {
    WriteContentRequest {
        action: action.into(),
        r#ref: "ref".to_owned(),
        offset,
        data: data.into(),
        ..WriteContentRequest::default()
    }
}

/// Sends messages on one stream, and returns the last answer.
async fn write(
    content: &mut ContentClient<Channel>,
    messages: Vec<WriteContentRequest>,
) -> Result<WriteContentResponse, Status> {
    let stream = tokio_stream::iter(messages);
    let mut answers = content.write(request(stream)).await?.into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        last = Some(answer);
    }
    Ok(last.unwrap())
}

#[tokio::test]
async fn a_blob_is_written_in_two_streams_and_read_in_parts() {
    let server = Server::start();
    let mut content = ContentClient::new(server.channel().await);
    write(&mut content, vec![message(WriteAction::Write, 0, b"hel")])
        .await
        .unwrap();
    let status = StatusRequest {
        r#ref: "ref".to_owned(),
    };
    let status = content.status(request(status)).await.unwrap().into_inner();
    assert_eq!(status.status.unwrap().offset, 3);
    let commit = WriteContentRequest {
        total: 6,
        expected: HELLO.to_owned(),
        ..message(WriteAction::Commit, 3, b"lo\n")
    };
    let stat = message(WriteAction::Stat, 0, b"");
    let answer = write(&mut content, vec![stat, commit]).await.unwrap();
    assert_eq!((answer.digest.as_str(), answer.offset), (HELLO, 6));
    let digest = HELLO.to_owned();
    let info = InfoRequest {
        digest: digest.clone(),
    };
    let info = content.info(request(info)).await.unwrap().into_inner();
    assert_eq!(info.info.unwrap().size, 6);
    for (offset, size, expected) in [
        (0, 0, "hello\n"),
        (1, 3, "ell"),
        (4, 100, "o\n"),
        (6, 1, ""),
    ] {
        let digest = digest.clone();
        let read = ReadContentRequest {
            digest,
            offset,
            size,
        };
        let mut parts = content.read(request(read)).await.unwrap().into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            bytes.extend_from_slice(&part.data);
        }
        assert_eq!(bytes, expected.as_bytes(), "{offset}, {size}");
    }
    let read = ReadContentRequest {
        digest,
        offset: 7,
        size: 0,
    };
    let mut parts = content.read(request(read)).await.unwrap().into_inner();
    refused(parts.message().await, Code::OutOfRange, "out of range");
}

#[tokio::test]
async fn wrong_messages_are_refused_under_their_class() {
    let server = Server::start();
    let mut content = ContentClient::new(server.channel().await);
    let table = [
        (
            WriteContentRequest {
                r#ref: String::new(),
                ..message(WriteAction::Stat, 0, b"")
            },
            Code::InvalidArgument,
        ),
        (message(WriteAction::Write, 5, b"x"), Code::OutOfRange),
        (
            WriteContentRequest {
                total: 3,
                ..message(WriteAction::Commit, 0, b"hello\n")
            },
            Code::FailedPrecondition,
        ),
        (
            WriteContentRequest {
                expected: "sha256:x".to_owned(),
                ..message(WriteAction::Stat, 0, b"")
            },
            Code::InvalidArgument,
        ),
    ];
    for (message, code) in table {
        refused(write(&mut content, vec![message]).await, code, "");
    }
    // What a refused commit has left is taken up again.
    let commit = message(WriteAction::Commit, 0, b"");
    let answer = write(&mut content, vec![commit.clone()]).await.unwrap();
    assert_eq!(answer.digest, HELLO);
    let again = message(WriteAction::Commit, 0, b"hello\n");
    refused(
        write(&mut content, vec![again]).await,
        Code::AlreadyExists,
        "already exists",
    );
}

//! Parts of messages that all calls have.

use mica_proto::prost_types::FieldMask;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::ClientError;

/// Gives each message to a function, until the end or its first error.
pub(super) async fn each<M, E: From<Status>>(
    mut messages: impl Stream<Item = Result<M, Status>> + Unpin,
    mut take: impl FnMut(M) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(message) = messages.next().await {
        take(message?)?;
    }
    Ok(())
}

/// Returns a field that an answer must have.
pub(super) fn field<T>(field: Option<T>, name: &'static str) -> Result<T, ClientError> {
    field.ok_or(ClientError::Answer(name))
}

/// Reads a field that is the text of something.
pub(super) fn parsed<T: std::str::FromStr>(
    text: &str,
    name: &'static str,
) -> Result<T, ClientError> {
    text.parse().map_err(|_| ClientError::Answer(name))
}

/// Returns the paths of what an update changes.
pub(super) fn field_mask(paths: &[&str]) -> FieldMask {
    FieldMask {
        paths: paths.iter().map(ToString::to_string).collect(),
    }
}

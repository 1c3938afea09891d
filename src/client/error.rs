//! Why a call failed, as far as the one who answered has told.

use std::io;

use mica_proto::mica::Failure;
use mica_proto::prost::Message as _;
use thiserror::Error;
use tonic::Status;

use crate::api::FAILURE;
use crate::daemon::Cause;
use crate::serve::ServeError;

/// A call failed.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// Nothing can be called.
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
    /// It cannot be told whether the store is served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The call was refused.
    #[error("{message}")]
    Refused {
        /// What failed.
        message: String,
        /// The causes of it, the nearest first.
        source: Option<Cause>,
        /// What the user may do about it.
        hint: Option<String>,
    },
    /// An answer lacks something, or it is nothing of its kind.
    #[error("the answer has no {0} that can be read")]
    Answer(&'static str),
}

impl ClientError {
    /// Returns what the user may do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } => hint.as_deref(),
            Self::Serve(error) => error.hint(),
            Self::Answer(_) => Some("another release of mica serves the store: restart it"),
            Self::Runtime(_) => None,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let told = status.metadata().get_bin(FAILURE);
        let told = told.and_then(|bytes| bytes.to_bytes().ok());
        let failure = told.and_then(|bytes| Failure::decode(bytes).ok());
        let Failure {
            mut messages,
            hint,
            class,
        } = failure.unwrap_or_default();
        if messages.is_empty() {
            messages.push(without_class(status.message(), &class).to_owned());
        }
        let causes = messages.split_off(1);
        Self::Refused {
            message: messages.concat(),
            source: Cause::chain(causes),
            hint: Some(hint).filter(|hint| !hint.is_empty()),
        }
    }
}

/// Returns a message without the class that it ends with.
fn without_class<'m>(message: &'m str, class: &str) -> &'m str {
    let stripped = message.strip_suffix(class);
    let stripped = stripped.and_then(|message| message.strip_suffix(": "));
    stripped.unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_the_class_that_their_status_has_added() {
        let table = [
            ("x: not found", "not found", "x"),
            ("x: not found", "", "x: not found"),
            ("not found", "not found", "not found"),
        ];
        for (message, class, expected) in table {
            assert_eq!(without_class(message, class), expected);
        }
    }
}

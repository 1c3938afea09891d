//! Errors of the library as statuses of calls.
//!
//! A message ends with the text of its class; clients tell it apart by that, cut it off and
//! print the rest.

use std::error::Error;

use tonic::{Code, Status};

use crate::apply::ApplyError;
use crate::containerd::ContainerdError;
use crate::content::ContentError;
use crate::diff::DiffError;
use crate::error_class::ErrorClass;
use crate::filter::FilterError;
use crate::images::ImageError;
use crate::labels::LabelError;
use crate::leases::LeaseError;
use crate::meta::NamespaceNameError;
use crate::namespaces::NamespaceError;
use crate::oci::ParseDigestError;
use crate::snapshots::SnapshotError;

/// An error of which containerd's class is known.
pub(super) trait Classified: Error {
    fn error_class(&self) -> ErrorClass;
}

/// Returns the status of a call that failed.
pub(super) fn status(error: &impl Classified) -> Status {
    refused(error.error_class(), &chain(error))
}

/// Returns the status of a call that is refused with a message of its own.
pub(super) fn refused(class: ErrorClass, message: &str) -> Status {
    let class_text = class.to_string();
    if message.ends_with(&class_text) {
        return Status::new(code(class), message);
    }
    Status::new(code(class), format!("{message}: {class_text}"))
}

fn code(class: ErrorClass) -> Code {
    match class {
        ErrorClass::NotFound => Code::NotFound,
        ErrorClass::AlreadyExists => Code::AlreadyExists,
        ErrorClass::FailedPrecondition => Code::FailedPrecondition,
        ErrorClass::InvalidArgument => Code::InvalidArgument,
        ErrorClass::Unavailable => Code::Unavailable,
        ErrorClass::OutOfRange => Code::OutOfRange,
        ErrorClass::Unimplemented => Code::Unimplemented,
        ErrorClass::Internal => Code::Internal,
    }
}

/// Returns the messages of an error and its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut messages = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        messages.push(error.to_string());
        cause = error.source();
    }
    messages.dedup();
    messages.join(": ")
}

macro_rules! classified {
    ($($error:ty),*) => {
        $(impl Classified for $error {
            fn error_class(&self) -> ErrorClass {
                self.class()
            }
        })*
    };
}

classified!(
    ApplyError,
    ContainerdError,
    ContentError,
    DiffError,
    FilterError,
    ImageError,
    LabelError,
    LeaseError,
    NamespaceError,
    SnapshotError
);

impl Classified for NamespaceNameError {
    fn error_class(&self) -> ErrorClass {
        ErrorClass::InvalidArgument
    }
}

impl Classified for ParseDigestError {
    fn error_class(&self) -> ErrorClass {
        ErrorClass::InvalidArgument
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_with_their_class_once() {
        let table = [
            (ErrorClass::NotFound, "x", "x: not found"),
            (
                ErrorClass::AlreadyExists,
                "x: already exists",
                "x: already exists",
            ),
        ];
        for (class, message, expected) in table {
            assert_eq!(refused(class, message).message(), expected);
        }
        let error = SnapshotError::NotFound("a".to_owned());
        let status = status(&error);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "snapshot a does not exist: not found");
    }
}

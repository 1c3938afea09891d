//! Errors of the library as statuses of calls.
//!
//! A message ends with the text of its class; clients tell it apart by that, cut it off and
//! print the rest.

use std::error::Error;

use mica_proto::mica::Failure;
use mica_proto::prost::Message as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::apply::ApplyError;
use crate::causes::{causes, hint_of_causes};
use crate::check::CheckError;
use crate::containerd::ContainerdError;
use crate::content::ContentError;
use crate::diff::DiffError;
use crate::error_class::ErrorClass;
use crate::events::EventsError;
use crate::filter::FilterError;
use crate::gc::GcError;
use crate::images::ImageError;
use crate::labels::LabelError;
use crate::leases::LeaseError;
use crate::meta::NamespaceNameError;
use crate::named::NamedError;
use crate::namespaces::NamespaceError;
use crate::oci::ParseDigestError;
use crate::snapshots::SnapshotError;

/// The metadata of a status in which our clients find a [`Failure`]; others do not look.
pub(crate) const FAILURE: &str = "mica-failure-bin";
/// The most bytes of messages that are told there: clients bound what they take as headers,
/// and have the message of the status in any case.
const DETAIL_LIMIT: usize = 2048;

/// An error of which containerd's class is known.
pub(super) trait Classified: Error + 'static {
    fn error_class(&self) -> ErrorClass;

    /// Returns what the user may do about it.
    fn hint_of_its_own(&self) -> Option<&str> {
        None
    }
}

/// Returns the status of a call that failed.
pub(super) fn status<E: Classified>(error: &E) -> Status {
    let class = error.error_class();
    let messages = chain(error);
    let mut once = messages.clone();
    once.dedup();
    let status = refused(class, &once.join(": "));
    let hint = error.hint_of_its_own().or_else(|| hint_of_causes(error));
    detailed(&status, messages, hint.unwrap_or_default(), class)
}

/// Returns the status of a call that is refused with a message of its own.
pub(super) fn refused(class: ErrorClass, message: &str) -> Status {
    let class_text = class.to_string();
    let text = if message.ends_with(&class_text) {
        message.to_owned()
    } else {
        format!("{message}: {class_text}")
    };
    Status::new(code(class), text)
}

/// Adds to a status what our clients are told besides.
fn detailed(status: &Status, mut messages: Vec<String>, hint: &str, class: ErrorClass) -> Status {
    if messages.iter().map(String::len).sum::<usize>() > DETAIL_LIMIT {
        messages.clear();
    }
    let failure = Failure {
        messages,
        hint: hint.to_owned(),
        class: class.to_string(),
    };
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(FAILURE, MetadataValue::from_bytes(&failure.encode_to_vec()));
    Status::with_metadata(status.code(), status.message(), metadata)
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

/// Returns the messages of an error and its causes.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    messages.extend(causes(error).map(ToString::to_string));
    messages
}

/// Errors that know their class, and of those some what the user may do.
macro_rules! classified {
    ($($error:ty $(, $hint:ident)?;)*) => {
        $(impl Classified for $error {
            fn error_class(&self) -> ErrorClass {
                self.class()
            }
            $(fn hint_of_its_own(&self) -> Option<&str> {
                self.$hint()
            })?
        })*
    };
}

classified! {
    ApplyError;
    ContainerdError;
    ContentError, hint;
    DiffError, hint;
    FilterError;
    ImageError, hint;
    LabelError;
    LeaseError, hint;
    NamedError, hint;
    NamespaceError;
    SnapshotError, hint;
}

/// Errors that are nobody's fault but the store's or the machine's.
macro_rules! internal {
    ($($error:ty),*) => {
        $(impl Classified for $error {
            fn error_class(&self) -> ErrorClass {
                ErrorClass::Internal
            }
        })*
    };
}

internal!(CheckError, EventsError, GcError);

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

    /// Returns what our clients find in a status.
    fn told(status: &Status) -> Failure {
        let bytes = status.metadata().get_bin(FAILURE).unwrap();
        Failure::decode(bytes.to_bytes().unwrap()).unwrap()
    }

    #[test]
    fn our_clients_are_told_causes_and_hints() {
        let full = |path: &str| ContentError::Io {
            operation: "write",
            path: path.into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let of_cause = "free some space; the same command goes on where this one has stopped";
        let table = [
            (
                status(&SnapshotError::NotFound("a".to_owned())),
                vec!["snapshot a does not exist"],
                "`mica snapshot ls` lists what there is",
                "not found",
            ),
            (
                status(&full("/a")),
                vec!["write /a", "no storage space"],
                of_cause,
                "internal",
            ),
            // Too long for a header.
            (
                status(&full(&"a".repeat(4096))),
                vec![],
                of_cause,
                "internal",
            ),
        ];
        for (status, messages, hint, class) in table {
            let failure = told(&status);
            assert_eq!(failure.messages, messages);
            assert_eq!(
                (failure.hint.as_str(), failure.class.as_str()),
                (hint, class)
            );
            assert!(status.message().ends_with(class), "{status}");
        }
    }
}

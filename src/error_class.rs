//! containerd's classes of errors: every error of a service is of one, whatever its type,
//! and a client tells them apart by nothing else.

use std::fmt::{self, Display, Formatter};

/// The class under which containerd reports an error; shown as it ends its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// There is no such thing.
    NotFound,
    /// The name or the content is there already.
    AlreadyExists,
    /// The thing is not in a state for this.
    FailedPrecondition,
    /// The request could never be met.
    InvalidArgument,
    /// Somebody else has it now; later it may work.
    Unavailable,
    /// A position behind the end.
    OutOfRange,
    /// There is no such service or kind.
    Unimplemented,
    /// The store or the machine is at fault, not the request.
    Internal,
}

impl Display for ErrorClass {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::FailedPrecondition => "failed precondition",
            Self::InvalidArgument => "invalid argument",
            Self::Unavailable => "unavailable",
            Self::OutOfRange => "out of range",
            Self::Unimplemented => "not implemented",
            Self::Internal => "internal",
        })
    }
}

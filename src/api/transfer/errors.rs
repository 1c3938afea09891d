//! Under which class the errors of transfers are reported.

use super::super::status::Classified;
use crate::error_class::ErrorClass;
use crate::export::ExportError;
use crate::oci::ParseReferenceError;
use crate::pull::PullError;
use crate::push::PushError;
use crate::registry;
use crate::source::SourceError;

impl Classified for registry::Error {
    fn error_class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::Unauthorized(_) | Self::Forbidden(_) => ErrorClass::FailedPrecondition,
            Self::TooManyRequests { .. }
            | Self::Server { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. } => ErrorClass::Unavailable,
            _ => ErrorClass::Internal,
        }
    }

    fn hint_of_its_own(&self) -> Option<&str> {
        self.hint()
    }
}

impl Classified for SourceError {
    fn error_class(&self) -> ErrorClass {
        match self {
            Self::Registry(error) => error.error_class(),
            Self::Missing(_) | Self::NoTag { .. } | Self::NoImage(_) => ErrorClass::NotFound,
            Self::Io { .. } => ErrorClass::Internal,
            _ => ErrorClass::InvalidArgument,
        }
    }

    fn hint_of_its_own(&self) -> Option<&str> {
        self.hint()
    }
}

impl Classified for PullError {
    fn error_class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => error.error_class(),
            Self::Content(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Walk(_) | Self::NoSource { .. } => ErrorClass::NotFound,
            _ => ErrorClass::Internal,
        }
    }

    fn hint_of_its_own(&self) -> Option<&str> {
        self.hint()
    }
}

impl Classified for PushError {
    fn error_class(&self) -> ErrorClass {
        match self {
            Self::Registry(error) => error.error_class(),
            Self::Image(error) => error.class(),
            Self::Content(error) => error.class(),
            Self::Digest { .. } => ErrorClass::InvalidArgument,
            Self::Missing { .. } => ErrorClass::NotFound,
            _ => ErrorClass::Internal,
        }
    }

    fn hint_of_its_own(&self) -> Option<&str> {
        self.hint()
    }
}

impl Classified for ExportError {
    fn error_class(&self) -> ErrorClass {
        match self {
            Self::Image(error) => error.class(),
            Self::Content(error) => error.class(),
            Self::Missing(_) => ErrorClass::NotFound,
            _ => ErrorClass::Internal,
        }
    }

    fn hint_of_its_own(&self) -> Option<&str> {
        self.hint()
    }
}

impl Classified for ParseReferenceError {
    fn error_class(&self) -> ErrorClass {
        ErrorClass::InvalidArgument
    }
}

//! Why a lease could not be made, changed or found; in containerd's words.

use thiserror::Error;

use crate::error_class::ErrorClass;
use crate::labels::LabelError;
use crate::meta::MetaError;

/// Why a lease could not be made, changed or found.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// There is no lease of this id.
    #[error("lease {0:?}: not found")]
    NotFound(String),
    /// The id is taken.
    #[error("lease {0:?}: already exists")]
    AlreadyExists(String),
    /// The id of a new lease cannot be one.
    #[error("lease id {0:?} is empty or holds a NUL byte")]
    Id(String),
    /// Resources of this type cannot be leased.
    #[error("resource type {0:?} not supported yet")]
    Unsupported(String),
    /// The id of a resource is none of its type.
    #[error("{id:?} cannot be the id of a resource of type {kind}")]
    Resource {
        /// The type.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// The labels are none.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl LeaseError {
    /// Returns the class under which containerd reports the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::AlreadyExists(_) => ErrorClass::AlreadyExists,
            Self::Id(_) | Self::Resource { .. } => ErrorClass::InvalidArgument,
            Self::Unsupported(_) => ErrorClass::Unimplemented,
            Self::Label(error) => error.class(),
            Self::Meta(_) => ErrorClass::Internal,
        }
    }

    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => Some("`mica lease ls` lists what there is"),
            Self::Unsupported(_) => {
                Some("types are content, ingests, images, layers and snapshots/mica")
            }
            _ => None,
        }
    }
}

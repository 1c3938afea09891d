//! The values of the OCI image and distribution specifications: digests, references, platforms,
//! media types, manifests and image configs.
//!
//! Everything here is pure: bytes or text in, checked values or a typed error out. A value that
//! exists is well formed, so that what a hostile registry sends is refused here and nowhere else.
//! Docker's schema-2 documents are read as what they are, a dialect of the OCI ones. Fetching,
//! storing and verifying blobs is left to others.

mod config;
mod descriptor;
mod diff_id;
mod digest;
mod document;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod schema1;
mod walk;

pub use config::{ImageConfig, ProcessConfig};
pub use descriptor::Descriptor;
pub use diff_id::{ChainId, DiffId};
pub use digest::{Algorithm, Digest, Digester, ParseDigestError};
pub use document::{
    Document, DocumentError, Fault, MAX_CONFIG_SIZE, MAX_LAYERS, MAX_MANIFEST_SIZE, children,
};
pub use manifest::{Index, Manifest};
pub use media_type::{Compression, Kind, MediaType};
pub use platform::{ParsePlatformError, Platform, PlatformMatcher};
pub use reference::{ParseReferenceError, Reference};
pub use schema1::{Converted, MAX_SCHEMA1_SIZE, Schema1, Schema1Fault};
pub use walk::{MAX_DOCUMENTS, MAX_INDEX_DEPTH, Walk, WalkError};

//! A client of the OCI distribution API: resolves names and fetches manifests and blobs.
//!
//! A [`Client`] serves one repository. It knows when to show who the user is (never to another
//! host than the registry and its token service), when to try again, and how to go on with a
//! body that was cut. It does not verify digests of blobs: whoever stores the bytes hashes them
//! anyway.

mod auth;
mod blob;
mod challenge;
mod client;
mod credentials;
mod error;
mod fetch;
mod redirect;
mod resolve;
mod retry;
mod token;
mod transport;

pub use blob::Blob;
pub use client::{Client, Options};
pub use credentials::{Credentials, CredentialsError, Secret};
pub use error::{Error, Refusal};
pub use redirect::RedirectFault;
pub use retry::Policy;
pub use token::TokenFault;
pub use transport::Timeouts;

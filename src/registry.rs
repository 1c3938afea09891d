//! A client of the OCI distribution API: resolves names and fetches manifests and blobs.
//!
//! A [`Client`] serves one repository, which several servers may have. It knows when to show who
//! the user is (never to another host than the one that asks and its token service), when to try
//! again, when to ask the next server, and how to go on with a body that was cut. It does not verify digests of blobs: whoever stores the bytes hashes them
//! anyway.

mod auth;
mod blob;
mod body;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod error;
mod fetch;
mod hosts;
mod push;
mod redirect;
mod request;
mod resolve;
mod retry;
mod stat;
mod token;
mod transport;
mod upload;

pub use blob::Blob;
pub use client::{Client, Options};
pub use credentials::{Credentials, CredentialsError, Secret};
pub use error::{Error, Refusal};
pub use hosts::{HostsError, default_hosts_dirs};
pub use push::{Pushed, PushedBlob};
pub use redirect::RedirectFault;
pub use retry::Policy;
pub use token::TokenFault;
pub use transport::Timeouts;

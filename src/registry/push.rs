//! Pushing: manifests as they are, blobs by the shortest way.
//!
//! A blob that the repository has is not sent. One that another repository of the same
//! registry has is mounted from there. Everything else is uploaded ([`upload`](super::upload)).
//! All of it goes to the first server that is configured for pushing.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, Response, header};

use super::client::{Candidate, Client, text_of};
use super::error::Error;
use super::hosts::Capability;
use super::redirect::{host_of, target_of};
use super::request::{Body, Request, Target};
use super::upload::{Session, Upload};
use crate::oci::{Descriptor, Digest};

/// How many repositories a blob is looked for in.
const MOST_MOUNTS: usize = 4;

/// A blob that is to be pushed.
#[derive(Clone)]
pub struct PushedBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub file: Arc<File>,
    /// Repositories of the same registry that may have it.
    pub sources: Vec<String>,
    /// How many bytes are sent in one request; all of them where this says nothing and the
    /// registry takes them.
    pub chunk: Option<u64>,
    /// Called with how many bytes of it have been sent.
    pub told: Arc<dyn Fn(u64) + Send + Sync>,
}

/// How a blob came into the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Exists,
    /// From another repository.
    Mounted,
    /// By an upload.
    Uploaded,
}

impl Client {
    /// Brings a blob into the repository.
    pub async fn push_blob(&self, blob: &PushedBlob) -> Result<Pushed, Error> {
        if self.is_pushed(&blob.descriptor.digest).await? {
            return Ok(Pushed::Exists);
        }
        let to = self.push_candidate()?;
        let mut session = None;
        for source in blob.sources.iter().take(MOST_MOUNTS) {
            match self.mount(to, &blob.descriptor.digest, source).await {
                Ok(None) => return Ok(Pushed::Mounted),
                // Not there, or not for this user; an upload has begun instead.
                Ok(Some(begun)) => session = Some(begun),
                Err(error @ (Error::Unreachable { .. } | Error::TimedOut { .. })) => {
                    return Err(error);
                }
                Err(error) => tracing::debug!(%source, %error, "no mount"),
            }
            if session.is_some() {
                break;
            }
        }
        Upload::new(self, to, blob, session).run().await?;
        Ok(Pushed::Uploaded)
    }

    /// Puts a manifest or an index under a tag or its digest.
    pub async fn push_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
        name: &str,
    ) -> Result<(), Error> {
        let target = Target::Part("manifests", name.to_owned());
        let bytes = Bytes::copy_from_slice(bytes);
        let request = Request {
            body: Some(Body::Bytes(bytes)),
            ..Request::new(Method::PUT, target, descriptor.digest.to_string())
        }
        .header(header::CONTENT_TYPE, descriptor.media_type.as_str());
        let response = self.send(self.push_candidate()?, &request).await?;
        check_digest(&response, &descriptor.digest)
    }

    /// Says whether the repository has a manifest or an index.
    pub async fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let what = descriptor.digest.to_string();
        let target = Target::Part("manifests", what.clone());
        let request = Request::new(Method::HEAD, target, what)
            .header(header::ACCEPT, descriptor.media_type.as_str());
        match self.send(self.push_candidate()?, &request).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the server that is pushed to.
    fn push_candidate(&self) -> Result<Candidate<'_>, Error> {
        let first = self.candidates(Capability::Push, 0)?.into_iter().next();
        let first = first.ok_or_else(|| Error::NoHost {
            registry: self.reference().host().to_owned(),
            action: "push",
        })?;
        Ok(Candidate {
            is_last: true,
            ..first
        })
    }

    /// Asks for a blob of another repository; returns the upload that has begun when it is not
    /// to be had.
    async fn mount(
        &self,
        to: Candidate<'_>,
        digest: &Digest,
        source: &str,
    ) -> Result<Option<Session>, Error> {
        let query = vec![("mount", digest.to_string()), ("from", source.to_owned())];
        let response = self.begin(to, digest, query).await?;
        match response.status().as_u16() {
            201 => Ok(None),
            _ => session_of(&response, &digest.to_string()).map(Some),
        }
    }

    /// Begins an upload.
    pub(super) async fn begin_upload(
        &self,
        to: Candidate<'_>,
        digest: &Digest,
    ) -> Result<Session, Error> {
        let response = self.begin(to, digest, Vec::new()).await?;
        session_of(&response, &digest.to_string())
    }

    async fn begin(
        &self,
        to: Candidate<'_>,
        digest: &Digest,
        query: Vec<(&'static str, String)>,
    ) -> Result<Response, Error> {
        let target = Target::Part("blobs", "uploads/".to_owned());
        let request = Request {
            query,
            body: Some(Body::Bytes(Bytes::new())),
            ..Request::new(Method::POST, target, digest.to_string())
        };
        self.send(to, &request).await
    }
}

/// Returns where an upload that has begun goes on.
fn session_of(response: &Response, what: &str) -> Result<Session, Error> {
    let location = text_of(response, header::LOCATION);
    let missing = || Error::Header {
        host: host_of(response.url()),
        what: what.to_owned(),
        header: "Location",
    };
    let location = location.ok_or_else(missing)?;
    let url = target_of(response.url(), location).map_err(|fault| Error::Redirect {
        host: host_of(response.url()),
        what: what.to_owned(),
        fault,
    })?;
    let least = response.headers().get("oci-chunk-min-length");
    let least = least.and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Session { url, least })
}

/// Fails if the registry has stored something else.
pub(super) fn check_digest(response: &Response, expected: &Digest) -> Result<(), Error> {
    let claimed = response.headers().get("docker-content-digest");
    let claimed = claimed.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
    match claimed {
        Some(found) if found.algorithm() == expected.algorithm() && found != *expected => {
            Err(Error::WrongDigest {
                host: host_of(response.url()),
                what: expected.to_string(),
                found,
            })
        }
        _ => Ok(()),
    }
}

impl std::fmt::Debug for PushedBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushedBlob")
            .field("descriptor", &self.descriptor)
            .finish_non_exhaustive()
    }
}

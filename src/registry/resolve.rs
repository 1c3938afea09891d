//! From a name to the descriptor of what it names now.

use reqwest::{Method, Response, header};

use super::client::{Candidate, Client, text_of};
use super::error::Error;
use super::hosts::Capability;
use super::redirect::host_of;
use super::request::{Request, Target};
use crate::oci::{Algorithm, Descriptor, Digest, MAX_MANIFEST_SIZE, MediaType};

const MANIFEST_TYPES: [&str; 4] = [
    MediaType::DOCKER_MANIFEST,
    MediaType::DOCKER_INDEX,
    MediaType::OCI_MANIFEST,
    MediaType::OCI_INDEX,
];

impl Client {
    /// Returns the descriptor of the index or manifest that the reference names.
    ///
    /// The registry's word is taken for type, size and digest where a HEAD request yields all
    /// three; otherwise the document itself is read and hashed.
    pub async fn resolve(&self) -> Result<Descriptor, Error> {
        let mut last = None;
        for candidate in self.candidates(Capability::Resolve, 0)? {
            match self.resolve_by(candidate).await {
                Ok(descriptor) => return Ok(descriptor),
                Err(error) => {
                    let host = host_of(candidate.endpoint.base());
                    tracing::debug!(host, %error, "not resolved by this host");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.no_host("resolve names")))
    }

    async fn resolve_by(&self, server: Candidate<'_>) -> Result<Descriptor, Error> {
        match self.resolve_at(server, "manifests").await {
            // Some registries keep what only a digest names among the blobs.
            Err(Error::NotFound(refusal)) if self.reference().digest().is_some() => {
                match self.resolve_at(server, "blobs").await {
                    Err(Error::NotFound(_)) => Err(Error::NotFound(refusal)),
                    result => result,
                }
            }
            result => result,
        }
    }

    async fn resolve_at(
        &self,
        server: Candidate<'_>,
        kind: &'static str,
    ) -> Result<Descriptor, Error> {
        let question = self.question(Method::HEAD, kind);
        let head = match self.send(server, &question).await {
            Ok(response) => self.descriptor_in(&response)?,
            // HEAD is refused, or the reason is in the body that HEAD does not have.
            Err(Error::Forbidden(_) | Error::Status { .. } | Error::Server { status: 501, .. }) => {
                None
            }
            Err(error) => return Err(error),
        };
        match head {
            Some(descriptor) => Ok(descriptor),
            None => self.read_document(server, kind).await,
        }
    }

    fn question(&self, method: Method, kind: &'static str) -> Request {
        let reference = self.reference();
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        Request::new(method, Target::Part(kind, name), reference.to_string()).header(
            header::ACCEPT,
            &format!("{}, */*", MANIFEST_TYPES.join(", ")),
        )
    }

    /// Returns the descriptor in a response's headers, if they hold all of it.
    fn descriptor_in(&self, response: &Response) -> Result<Option<Descriptor>, Error> {
        let media_type = text_of(response, header::CONTENT_TYPE);
        let size = text_of(response, header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let claimed = self.claimed_digest(response)?;
        let (Some(media_type), Some(size), Some(digest)) = (media_type, size, claimed) else {
            return Ok(None);
        };
        match size {
            0 => Ok(None),
            size if size > MAX_MANIFEST_SIZE => Err(self.too_large(response)),
            size => Ok(Some(Descriptor::new(media_type, digest, size))),
        }
    }

    async fn read_document(
        &self,
        server: Candidate<'_>,
        kind: &'static str,
    ) -> Result<Descriptor, Error> {
        let request = self.question(Method::GET, kind);
        let response = self.send(server, &request).await?;
        let Some(media_type) = text_of(&response, header::CONTENT_TYPE).map(MediaType::new) else {
            let host = host_of(response.url());
            return Err(Error::Header {
                host,
                what: request.what,
                header: "Content-Type",
            });
        };
        let claimed = self.claimed_digest(&response)?;
        let too_large = self.too_large(&response);
        let host = host_of(response.url());
        let limit = usize::try_from(MAX_MANIFEST_SIZE).unwrap_or(usize::MAX);
        let transport = server.endpoint.transport();
        let body = transport.read(response, &request.what, limit).await?;
        let body = body.ok_or(too_large)?;
        let algorithm = claimed
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = algorithm.digest(&body);
        if claimed.is_some_and(|claimed| claimed != digest) {
            return Err(Error::WrongDigest {
                host,
                what: request.what,
                found: digest,
            });
        }
        Ok(Descriptor {
            media_type,
            ..Descriptor::new("", digest, body.len() as u64)
        })
    }

    /// Returns the digest that the document must have: that of the reference, or the one that
    /// the registry claims. Both must be the same where both use one algorithm.
    fn claimed_digest(&self, response: &Response) -> Result<Option<Digest>, Error> {
        let name = header::HeaderName::from_static("docker-content-digest");
        let wanted = self.reference().digest();
        let Some(text) = text_of(response, name) else {
            return Ok(wanted.cloned());
        };
        let (host, what) = (host_of(response.url()), self.reference().to_string());
        let claimed: Digest = text.parse().map_err(|_| Error::Header {
            host: host.clone(),
            what: what.clone(),
            header: "Docker-Content-Digest",
        })?;
        match wanted {
            Some(wanted) if wanted.algorithm() != claimed.algorithm() => Ok(Some(wanted.clone())),
            Some(wanted) if *wanted != claimed => Err(Error::WrongDigest {
                host,
                what,
                found: claimed,
            }),
            _ => Ok(Some(claimed)),
        }
    }

    fn too_large(&self, response: &Response) -> Error {
        let (host, what) = (host_of(response.url()), self.reference().to_string());
        Error::TooLarge {
            host,
            what,
            limit: MAX_MANIFEST_SIZE,
        }
    }
}

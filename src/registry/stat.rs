//! Whether a blob is in a repository, and how large it is there.

use reqwest::{Method, header};

use super::client::{Client, text_of};
use super::error::Error;
use super::hosts::Capability;
use super::request::{Request, Target};
use crate::oci::Digest;

impl Client {
    /// Returns the size of a blob of the repository that is pulled from, in bytes; nothing where
    /// there is no such blob.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.size_at(Capability::Pull, digest).await
    }

    /// Says whether a blob is in the repository that is pushed to.
    pub async fn is_pushed(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.size_at(Capability::Push, digest).await?.is_some())
    }

    async fn size_at(&self, asked: Capability, digest: &Digest) -> Result<Option<u64>, Error> {
        let what = digest.to_string();
        let target = Target::Part("blobs", what.clone());
        let request = Request::new(Method::HEAD, target, what.clone());
        let mut last = Ok(None);
        for candidate in self.candidates(asked, 0)? {
            let response = match self.send(candidate, &request).await {
                Ok(response) => response,
                Err(Error::NotFound(_)) => {
                    last = Ok(None);
                    continue;
                }
                Err(error) => {
                    last = Err(error);
                    continue;
                }
            };
            let size =
                text_of(&response, header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
            return size.map(Some).ok_or_else(|| Error::Header {
                host: super::redirect::host_of(response.url()),
                what,
                header: "Content-Length",
            });
        }
        last
    }
}

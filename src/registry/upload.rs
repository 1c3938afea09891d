//! The upload of one blob: in one request or in chunks, taken up again where it broke off.
//!
//! An upload is a session at the registry, whose URL may change with every answer. When a
//! connection breaks, the registry is asked how much it has, and the rest is sent as a
//! chunk; where it does not know, or will not say, a new session begins. What the registry
//! has taken is counted by what it says, never by what was sent.

use reqwest::{Method, Response, Url, header};

use super::body::{FileBody, Taken};
use super::client::{Candidate, Client, text_of};
use super::error::Error;
use super::push::{PushedBlob, check_digest};
use super::redirect::{host_of, target_of};
use super::request::{Body, Request, Target};
use super::retry::Failure;

/// Bytes in a chunk where the registry does not take everything at once.
const CHUNK: u64 = 32 << 20;
/// The smallest chunk that is tried where the registry finds others too large.
const SMALLEST: u64 = 1 << 20;

/// A session at the registry.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) url: Url,
    /// The fewest bytes that the registry takes in one chunk.
    pub(super) least: Option<u64>,
}

/// An upload.
pub(super) struct Upload<'a> {
    client: &'a Client,
    to: Candidate<'a>,
    blob: &'a PushedBlob,
    session: Option<Session>,
    chunk: Option<u64>,
    /// How many bytes the registry has.
    offset: u64,
    /// How often in a row it has failed without taking a byte.
    failures: u32,
    taken: Taken,
}

impl<'a> Upload<'a> {
    /// Returns an upload, which may have begun with the attempt to mount the blob.
    pub(super) fn new(
        client: &'a Client,
        to: Candidate<'a>,
        blob: &'a PushedBlob,
        session: Option<Session>,
    ) -> Self {
        Self {
            client,
            to,
            blob,
            session,
            chunk: blob.chunk,
            offset: 0,
            failures: 0,
            taken: Taken::new(blob.told.clone()),
        }
    }

    /// Uploads the blob.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        loop {
            let session = if let Some(session) = self.session.take() {
                session
            } else {
                self.offset = 0;
                let digest = &self.blob.descriptor.digest;
                self.client.begin_upload(self.to, digest).await?
            };
            let before = self.offset;
            match self.step(&session).await {
                Ok(None) => return Ok(()),
                Ok(Some(next)) => {
                    self.session = Some(next);
                    self.failures = 0;
                }
                Err(error) => self.recover(session, before, error).await?,
            }
        }
    }

    /// Sends the next bytes; returns the session that goes on, nothing when all is there.
    async fn step(&mut self, session: &Session) -> Result<Option<Session>, Error> {
        let size = self.blob.descriptor.size;
        let rest = size - self.offset;
        let chunk = self
            .chunk
            .map(|chunk| chunk.max(session.least.unwrap_or(1)));
        // What has begun in parts ends with a request that holds nothing.
        let is_whole = self.offset == 0 && chunk.is_none_or(|chunk| chunk >= size);
        if is_whole || rest == 0 {
            let digest = &self.blob.descriptor.digest;
            let mut request = self.request(Method::PUT, &session.url, self.offset, size);
            request.query = vec![("digest", digest.to_string())];
            let response = self.send(&request).await?;
            check_digest(&response, digest)?;
            return Ok(None);
        }
        let end = self.offset + chunk.unwrap_or(rest).min(rest);
        let range = format!("{}-{}", self.offset, end - 1);
        let request = self
            .request(Method::PATCH, &session.url, self.offset, end)
            .header(header::CONTENT_RANGE, &range);
        let response = self.send(&request).await?;
        let has = received(&response).unwrap_or(end);
        self.offset = self.checked(&response, has, end)?;
        self.follow(&response, session).map(Some)
    }

    fn request(&self, method: Method, url: &Url, start: u64, end: u64) -> Request {
        let (file, taken) = (self.blob.file.clone(), self.taken.clone());
        let body = Body::new(self.taken.clone(), move || {
            FileBody::new(file.clone(), start, end, taken.clone())
        });
        let what = self.blob.descriptor.digest.to_string();
        Request {
            body: Some(body),
            ..Request::new(method, Target::Url(url.clone()), what)
        }
        .header(header::CONTENT_TYPE, "application/octet-stream")
    }

    /// Sends a request once: only the registry knows what became of it.
    async fn send(&self, request: &Request) -> Result<Response, Error> {
        let once = Candidate {
            is_last: false,
            ..self.to
        };
        self.client.send(once, request).await
    }

    /// Finds out where to go on after a failure, or that there is no use.
    async fn recover(&mut self, session: Session, before: u64, error: Error) -> Result<(), Error> {
        let failure = match &error {
            // The last two: the registry has another idea of how much it has, or of the session.
            Error::Unreachable { .. }
            | Error::TimedOut { .. }
            | Error::Status { status: 416, .. }
            | Error::NotFound(_) => Failure::Connection,
            Error::Server { status, .. } => Failure::Status(*status, None),
            Error::TooManyRequests { retry_after, .. } => Failure::Status(429, *retry_after),
            Error::Status { status: 413, .. } if self.shrink(before) => {
                self.session = None;
                return Ok(());
            }
            _ => return Err(error),
        };
        self.failures += 1;
        let Some(wait) = self.client.wait(self.failures, failure) else {
            return Err(error);
        };
        let what = &self.blob.descriptor.digest;
        tracing::debug!(%what, %error, ?wait, "asking how much of the upload is there");
        tokio::time::sleep(wait).await;
        match self.status(&session).await {
            Ok((next, offset)) => {
                if offset > before {
                    self.failures = 0;
                }
                self.offset = offset;
                self.session = Some(next);
            }
            Err(error) => tracing::debug!(%what, %error, "beginning a new upload"),
        }
        Ok(())
    }

    /// Makes chunks smaller; says whether there is a size that was not tried yet.
    fn shrink(&mut self, before: u64) -> bool {
        let sent = self.blob.descriptor.size - before;
        let next = match self.chunk {
            None => CHUNK.min(sent / 2),
            Some(chunk) => chunk.min(sent) / 2,
        };
        self.chunk = Some(next.max(SMALLEST));
        next >= SMALLEST
    }

    /// Asks how many bytes the registry has.
    async fn status(&self, session: &Session) -> Result<(Session, u64), Error> {
        let what = self.blob.descriptor.digest.to_string();
        let request = Request::new(Method::GET, Target::Url(session.url.clone()), what.clone());
        let response = self.client.send(self.to, &request).await?;
        let has = received(&response).ok_or_else(|| Error::Header {
            host: host_of(response.url()),
            what,
            header: "Range",
        })?;
        let has = self.checked(&response, has, self.blob.descriptor.size)?;
        Ok((self.follow(&response, session)?, has))
    }

    /// Fails if the registry has more than it can have.
    fn checked(&self, response: &Response, has: u64, most: u64) -> Result<u64, Error> {
        if has <= most {
            return Ok(has);
        }
        Err(Error::WrongSize {
            host: host_of(response.url()),
            what: self.blob.descriptor.digest.to_string(),
            expected: most,
            found: has,
        })
    }

    /// Returns the session that an answer leads to; the same one where it does not say.
    fn follow(&self, response: &Response, session: &Session) -> Result<Session, Error> {
        let Some(location) = text_of(response, header::LOCATION) else {
            return Ok(session.clone());
        };
        let url = target_of(response.url(), location).map_err(|fault| Error::Redirect {
            host: host_of(response.url()),
            what: self.blob.descriptor.digest.to_string(),
            fault,
        })?;
        Ok(Session {
            url,
            ..session.clone()
        })
    }
}

/// Returns how many bytes the registry says that it has: `Range: 0-LAST` (distribution spec,
/// "Pushing a blob in chunks"). `0-0` is what those say that have none.
fn received(response: &Response) -> Option<u64> {
    parse_range(text_of(response, header::RANGE)?)
}

fn parse_range(text: &str) -> Option<u64> {
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    match text.strip_prefix("0-")?.trim().parse::<u64>().ok()? {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-18446744073709551615", None),
            ("1-99", None),
            ("0--1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_range(text), expected, "{text}");
        }
    }
}

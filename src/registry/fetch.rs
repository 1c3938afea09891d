//! Opens the body of a manifest or blob at some byte of it.

use reqwest::{Method, Response, StatusCode, header};

use super::blob::Blob;
use super::client::{Candidate, Client, text_of};
use super::error::Error;
use super::hosts::Capability;
use super::redirect::host_of;
use super::request::{Request, Target};
use crate::oci::{Descriptor, Kind};

/// A body, and how many of its bytes come before the ones that are wanted.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) response: Response,
    pub(super) skip: u64,
    /// The number of the place that it comes from.
    pub(super) number: usize,
}

/// A place where a blob may be had.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A URL in its descriptor, and whose connections are used.
    Url(Candidate<'a>, &'a str),
    /// A server of the registry.
    Server(Candidate<'a>),
}

/// What the head of an answer says about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head<'a> {
    is_partial: bool,
    length: Option<u64>,
    content_range: Option<&'a str>,
    encoding: Option<&'a str>,
}

/// Why a body is not the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mismatch {
    /// All of it has this many bytes, another number than expected.
    Size(u64),
    /// A header is missing or makes no sense.
    Header(&'static str),
}

impl Client {
    /// Opens what `descriptor` describes at byte `offset`.
    ///
    /// An offset at the very end yields a body without bytes, and asks the registry for nothing.
    pub async fn fetch(&self, descriptor: &Descriptor, offset: u64) -> Result<Blob, Error> {
        if offset > descriptor.size {
            return Err(Error::Offset {
                digest: descriptor.digest.clone(),
                media_type: descriptor.media_type.clone(),
                size: descriptor.size,
                offset,
            });
        }
        let mut blob = Blob::new(self.clone(), descriptor.clone(), offset);
        if offset < descriptor.size {
            blob.open().await?;
        }
        Ok(blob)
    }

    /// Returns the bytes of a manifest whose size is not known, at most `limit` of them; nothing
    /// when there are more. Whether they are the right ones is left to the caller.
    pub async fn read(
        &self,
        descriptor: &Descriptor,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut last = None;
        for server in self.candidates(Capability::Pull, 0)? {
            let target = Target::Part("manifests", descriptor.digest.to_string());
            match self.send(server, &question(target, descriptor, 0)).await {
                Ok(response) => {
                    let what = descriptor.digest.to_string();
                    let transport = server.endpoint.transport();
                    return transport.read(response, &what, limit).await;
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.no_host("pull")))
    }

    /// Asks for the bytes from `offset`, at the URLs in the descriptor and then of the servers,
    /// from number `first` of both on.
    pub(super) async fn open(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        first: usize,
    ) -> Result<Opened, Error> {
        let first = first.max(self.first_for(descriptor));
        let mut last = None;
        for (number, place) in self.places(descriptor, first)? {
            let opened = match place {
                Place::Url(server, url) => self.open_url(server, url, descriptor, offset).await,
                Place::Server(server) => self.open_at(server, descriptor, offset).await,
            };
            match opened {
                Ok((response, skip)) => {
                    self.note_served(descriptor, number);
                    return Ok(Opened {
                        response,
                        skip,
                        number,
                    });
                }
                Err(error) => {
                    tracing::debug!(digest = %descriptor.digest, ?place, %error, "no blob there");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.no_host("pull")))
    }

    /// Returns where a blob may be had, with the number of each place, from number `first` on.
    pub(super) fn places<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        first: usize,
    ) -> Result<Vec<(usize, Place<'a>)>, Error> {
        let urls = descriptor.urls.len();
        let servers = self.candidates(Capability::Pull, first.saturating_sub(urls))?;
        // Others than the registry are asked only in passing.
        let passing = servers.first().map(|server| Candidate {
            is_last: false,
            ..*server
        });
        let urls_left = descriptor.urls.iter().enumerate().skip(first);
        let mut places: Vec<_> = urls_left
            .filter(|(_, url)| url.starts_with("https://") || url.starts_with("http://"))
            .filter_map(|(number, url)| Some((number, Place::Url(passing?, url))))
            .collect();
        let server = |server: Candidate<'a>| (urls + server.number, Place::Server(server));
        places.extend(servers.into_iter().map(server));
        Ok(places)
    }

    async fn open_url(
        &self,
        server: Candidate<'_>,
        url: &str,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<(Response, u64), Error> {
        let url = url.parse().map_err(|_| Error::Header {
            host: url.to_owned(),
            what: descriptor.digest.to_string(),
            header: "URL",
        })?;
        let request = Request {
            is_anonymous: true,
            ..question(Target::Url(url), descriptor, offset)
        };
        let response = self.send(server, &request).await?;
        check(response, descriptor, offset)
    }

    /// Asks one server. Indexes and manifests may also be kept as blobs.
    async fn open_at(
        &self,
        server: Candidate<'_>,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<(Response, u64), Error> {
        let is_manifest = matches!(
            descriptor.media_type.kind(),
            Kind::Index | Kind::Manifest | Kind::Schema1
        );
        let first = if is_manifest { "manifests" } else { "blobs" };
        match self.open_as(first, server, descriptor, offset).await {
            Err(Error::NotFound(_)) if is_manifest => {
                self.open_as("blobs", server, descriptor, offset).await
            }
            result => result,
        }
    }

    async fn open_as(
        &self,
        kind: &'static str,
        server: Candidate<'_>,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<(Response, u64), Error> {
        let target = Target::Part(kind, descriptor.digest.to_string());
        let rest = question(target.clone(), descriptor, offset);
        match self.send(server, &rest).await {
            Ok(response) => check(response, descriptor, offset),
            Err(Error::Status {
                status: 416,
                refusal,
            }) => {
                tracing::debug!(%refusal, offset, "fetching all of it instead of the rest");
                let whole = question(target, descriptor, 0);
                let response = self.send(server, &whole).await?;
                check(response, descriptor, offset)
            }
            Err(error) => Err(error),
        }
    }
}

fn question(target: Target, descriptor: &Descriptor, offset: u64) -> Request {
    let what = descriptor.digest.to_string();
    let request = Request::new(Method::GET, target, what)
        .header(header::ACCEPT, &format!("{}, */*", descriptor.media_type));
    if offset == 0 {
        return request;
    }
    request.header(header::RANGE, &format!("bytes={offset}-"))
}

/// Returns an answer and how many of its bytes come before `offset`, if it can be the blob.
fn check(
    response: Response,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<(Response, u64), Error> {
    let head = Head {
        is_partial: response.status() == StatusCode::PARTIAL_CONTENT,
        length: text_of(&response, header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
        content_range: text_of(&response, header::CONTENT_RANGE),
        encoding: text_of(&response, header::CONTENT_ENCODING),
    };
    let (host, what) = (host_of(response.url()), descriptor.digest.to_string());
    match head.skip(offset, descriptor.size) {
        Ok(skip) => Ok((response, skip)),
        Err(Mismatch::Header(header)) => Err(Error::Header { host, what, header }),
        Err(Mismatch::Size(found)) => Err(Error::WrongSize {
            host,
            what,
            expected: descriptor.size,
            found,
        }),
    }
}

impl Head<'_> {
    /// Returns how many bytes of the body come before `offset` of a blob of `size` bytes.
    fn skip(&self, offset: u64, size: u64) -> Result<u64, Mismatch> {
        if self
            .encoding
            .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
        {
            return Err(Mismatch::Header("Content-Encoding"));
        }
        if !self.is_partial {
            return match self.length {
                Some(length) if length != size => Err(Mismatch::Size(length)),
                _ => Ok(offset),
            };
        }
        let (first, total) = self
            .content_range
            .and_then(first_and_total)
            .filter(|(first, _)| *first == offset)
            .ok_or(Mismatch::Header("Content-Range"))?;
        let found = total.or(self.length.map(|length| first.saturating_add(length)));
        match found {
            Some(found) if found != size => Err(Mismatch::Size(found)),
            _ => Ok(0),
        }
    }
}

/// Reads `bytes first-last/total` (RFC 9110, section 14.4); the total may be unknown.
fn first_and_total(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.trim().split_once('-')?;
    let total = if total == "*" {
        None
    } else {
        Some(total.parse().ok()?)
    };
    Some((first.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let whole = Head {
            is_partial: false,
            length: None,
            content_range: None,
            encoding: None,
        };
        let partial = Head {
            is_partial: true,
            ..whole
        };
        let range = |text| Head {
            content_range: Some(text),
            ..partial
        };
        let encoded = |text| Head {
            encoding: Some(text),
            ..whole
        };
        let length = |head, length| Head {
            length: Some(length),
            ..head
        };
        let wrong_range = Err(Mismatch::Header("Content-Range"));
        let cases = [
            ("whole", length(whole, 10), 0, Ok(0)),
            ("whole of unknown length", whole, 0, Ok(0)),
            ("range ignored", length(whole, 10), 4, Ok(4)),
            ("too short", length(whole, 9), 0, Err(Mismatch::Size(9))),
            ("too long", length(whole, 11), 4, Err(Mismatch::Size(11))),
            ("the rest", length(range("bytes 4-9/10"), 6), 4, Ok(0)),
            (
                "the rest of unknown total",
                length(range("bytes 4-9/*"), 6),
                4,
                Ok(0),
            ),
            (
                "another total",
                range("bytes 4-9/11"),
                4,
                Err(Mismatch::Size(11)),
            ),
            (
                "a short rest",
                length(range("bytes 4-8/*"), 5),
                4,
                Err(Mismatch::Size(9)),
            ),
            ("another start", range("bytes 0-9/10"), 4, wrong_range),
            ("no range", partial, 4, wrong_range),
            ("nonsense", range("items 4"), 4, wrong_range),
            (
                "gzip",
                encoded("gzip"),
                0,
                Err(Mismatch::Header("Content-Encoding")),
            ),
            ("identity", encoded("identity"), 0, Ok(0)),
        ];
        for (why, head, offset, expected) in cases {
            assert_eq!(head.skip(offset, 10), expected, "{why}");
        }
    }
}

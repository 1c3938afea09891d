//! Opens the body of a manifest or blob at some byte of it.

use reqwest::{Method, Response, StatusCode, header};

use super::blob::Blob;
use super::client::{Client, Request, text_of};
use super::error::Error;
use super::redirect::host_of;
use crate::oci::{Descriptor, Kind};

/// A body, and how many of its bytes come before the ones that are wanted.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) response: Response,
    pub(super) skip: u64,
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

    /// Asks for the bytes from `offset`. Indexes and manifests may also be kept as blobs.
    pub(super) async fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Opened, Error> {
        let is_manifest = matches!(descriptor.media_type.kind(), Kind::Index | Kind::Manifest);
        let first = if is_manifest { "manifests" } else { "blobs" };
        match self.open_at(first, descriptor, offset).await {
            Err(Error::NotFound(_)) if is_manifest => {
                self.open_at("blobs", descriptor, offset).await
            }
            result => result,
        }
    }

    async fn open_at(
        &self,
        kind: &str,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Opened, Error> {
        let what = descriptor.digest.to_string();
        let request = Request {
            method: Method::GET,
            url: self.url(kind, &what),
            accept: format!("{}, */*", descriptor.media_type),
            offset,
            what: what.clone(),
        };
        let response = match self.send(&request).await {
            Err(Error::Status {
                status: 416,
                refusal,
            }) => {
                return Err(Error::Range {
                    host: refusal.host,
                    what,
                    position: offset,
                });
            }
            result => result?,
        };
        let head = Head {
            is_partial: response.status() == StatusCode::PARTIAL_CONTENT,
            length: text_of(&response, header::CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            content_range: text_of(&response, header::CONTENT_RANGE),
            encoding: text_of(&response, header::CONTENT_ENCODING),
        };
        let host = host_of(response.url());
        match head.skip(offset, descriptor.size) {
            Ok(skip) => Ok(Opened { response, skip }),
            Err(Mismatch::Header(header)) => Err(Error::Header { host, what, header }),
            Err(Mismatch::Size(found)) => Err(Error::WrongSize {
                host,
                what,
                expected: descriptor.size,
                found,
            }),
        }
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

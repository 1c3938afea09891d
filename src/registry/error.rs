//! Why a registry did not give what was asked of it.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::credentials::CredentialsError;
use super::hosts::HostsError;
use super::redirect::RedirectFault;
use super::token::TokenFault;
use crate::oci::{Digest, MediaType};

/// What was asked of which host, and what that host said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The host, with its port.
    pub host: String,
    /// What was asked for.
    pub what: String,
    /// The message in the answer, without control characters and cut to a line.
    pub message: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.host)?;
        match &self.message {
            Some(message) => write!(f, " ({message})"),
            None => Ok(()),
        }
    }
}

/// A failed request to a registry.
#[derive(Debug, Error)]
pub enum Error {
    /// The registry wants to know who asks, or does not accept what it was told.
    #[error("not authorized to read {0}")]
    Unauthorized(Refusal),
    /// The user may not have it.
    #[error("access denied to {0}")]
    Forbidden(Refusal),
    /// It does not exist, or the user may not know that it does.
    #[error("not found: {0}")]
    NotFound(Refusal),
    /// The registry limits how often one may ask, and waiting did not help.
    #[error("too many requests: {refusal}")]
    TooManyRequests {
        /// What was asked.
        refusal: Refusal,
        /// How long the registry wants us to wait, if it said so.
        retry_after: Option<Duration>,
    },
    /// The server failed, and trying again did not help.
    #[error("server error {status}: {refusal}")]
    Server {
        /// The HTTP status, 5xx.
        status: u16,
        /// What was asked.
        refusal: Refusal,
    },
    /// The server answered with a status that has no place here.
    #[error("unexpected status {status}: {refusal}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What was asked.
        refusal: Refusal,
    },
    /// No connection, or it broke before there was an answer.
    #[error("cannot reach {host} for {what}")]
    Unreachable {
        /// The host, with its port.
        host: String,
        /// What was asked for.
        what: String,
        /// How it failed.
        source: reqwest::Error,
    },
    /// The server's certificate is not one that is trusted for it.
    #[error("the certificate of {host} is not trusted")]
    Certificate {
        /// The host, with its port.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        source: reqwest::Error,
    },
    /// No server is configured for this.
    #[error("no host is configured to {action} for {registry}")]
    NoHost {
        /// The registry.
        registry: String,
        /// What was to be done there.
        action: &'static str,
    },
    /// The servers of the registry are not known.
    #[error("cannot find out which hosts serve {registry}")]
    Hosts {
        /// The registry.
        registry: String,
        /// What is wrong.
        source: Box<HostsError>,
    },
    /// The server did not answer in time.
    #[error("no answer from {host} for {what} in {} s", .after.as_secs())]
    TimedOut {
        /// The host, with its port.
        host: String,
        /// What was asked for.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The body broke off, and again each time it was resumed.
    #[error("{what} from {host} breaks off after {position} of {size} bytes")]
    Interrupted {
        /// The host, with its port.
        host: String,
        /// What was fetched.
        what: String,
        /// How many bytes had come.
        position: u64,
        /// How many bytes there should be.
        size: u64,
        /// How it broke; nothing when no bytes came for too long.
        source: Option<reqwest::Error>,
    },
    /// The server sends another number of bytes than the descriptor says.
    #[error("{what} from {host} has {found} bytes instead of {expected}")]
    WrongSize {
        /// The host, with its port.
        host: String,
        /// What was fetched.
        what: String,
        /// The size in the descriptor.
        expected: u64,
        /// What the server sends; the least that is known when it sends too much.
        found: u64,
    },
    /// A manifest is larger than any is allowed to be.
    #[error("{what} from {host} has more than the {limit} bytes allowed")]
    TooLarge {
        /// The host, with its port.
        host: String,
        /// What was fetched.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer lacks a header, or has one that makes no sense.
    #[error("{what} from {host} has a missing or wrong header {header}")]
    Header {
        /// The host, with its port.
        host: String,
        /// What was fetched.
        what: String,
        /// The header.
        header: &'static str,
    },
    /// The content is not what was asked for.
    #[error("{what} from {host} has the digest {found}")]
    WrongDigest {
        /// The host, with its port.
        host: String,
        /// What was fetched.
        what: String,
        /// The digest of what came, or that the server claims.
        found: Digest,
    },
    /// A descriptor asks for something that cannot be fetched from there.
    #[error("no bytes from {offset} in {digest} of {size} bytes, {media_type}")]
    Offset {
        /// The digest of the blob.
        digest: Digest,
        /// Its media type.
        media_type: MediaType,
        /// Its size in bytes.
        size: u64,
        /// The first byte asked for.
        offset: u64,
    },
    /// A redirect leads nowhere.
    #[error("cannot follow {host} for {what}")]
    Redirect {
        /// The host that redirects.
        host: String,
        /// What was asked for.
        what: String,
        /// What is wrong with the redirect.
        #[source]
        fault: RedirectFault,
    },
    /// The token service of the registry gave no token.
    #[error("no access token for {host} from {service}")]
    Token {
        /// The registry.
        host: String,
        /// The host of the token service.
        service: String,
        /// What went wrong.
        #[source]
        fault: TokenFault,
    },
    /// The user's credentials cannot be read.
    #[error("cannot look up credentials for {host}")]
    Credentials {
        /// The registry.
        host: String,
        /// What went wrong.
        #[source]
        fault: CredentialsError,
    },
    /// The HTTP client cannot be set up, mostly for want of root certificates.
    #[error("cannot set up TLS to reach {host}")]
    Tls {
        /// The host.
        host: String,
        /// What is missing.
        source: reqwest::Error,
    },
}

impl Error {
    /// Returns what a user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized(_)
            | Self::Token {
                fault: TokenFault::Refused { .. },
                ..
            } => Some("give --user NAME, or log in with docker login"),
            Self::TooManyRequests { .. } => {
                Some("wait, or log in: registries limit anonymous users more")
            }
            Self::Tls { .. } => Some("install the package ca-certificates"),
            Self::Certificate { .. } => Some(
                "name its certificate authority in a hosts.toml (see --hosts-dir), or give --insecure-registry",
            ),
            Self::Unreachable { .. } => Some("for a registry without TLS give --plain-http"),
            _ => None,
        }
    }
}

/// Returns the error for a final answer of this status.
pub(super) fn of_status(status: u16, retry_after: Option<Duration>, refusal: Refusal) -> Error {
    match status {
        401 => Error::Unauthorized(refusal),
        403 => Error::Forbidden(refusal),
        404 => Error::NotFound(refusal),
        429 => Error::TooManyRequests {
            refusal,
            retry_after,
        },
        500..=599 => Error::Server { status, refusal },
        _ => Error::Status { status, refusal },
    }
}

/// Returns the message in the body of a refusal (distribution spec, "Error Codes").
pub(super) fn message_in(body: &[u8]) -> Option<String> {
    const LONGEST: usize = 200;
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = body.get("errors")?.get(0)?;
    let text = error
        .get("message")
        .or_else(|| error.get("code"))?
        .as_str()?;
    let line: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_bodies() {
        let cases: [(&[u8], Option<&str>); 6] = [
            (
                br#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31mway"}]}"#,
                Some("no[31mway"),
            ),
            (br#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (br#"{"errors":[{"message":""}]}"#, None),
            (br#"{"errors":[]}"#, None),
            (b"<html>", None),
            (b"", None),
        ];
        for (body, expected) in cases {
            assert_eq!(message_in(body).as_deref(), expected);
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "é".repeat(1000));
        assert_eq!(message_in(long.as_bytes()).unwrap().chars().count(), 200);
    }
}

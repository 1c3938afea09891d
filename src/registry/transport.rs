//! The HTTP connections underneath: which client for which URL, and how long to wait.
//!
//! A host's certificate authorities are trusted, and its certificates left unchecked where the
//! user said so, also at the servers that it sends us to; its client certificate is shown to
//! itself alone.

use std::error::Error as StdError;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{ClientBuilder, Response, Url, header};

use super::body::Taken;
use super::error::Error;
use super::hosts::Tls;
use super::redirect::host_of;

/// How many times as long as bytes of a body are waited for an upload may stand still.
const PATIENCE: u32 = 5;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the head of the answer, once connected.
    pub header: Duration,
    /// For the next bytes of a body.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            header: Duration::from_secs(30),
            stall: Duration::from_secs(60),
        }
    }
}

/// HTTP clients, made when they are first needed: a pull from a plain loopback registry asks
/// neither for root certificates nor for a proxy.
#[derive(Debug, Default)]
pub(super) struct Transport {
    timeouts: Timeouts,
    tls: Tls,
    loopback: OnceLock<reqwest::Client>,
    plain: OnceLock<reqwest::Client>,
    secure: OnceLock<reqwest::Client>,
    /// Like `secure`, for the host itself.
    own: OnceLock<reqwest::Client>,
}

/// Whose server a URL is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The host's that the transport is for.
    Own,
    /// Another's, to which the host has sent us.
    Other,
}

impl Transport {
    pub(super) fn new(timeouts: Timeouts, tls: Tls) -> Self {
        Self {
            timeouts,
            tls,
            ..Self::default()
        }
    }

    /// Returns the client for a URL.
    pub(super) fn client(&self, url: &Url, whose: Whose) -> Result<&reqwest::Client, Error> {
        let no_roots = |builder: ClientBuilder| builder.tls_certs_only([]);
        let made = match (url.scheme(), whose) {
            ("https", Whose::Own) => self.secure(&self.own, whose),
            ("https", Whose::Other) => self.secure(&self.secure, whose),
            _ if is_loopback(url.host_str().unwrap_or_default()) => {
                get_or_build(&self.loopback, || no_roots(self.builder()).no_proxy())
            }
            _ => get_or_build(&self.plain, || no_roots(self.builder())),
        };
        made.map_err(|source| Error::Tls {
            host: host_of(url),
            source,
        })
    }

    fn secure<'a>(
        &self,
        slot: &'a OnceLock<reqwest::Client>,
        whose: Whose,
    ) -> Result<&'a reqwest::Client, reqwest::Error> {
        let ca = &self.tls.ca;
        let made = get_or_build(slot, || {
            self.with_tls(whose, |builder| builder.tls_certs_merge(ca.clone()))
        });
        if made.is_ok() || ca.is_empty() {
            return made;
        }
        // A machine without root certificates can still have the host's own.
        get_or_build(slot, || {
            self.with_tls(whose, |builder| builder.tls_certs_only(ca.clone()))
        })
    }

    fn with_tls(
        &self,
        whose: Whose,
        trust: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> ClientBuilder {
        let mut builder = self.builder();
        if self.tls.skip_verify {
            builder = builder
                .tls_certs_only([])
                .tls_danger_accept_invalid_certs(true);
        } else if !self.tls.ca.is_empty() {
            builder = trust(builder);
        }
        match &self.tls.identity {
            Some(identity) if whose == Whose::Own => builder.identity(identity.clone()),
            _ => builder,
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        what: &str,
    ) -> Result<Response, Error> {
        let after = self.timeouts.connect + self.timeouts.header;
        let host = host_of(url);
        match tokio::time::timeout(after, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_timeout() => Err(Error::TimedOut {
                host,
                what: what.to_owned(),
                after: self.timeouts.connect,
            }),
            // The URL may hold a signature, which is as good as a password.
            Ok(Err(error)) => Err(unreachable(host, what.to_owned(), error.without_url())),
            Err(_) => Err(Error::TimedOut {
                host,
                what: what.to_owned(),
                after,
            }),
        }
    }

    /// Sends a request with a large body, which may take as long as it likes while it goes on.
    pub(super) async fn upload(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        what: &str,
        taken: &Taken,
    ) -> Result<Response, Error> {
        let mut sending = std::pin::pin!(request.send());
        let mut position = taken.position();
        let mut quiet = Duration::ZERO;
        loop {
            let step = self.timeouts.stall;
            match tokio::time::timeout(step, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    let error = error.without_url();
                    return Err(unreachable(host_of(url), what.to_owned(), error));
                }
                Err(_) if taken.position() != position => {
                    position = taken.position();
                    quiet = Duration::ZERO;
                }
                Err(_) => quiet += step,
            }
            // Behind the last byte the registry may still have to put the blob in its place.
            if quiet >= step * PATIENCE {
                return Err(Error::TimedOut {
                    host: host_of(url),
                    what: what.to_owned(),
                    after: quiet,
                });
            }
        }
    }

    /// Reads a body of at most `limit` bytes; nothing when it is longer.
    pub(super) async fn read(
        &self,
        mut response: Response,
        what: &str,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let host = host_of(response.url());
        let mut body = Vec::new();
        loop {
            let after = self.timeouts.stall;
            match tokio::time::timeout(after, response.chunk()).await {
                Ok(Ok(None)) => return Ok(Some(body)),
                Ok(Ok(Some(bytes))) if body.len() + bytes.len() > limit => return Ok(None),
                Ok(Ok(Some(bytes))) => body.extend_from_slice(&bytes),
                Ok(Err(error)) => {
                    let source = error.without_url();
                    return Err(Error::Unreachable {
                        host,
                        what: what.to_owned(),
                        source,
                    });
                }
                Err(_) => {
                    return Err(Error::TimedOut {
                        host,
                        what: what.to_owned(),
                        after,
                    });
                }
            }
        }
    }

    fn builder(&self) -> ClientBuilder {
        // Another part of the process may have chosen its provider before; both do.
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::ring::default_provider()
                .install_default()
                .is_err()
        {
            tracing::debug!("the TLS provider was set elsewhere");
        }
        let identity = header::HeaderValue::from_static("identity");
        reqwest::Client::builder()
            .user_agent(concat!("mica/", env!("CARGO_PKG_VERSION")))
            // Blobs are compressed already, and must come as the bytes that were hashed.
            .default_headers([(header::ACCEPT_ENCODING, identity)].into_iter().collect())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.timeouts.connect)
            .tcp_nodelay(true)
    }
}

/// Tells a server whose certificate is not trusted from one that cannot be reached.
fn unreachable(host: String, what: String, source: reqwest::Error) -> Error {
    if is_of_certificate(&source) {
        Error::Certificate { host, what, source }
    } else {
        Error::Unreachable { host, what, source }
    }
}

fn is_of_certificate(error: &(dyn StdError + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // What an I/O error wraps is not its source.
    let wrapped = error.downcast_ref().and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => is_of_certificate(inner),
        None => error.source().is_some_and(is_of_certificate),
    }
}

/// Says whether a host, without port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn get_or_build(
    slot: &OnceLock<reqwest::Client>,
    builder: impl FnOnce() -> ClientBuilder,
) -> Result<&reqwest::Client, reqwest::Error> {
    if let Some(client) = slot.get() {
        return Ok(client);
    }
    let client = builder().build()?;
    Ok(slot.get_or_init(|| client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.io",
            "127.0.0.1.evil.io",
            "10.0.0.1",
            "[::2]",
            "128.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn clients_are_made_for_all_schemes() {
        let transport = Transport::default();
        for url in ["http://127.0.0.1:1/", "http://h.io/"] {
            assert!(
                transport.client(&url.parse().unwrap(), Whose::Own).is_ok(),
                "{url}"
            );
        }
        // Without root certificates the error says so; a panic would not.
        let secure = transport.client(&"https://h.io/".parse().unwrap(), Whose::Own);
        assert!(
            matches!(secure, Ok(_) | Err(Error::Tls { .. })),
            "{secure:?}"
        );
    }
}

//! One request to a registry, with all that it takes to get an answer: authorization, redirects,
//! and another try.

use std::sync::Arc;

use reqwest::{Method, Response, Url, header};

use super::auth::{Authorizer, Connection, Grant};
use super::challenge::{Challenge, choose};
use super::credentials::Credentials;
use super::error::{Error, Refusal, message_in, of_status};
use super::redirect::{Route, host_of};
use super::retry::{Failure, Policy};
use super::token::waiting_time;
use super::transport::{Timeouts, Transport, is_loopback};
use crate::oci::Reference;

/// How many bytes of a refusal are read for its message.
const LONGEST_REFUSAL: usize = 64 << 10;

/// How to talk to a registry.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Never use TLS. A registry on the loopback interface is spoken to without it anyway,
    /// unless its port is 443.
    pub plain_http: bool,
    /// Who the user is; otherwise the user's files are asked when the registry wants to know.
    pub credentials: Option<Credentials>,
    /// When to try again.
    pub policy: Policy,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// A client of one repository; its clones share connections and authorization.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reference: Reference,
    /// `scheme://host/v2/path`.
    base: Url,
    transport: Transport,
    policy: Policy,
    authorizer: Authorizer,
}

/// A request for something in the repository.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: String,
    /// Where a blob is resumed, in bytes; 0 asks for all of it.
    pub(super) offset: u64,
    /// What it is for, in messages.
    pub(super) what: String,
}

impl Client {
    /// Returns a client of the repository of `reference`. Nothing is sent yet.
    pub fn new(reference: Reference, options: Options) -> Result<Self, Error> {
        let base = base_url(&reference, options.plain_http)?;
        let authorizer = Authorizer::new(reference.host(), reference.path(), options.credentials);
        let transport = Transport::new(options.timeouts);
        Ok(Self(Arc::new(Inner {
            reference,
            base,
            transport,
            policy: options.policy,
            authorizer,
        })))
    }

    /// Returns the reference that the client was made for.
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    /// Returns the registry's host, for messages.
    pub(super) fn host(&self) -> String {
        host_of(&self.0.base)
    }

    /// Returns the URL of something in the repository.
    pub(super) fn url(&self, kind: &str, name: &str) -> Url {
        let mut url = self.0.base.clone();
        url.set_path(&format!("{}/{kind}/{name}", self.0.base.path()));
        url
    }

    /// Sends a request until there is an answer that is a success, or that will not change.
    pub(super) async fn send(&self, request: &Request) -> Result<Response, Error> {
        let mut made = 0;
        loop {
            made += 1;
            let result = self.attempt(request).await;
            let failure = match &result {
                Ok(response) if response.status().is_success() => return result,
                Ok(response) => Failure::Status(response.status().as_u16(), waiting_time(response)),
                Err(Error::Unreachable { .. }) => Failure::Connection,
                Err(_) => return result,
            };
            match self.0.policy.wait(made, failure) {
                Some(wait) => {
                    tracing::debug!(what = request.what, ?failure, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                }
                None => return Err(self.refuse(request, result?).await),
            }
        }
    }

    /// Sends a request once, through all redirects and challenges.
    async fn attempt(&self, request: &Request) -> Result<Response, Error> {
        let mut route = Route::new(request.url.clone());
        let mut grant = self.0.authorizer.current().await;
        let mut challenges = 0;
        loop {
            let response = self.hop(request, route.current(), grant.as_ref()).await?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let location = text_of(&response, header::LOCATION);
                    let host = host_of(route.current());
                    route.follow(location).map_err(|fault| Error::Redirect {
                        host,
                        what: request.what.clone(),
                        fault,
                    })?;
                }
                401 if self.is_registry(route.current()) => {
                    challenges += 1;
                    match self.answer(&response, grant.as_ref(), challenges).await? {
                        Some(renewed) => grant = Some(renewed),
                        None => return Ok(response),
                    }
                }
                _ => return Ok(response),
            }
        }
    }

    async fn hop(
        &self,
        request: &Request,
        url: &Url,
        grant: Option<&Grant>,
    ) -> Result<Response, Error> {
        let client = self.0.transport.client(url)?;
        let mut builder = client
            .request(request.method.clone(), url.clone())
            .header(header::ACCEPT, &request.accept);
        if request.offset > 0 {
            builder = builder.header(header::RANGE, format!("bytes={}-", request.offset));
        }
        if let Some(grant) = grant.filter(|_| self.is_registry(url)) {
            builder = builder.header(header::AUTHORIZATION, grant.header.clone());
        }
        self.0.transport.send(builder, url, &request.what).await
    }

    /// Returns a new authorization after the `round`th refusal of one request. A second one only
    /// comes when the registry says that the token is at fault, not the user.
    async fn answer(
        &self,
        response: &Response,
        refused: Option<&Grant>,
        round: u32,
    ) -> Result<Option<Grant>, Error> {
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let Some(challenge) = choose(headers.iter().filter_map(|value| value.to_str().ok())) else {
            return Ok(None);
        };
        let is_token_bad = matches!(
            &challenge,
            Challenge::Bearer(bearer) if bearer.error.as_deref() == Some("invalid_token")
        );
        match round {
            1 => {}
            2 if is_token_bad => {}
            _ => return Ok(None),
        }
        let connection = Connection {
            transport: &self.0.transport,
            policy: &self.0.policy,
            registry: &self.0.base,
        };
        self.0
            .authorizer
            .renew(&connection, &challenge, refused)
            .await
    }

    /// Says whether a URL is at the registry itself, which alone is shown who the user is.
    fn is_registry(&self, url: &Url) -> bool {
        url.origin() == self.0.base.origin()
    }

    async fn refuse(&self, request: &Request, response: Response) -> Error {
        let status = response.status().as_u16();
        let retry_after = waiting_time(&response);
        let host = host_of(response.url());
        // The status says enough when the message cannot be read.
        let body = self
            .0
            .transport
            .read(response, &request.what, LONGEST_REFUSAL)
            .await;
        let message = body.ok().flatten().and_then(|body| message_in(&body));
        of_status(
            status,
            retry_after,
            Refusal {
                host,
                what: request.what.clone(),
                message,
            },
        )
    }
}

/// Returns a header's text, if it has one that is text.
pub(super) fn text_of(response: &Response, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn base_url(reference: &Reference, plain_http: bool) -> Result<Url, Error> {
    let registry = reference.registry();
    let at = |scheme: &str| {
        let url = format!("{scheme}://{registry}/v2/{}", reference.path());
        url.parse::<Url>().map_err(|_| Error::Host {
            host: registry.to_owned(),
        })
    };
    let secure = at("https")?;
    // The explicit port 443 of a loopback registry means TLS; no port at all means port 80.
    let is_plain =
        is_loopback(secure.host_str().unwrap_or_default()) && !registry.ends_with(":443");
    if plain_http || is_plain {
        at("http")
    } else {
        Ok(secure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        let cases = [
            (
                "alpine",
                false,
                "https://registry-1.docker.io/v2/library/alpine",
            ),
            ("h.io:5000/a/b", false, "https://h.io:5000/v2/a/b"),
            ("h.io/a", true, "http://h.io/v2/a"),
            ("localhost/a", false, "http://localhost/v2/a"),
            ("localhost:5000/a", false, "http://localhost:5000/v2/a"),
            ("127.0.0.2:5000/a", false, "http://127.0.0.2:5000/v2/a"),
            ("[::1]:5000/a", false, "http://[::1]:5000/v2/a"),
            ("localhost:443/a", false, "https://localhost/v2/a"),
            ("localhost.io/a", false, "https://localhost.io/v2/a"),
            ("10.0.0.1:80/a", false, "https://10.0.0.1:80/v2/a"),
        ];
        for (reference, plain_http, expected) in cases {
            let base = base_url(&reference.parse().unwrap(), plain_http).unwrap();
            assert_eq!(base.as_str(), expected, "{reference}");
        }
        let error = base_url(&"999.0.0.1:80/a".parse().unwrap(), false).unwrap_err();
        assert_eq!(error.to_string(), "\"999.0.0.1:80\" is not a host");
    }
}

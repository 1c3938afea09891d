//! One request to a registry, with all that it takes to get an answer: authorization, redirects,
//! and another try.
//!
//! Several servers may serve one registry ([`hosts`](super::hosts)). Each thing is asked of one
//! after the other until one has it: mirrors once, the last server until the [`Policy`] ends it,
//! and the last one's answer is the one that is told.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Response, Url, header};

use super::auth::{Connection, Grant};
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::error::{Error, Refusal, message_in, of_status};
use super::hosts::{self, Capability, Habits};
use super::redirect::{Route, host_of};
use super::request::Request;
use super::retry::{Failure, Policy};
use super::token::waiting_time;
use super::transport::Timeouts;
use crate::oci::{Descriptor, Digest, Reference};

/// How many bytes of a refusal are read for its message.
const LONGEST_REFUSAL: usize = 64 << 10;

/// How to talk to a registry.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Never use TLS. A registry on the loopback interface is spoken to without it anyway,
    /// unless it turns out to want it.
    pub plain_http: bool,
    /// Take any certificate, and do without TLS where the registry has none.
    pub insecure: bool,
    /// Where directories of registries, with a `hosts.toml`, are looked for; see
    /// [`default_hosts_dirs`](super::default_hosts_dirs).
    pub hosts_dirs: Vec<PathBuf>,
    /// Ask for the right to push as well.
    pub push: bool,
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
    /// How it is named for the time when it is needed again.
    address: String,
    /// In the order in which they are asked.
    endpoints: Vec<Endpoint>,
    policy: Policy,
    stall: Duration,
    /// The server that each blob came from last, and the first that may be asked for it.
    served: Mutex<HashMap<Digest, Served>>,
}

/// Which servers are asked for one blob.
///
/// The numbers count the URLs in the blob's descriptor before the endpoints.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    urls: usize,
    first: usize,
    last: usize,
}

/// A server to ask, and whether there is another one after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) number: usize,
    pub(super) is_last: bool,
}

impl Client {
    /// Returns a client of the repository of `reference`. Nothing is sent yet; the configuration
    /// of the registry's hosts is read.
    pub fn new(reference: Reference, options: &Options) -> Result<Self, Error> {
        let habits = Habits {
            directories: &options.hosts_dirs,
            plain_http: options.plain_http,
            insecure: options.insecure,
        };
        let hosts = hosts::resolve(&reference, habits).map_err(|source| Error::Hosts {
            registry: reference.host().to_owned(),
            source: Box::new(source),
        })?;
        let endpoints = hosts
            .into_iter()
            .map(|host| Endpoint::new(&reference, host, options))
            .collect();
        let scheme = match options {
            Options {
                plain_http: true, ..
            } => "http://",
            Options { insecure: true, .. } => "insecure://",
            _ => "",
        };
        Ok(Self(Arc::new(Inner {
            address: format!("{scheme}{reference}"),
            reference,
            endpoints,
            policy: options.policy.clone(),
            stall: options.timeouts.stall,
            served: Mutex::default(),
        })))
    }

    /// Returns the reference that the client was made for.
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    /// Returns the reference, behind `http://` or `insecure://` where the options say so.
    pub fn address(&self) -> String {
        self.0.address.clone()
    }

    /// Returns the registry's host, for messages.
    pub(super) fn host(&self) -> String {
        self.0.reference.registry().to_owned()
    }

    /// Returns how long no bytes of a body may come.
    pub(super) fn stall(&self) -> Duration {
        self.0.stall
    }

    /// Returns the servers to ask, from number `first` on; those that cannot be reached are
    /// passed over while there are others.
    pub(super) fn candidates(
        &self,
        capability: Capability,
        first: usize,
    ) -> Result<Vec<Candidate<'_>>, Error> {
        let allowed = self.0.endpoints.iter().enumerate().skip(first);
        let allowed: Vec<_> = allowed.filter(|(_, e)| e.allows(capability)).collect();
        let up: Vec<_> = allowed
            .iter()
            .filter(|(_, endpoint)| !endpoint.is_down())
            .copied()
            .collect();
        let chosen = if up.is_empty() { allowed } else { up };
        let count = chosen.len();
        let candidates: Vec<_> = chosen
            .into_iter()
            .enumerate()
            .map(|(position, (number, endpoint))| Candidate {
                endpoint,
                number,
                is_last: position + 1 == count,
            })
            .collect();
        if candidates.is_empty() {
            return Err(self.no_host(match capability {
                Capability::Pull => "pull",
                Capability::Resolve => "resolve names",
                Capability::Push => "push",
            }));
        }
        Ok(candidates)
    }

    pub(super) fn no_host(&self, action: &'static str) -> Error {
        Error::NoHost {
            registry: self.0.reference.host().to_owned(),
            action,
        }
    }

    /// Says that a blob that was fetched is not what its digest stands for. Returns whether
    /// there is another server to ask for it.
    pub fn distrust(&self, digest: &Digest) -> bool {
        let mut all = self.0.served.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(served) = all.get_mut(digest) else {
            return false;
        };
        served.first = served.last + 1;
        let first = served.first.saturating_sub(served.urls);
        let mut rest = self.0.endpoints.iter().skip(first);
        rest.any(|endpoint| endpoint.allows(Capability::Pull))
    }

    /// Returns the number of the first server that may be asked for a blob.
    pub(super) fn first_for(&self, descriptor: &Descriptor) -> usize {
        let all = self.0.served.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&descriptor.digest).map_or(0, |served| served.first)
    }

    /// Remembers which server a blob comes from.
    pub(super) fn note_served(&self, descriptor: &Descriptor, number: usize) {
        let mut all = self.0.served.lock().unwrap_or_else(PoisonError::into_inner);
        let served = all.entry(descriptor.digest.clone()).or_default();
        served.last = number;
        served.urls = descriptor.urls.len();
    }

    /// Returns how long to wait after the `made`th failure in a row, or nothing when it is the
    /// last.
    pub(super) fn wait(&self, made: u32, failure: Failure) -> Option<Duration> {
        self.0.policy.wait(made, failure)
    }

    /// Sends a request to one server until there is an answer that is a success, or that will
    /// not change. Where there are other servers to ask, it is sent once.
    pub(super) async fn send(
        &self,
        to: Candidate<'_>,
        request: &Request,
    ) -> Result<Response, Error> {
        let Candidate {
            endpoint, is_last, ..
        } = to;
        let mut made = 0;
        loop {
            made += 1;
            let result = self.attempt_either(endpoint, request).await;
            endpoint.note(&result);
            let failure = match &result {
                Ok(response) if response.status().is_success() => return result,
                Ok(response) => Failure::Status(response.status().as_u16(), waiting_time(response)),
                Err(Error::Unreachable { .. }) => Failure::Connection,
                Err(_) => return result,
            };
            match self.0.policy.wait(made, failure).filter(|_| is_last) {
                Some(wait) => {
                    tracing::debug!(what = request.what, ?failure, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                }
                None => return Err(refuse(endpoint, request, result?).await),
            }
        }
    }

    /// Sends a request once; with the other scheme too while it is not known which of both the
    /// server speaks.
    async fn attempt_either(
        &self,
        endpoint: &Endpoint,
        request: &Request,
    ) -> Result<Response, Error> {
        let base = endpoint.base().clone();
        let result = self.attempt(endpoint, &base, request).await;
        let Some(other) = endpoint.other_base().cloned() else {
            return result;
        };
        let is_wrong = match &result {
            // What servers say to a plain request where they expect TLS.
            Ok(response) => base.scheme() == "http" && response.status().as_u16() == 400,
            Err(Error::Unreachable { .. } | Error::Certificate { .. }) => true,
            Err(_) => false,
        };
        if !is_wrong {
            endpoint.settle(&base);
            return result;
        }
        match self.attempt(endpoint, &other, request).await {
            Ok(response) => {
                endpoint.settle(&other);
                Ok(response)
            }
            Err(_) => result,
        }
    }

    /// Sends a request once, through all redirects and challenges.
    async fn attempt(
        &self,
        endpoint: &Endpoint,
        base: &Url,
        request: &Request,
    ) -> Result<Response, Error> {
        let mut url = endpoint.url(base, &request.target);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut route = Route::new(url);
        let mut grant = if request.is_anonymous {
            None
        } else {
            endpoint.authorizer().current().await
        };
        let mut challenges = 0;
        loop {
            let response = hop(endpoint, request, route.current(), grant.as_ref()).await?;
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
                401 if endpoint.is_told(request, route.current()) => {
                    challenges += 1;
                    let connection = Connection {
                        transport: endpoint.transport(),
                        policy: &self.0.policy,
                        registry: base,
                    };
                    let authorizer = endpoint.authorizer();
                    let renewed =
                        authorizer.answer(&connection, &response, grant.as_ref(), challenges);
                    match renewed.await? {
                        Some(renewed) => grant = Some(renewed),
                        None => return Ok(response),
                    }
                }
                _ => return Ok(response),
            }
        }
    }
}

/// Sends a request to one URL. Only the server itself is shown who the user is.
async fn hop(
    endpoint: &Endpoint,
    request: &Request,
    url: &Url,
    grant: Option<&Grant>,
) -> Result<Response, Error> {
    let whose = endpoint.whose(url);
    let client = endpoint.transport().client(url, whose)?;
    let mut builder = client
        .request(request.method.clone(), url.clone())
        .headers(request.headers.clone());
    if endpoint.is_told(request, url) {
        builder = builder.headers(endpoint.host().headers.clone());
        if let Some(grant) = grant {
            builder = builder.header(header::AUTHORIZATION, grant.header.clone());
        }
    }
    let taken = request.body.as_ref().and_then(|body| body.taken());
    if let Some(body) = &request.body {
        builder = builder.body(body.make());
    }
    let transport = endpoint.transport();
    match taken {
        None => transport.send(builder, url, &request.what).await,
        Some(taken) => transport.upload(builder, url, &request.what, taken).await,
    }
}

async fn refuse(endpoint: &Endpoint, request: &Request, response: Response) -> Error {
    let status = response.status().as_u16();
    let retry_after = waiting_time(&response);
    let host = host_of(response.url());
    // The status says enough when the message cannot be read.
    let body = endpoint
        .transport()
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

/// Returns a header's text, if it has one that is text.
pub(super) fn text_of(response: &Response, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

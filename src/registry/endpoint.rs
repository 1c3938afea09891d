//! One server that is asked for one repository: its URLs, connections and authorization.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Response, Url};

use super::auth::Authorizer;
use super::client::Options;
use super::error::Error;
use super::hosts::{Capability, Host};
use super::redirect::host_of;
use super::request::{Request, Target};
use super::transport::{Timeouts, Transport, Whose};
use crate::oci::Reference;

/// A server, for one repository.
#[derive(Debug)]
pub(super) struct Endpoint {
    host: Host,
    /// The repository's path under the root of the API.
    path: String,
    /// What a mirror of several registries is told: the host whose repository is meant.
    namespace: Option<String>,
    transport: Transport,
    authorizer: Authorizer,
    /// The root of the API, once it is known which scheme the server speaks.
    settled: OnceLock<Url>,
    is_down: AtomicBool,
}

impl Endpoint {
    pub(super) fn new(reference: &Reference, host: Host, options: &Options) -> Self {
        let timeouts = Timeouts {
            connect: host.connect.unwrap_or(options.timeouts.connect),
            ..options.timeouts
        };
        let own = host_of(&host.base);
        // What the user gave is for the registry that was named, not for its mirrors.
        let (name, given) = if host.is_registry {
            (reference.host(), options.credentials.clone())
        } else {
            (own.as_str(), None)
        };
        let push = options.push && host.capabilities.push;
        Self {
            path: reference.path().to_owned(),
            namespace: (!host.is_registry).then(|| reference.host().to_owned()),
            transport: Transport::new(timeouts, host.tls.clone()),
            authorizer: Authorizer::new(name, reference.path(), given, push),
            settled: OnceLock::new(),
            is_down: AtomicBool::new(false),
            host,
        }
    }

    pub(super) fn allows(&self, capability: Capability) -> bool {
        self.host.capabilities.allow(capability)
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// Returns the root of the API, as far as its scheme is known.
    pub(super) fn base(&self) -> &Url {
        self.settled.get().unwrap_or(&self.host.base)
    }

    /// Returns the root of the API with the other scheme, while that is in question.
    pub(super) fn other_base(&self) -> Option<&Url> {
        let other = self.host.other.as_ref()?;
        self.settled.get().is_none().then_some(other)
    }

    /// Remembers which of both roots has answered.
    pub(super) fn settle(&self, base: &Url) {
        self.settled.get_or_init(|| base.clone());
    }

    /// Returns the URL of something in the repository, under a root of the API.
    pub(super) fn url(&self, base: &Url, target: &Target) -> Url {
        let (kind, name) = match target {
            Target::Url(url) => return url.clone(),
            Target::Part(kind, name) => (kind, name),
        };
        let mut url = base.clone();
        let root = base.path().trim_end_matches('/');
        url.set_path(&format!("{root}/{}/{kind}/{name}", self.path));
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }

    /// Says whether a request is to show who the user is when it goes to this URL.
    pub(super) fn is_told(&self, request: &Request, url: &Url) -> bool {
        !request.is_anonymous && self.whose(url) == Whose::Own
    }

    /// Says whether a URL is at the server itself.
    pub(super) fn whose(&self, url: &Url) -> Whose {
        let is_own = |base: &Url| url.origin() == base.origin();
        if is_own(&self.host.base) || self.host.other.as_ref().is_some_and(is_own) {
            Whose::Own
        } else {
            Whose::Other
        }
    }

    /// Says whether the server could not be reached when it was last tried.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Takes note of whether the server can be reached.
    pub(super) fn note(&self, result: &Result<Response, Error>) {
        let is_down = matches!(
            result,
            Err(Error::Unreachable { .. } | Error::TimedOut { .. } | Error::Certificate { .. })
        );
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}

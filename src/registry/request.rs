//! What is asked of a registry, before it is known of which of its servers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::body::{FileBody, Taken};

/// A request for something in the repository.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Body>,
    /// Whether it is nobody's business who the user is.
    pub(super) is_anonymous: bool,
    /// What it is for, in messages.
    pub(super) what: String,
}

/// What a request is for.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Something in the repository, such as `manifests` and a tag.
    Part(&'static str, String),
    /// Something that the server, or a descriptor, has named.
    Url(Url),
}

/// The body of a request, which may be sent again.
#[derive(Clone)]
pub(super) enum Body {
    /// A few bytes.
    Bytes(Bytes),
    /// Bytes of a file, and how far they were taken.
    File(Taken, Arc<dyn Fn() -> FileBody + Send + Sync>),
}

impl Body {
    /// Returns a body that is made anew each time that it is sent.
    pub(super) fn new(taken: Taken, make: impl Fn() -> FileBody + Send + Sync + 'static) -> Self {
        Self::File(taken, Arc::new(make))
    }

    pub(super) fn make(&self) -> reqwest::Body {
        match self {
            Self::Bytes(bytes) => bytes.clone().into(),
            Self::File(_, make) => reqwest::Body::wrap(make()),
        }
    }

    /// Returns what tells whether the body is being taken, where that may last.
    pub(super) fn taken(&self) -> Option<&Taken> {
        match self {
            Self::Bytes(_) => None,
            Self::File(taken, _) => Some(taken),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl Request {
    /// Returns a request without query, headers and body.
    pub(super) fn new(method: Method, target: Target, what: String) -> Self {
        Self {
            method,
            target,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            is_anonymous: false,
            what,
        }
    }

    /// Adds a header; one whose value cannot be sent is left out.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

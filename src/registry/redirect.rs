//! Where a redirect may lead.

use reqwest::Url;
use thiserror::Error;

/// How many redirects one request may take.
const MOST: usize = 10;

/// The way of one request from URL to URL.
#[derive(Debug)]
pub(super) struct Route {
    visited: Vec<Url>,
    current: Url,
}

/// What is wrong with a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RedirectFault {
    /// There is no `Location`, or it is no URL.
    #[error("the redirect has no proper location")]
    Location,
    /// The target is not reached through HTTP.
    #[error("the redirect leads to a {0:?} URL")]
    Scheme(String),
    /// An encrypted connection would be left for a plain one.
    #[error("the redirect leads from https to http at {0}")]
    Downgrade(String),
    /// The redirects lead back to where they came from.
    #[error("the redirects go in a circle, through {0}")]
    Loop(String),
    /// There are more than ten.
    #[error("there are more than {MOST} redirects")]
    TooMany,
}

impl Route {
    pub(super) fn new(start: Url) -> Self {
        Self {
            visited: Vec::new(),
            current: start,
        }
    }

    pub(super) fn current(&self) -> &Url {
        &self.current
    }

    /// Goes on to the target of a `Location` header.
    pub(super) fn follow(&mut self, location: Option<&str>) -> Result<(), RedirectFault> {
        let location = location.ok_or(RedirectFault::Location)?;
        let next = target_of(&self.current, location)?;
        self.visited
            .push(std::mem::replace(&mut self.current, next));
        if self.visited.contains(&self.current) {
            return Err(RedirectFault::Loop(host_of(&self.current)));
        }
        if self.visited.len() > MOST {
            return Err(RedirectFault::TooMany);
        }
        Ok(())
    }
}

/// Returns the URL that a `Location` header leads to from another one.
pub(super) fn target_of(from: &Url, location: &str) -> Result<Url, RedirectFault> {
    let mut next = from.join(location).map_err(|_| RedirectFault::Location)?;
    match (from.scheme(), next.scheme()) {
        ("https", "http") => return Err(RedirectFault::Downgrade(host_of(&next))),
        (_, "http" | "https") => {}
        (_, other) => return Err(RedirectFault::Scheme(other.to_owned())),
    }
    if next.host().is_none() {
        return Err(RedirectFault::Location);
    }
    next.set_fragment(None);
    // A name and a password in the URL would be sent as Basic credentials.
    if next.set_username("").is_err() || next.set_password(None).is_err() {
        return Err(RedirectFault::Location);
    }
    Ok(next)
}

/// Returns the host of a URL, with its port unless that is the scheme's own.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, locations: &[&str]) -> Result<String, RedirectFault> {
        let mut route = Route::new(from.parse().unwrap());
        for location in locations {
            route.follow(Some(location))?;
        }
        Ok(route.current().to_string())
    }

    #[test]
    fn targets() {
        let at = "https://h.io/v2/a/blobs/x";
        let plain = "http://h.io/v2/a";
        let cases = [
            (
                "absolute",
                at,
                "https://cdn.io/x?sig=1#f",
                Ok("https://cdn.io/x?sig=1"),
            ),
            ("relative", at, "/y", Ok("https://h.io/y")),
            ("without scheme", at, "//cdn.io/y", Ok("https://cdn.io/y")),
            ("upgrade", plain, "https://cdn.io/x", Ok("https://cdn.io/x")),
            (
                "user in the URL",
                at,
                "https://u:p@cdn.io/x",
                Ok("https://cdn.io/x"),
            ),
            (
                "downgrade",
                at,
                "http://cdn.io/x",
                Err(RedirectFault::Downgrade("cdn.io".into())),
            ),
            (
                "file",
                at,
                "file:///etc/passwd",
                Err(RedirectFault::Scheme("file".into())),
            ),
            ("no host", at, "https://", Err(RedirectFault::Location)),
            ("itself", at, at, Err(RedirectFault::Loop("h.io".into()))),
        ];
        for (why, from, location, expected) in cases {
            assert_eq!(
                follow(from, &[location]),
                expected.map(str::to_owned),
                "{why}"
            );
        }
        assert_eq!(
            Route::new(at.parse().unwrap()).follow(None),
            Err(RedirectFault::Location)
        );
    }

    #[test]
    fn circles_and_long_ways_end() {
        let circle = follow("https://h.io:8443/a", &["/b", "/c", "/a"]);
        assert_eq!(circle, Err(RedirectFault::Loop("h.io:8443".into())));
        let way: Vec<String> = (0..11).map(|step| format!("/{step}")).collect();
        let way: Vec<&str> = way.iter().map(String::as_str).collect();
        assert_eq!(
            follow("https://h.io/a", &way[..10]).unwrap(),
            "https://h.io/9"
        );
        assert_eq!(follow("https://h.io/a", &way), Err(RedirectFault::TooMany));
    }
}

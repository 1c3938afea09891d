//! Image references: `[host[:port]/]path[:tag][@digest]`.
//!
//! The grammar and the completion of short names are Docker's (distribution's `reference`
//! package): `alpine` is `docker.io/library/alpine:latest`. A [`Reference`] that exists is fully
//! qualified.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::{Digest, ParseDigestError};

/// The registry of names that name none.
const DEFAULT_HOST: &str = "docker.io";
/// The host that serves the registry API for [`DEFAULT_HOST`].
const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME_LEN: usize = 255;
const MAX_TAG_LEN: usize = 128;

/// The full name of an image: where it is, and which of its versions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Returns `localhost/image:latest`, for an image that has no better name.
    pub(crate) fn local_image() -> Self {
        let [host, path, tag] = ["localhost", "image", DEFAULT_TAG].map(str::to_owned);
        Self {
            host,
            path,
            tag: Some(tag),
            digest: None,
        }
    }

    /// Returns the host, with the port where the reference has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the host (and port) that serves the registry API for this reference.
    pub fn registry(&self) -> &str {
        if self.host == DEFAULT_HOST {
            DEFAULT_REGISTRY
        } else {
            &self.host
        }
    }

    /// Returns the repository's path on its host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag; there is one unless there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, which says exactly which content is meant, whatever the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns host and path: the name without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Returns the same name with another tag, and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        check_tag(tag)?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// Returns the shortest text that means this reference, but for the tag, which stays.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        match full
            .strip_prefix(DEFAULT_HOST)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            None => full,
            Some(rest) => match rest.strip_prefix(OFFICIAL) {
                Some(short) if !self.path[OFFICIAL.len()..].contains('/') => short.to_owned(),
                _ => rest.to_owned(),
            },
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        if text.is_empty() {
            return Err(ParseReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
        };
        let (name, tag) = split_tag(rest);
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let (host, path) = split_host(name);
        if name.len() > MAX_NAME_LEN || host.len() + 1 + path.len() > MAX_NAME_LEN {
            return Err(ParseReferenceError::TooLong);
        }
        check_host(&host)?;
        check_path(&path)?;
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG),
            (tag, _) => tag,
        };
        // Docker takes such a name for an image ID; a repository cannot have it.
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseReferenceError::ImageId);
        }
        Ok(Self {
            host,
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, ParseReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseReferenceError {
    /// There is nothing.
    #[error("image reference is empty")]
    Empty,
    /// Host and path together are longer than 255 bytes.
    #[error("image name is longer than {MAX_NAME_LEN} bytes")]
    TooLong,
    /// The host is no host name, address or port.
    #[error("{0:?} is not a registry host")]
    Host(String),
    /// The path has upper-case letters.
    #[error("image name {0:?} has upper-case letters")]
    UpperCase(String),
    /// A component of the path is not letters and digits with single separators between.
    #[error("{0:?} is not an image name")]
    Path(String),
    /// The tag has other characters than letters, digits, `_`, `.` and `-`, or is too long.
    #[error("{0:?} is not a tag")]
    Tag(String),
    /// The name is 64 hexadecimal digits.
    #[error("an image name cannot be 64 hexadecimal digits, which would be an image ID")]
    ImageId,
    /// What follows the `@` is not a digest.
    #[error("image reference has no proper digest after the @")]
    Digest(#[from] ParseDigestError),
}

/// Splits off a tag: what follows a colon behind the last slash.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Completes a name: the part before the first slash is a host only if it looks like one.
fn split_host(name: &str) -> (String, String) {
    let (host, path) = match name.split_once('/') {
        Some((first, path))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, path)
        }
        _ => (DEFAULT_HOST, name),
    };
    let host = if host == "index.docker.io" {
        DEFAULT_HOST
    } else {
        host
    };
    if host == DEFAULT_HOST && !path.contains('/') {
        return (host.to_owned(), format!("{OFFICIAL}{path}"));
    }
    (host.to_owned(), path.to_owned())
}

fn check_host(host: &str) -> Result<(), ParseReferenceError> {
    let end = if host.starts_with('[') {
        host.find(']').map_or(0, |end| end + 1)
    } else {
        host.find(':').unwrap_or(host.len())
    };
    let (name, port) = host.split_at(end);
    let is_host = match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(is_host_label),
    };
    if is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        Ok(())
    } else {
        Err(ParseReferenceError::Host(host.to_owned()))
    }
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn check_path(path: &str) -> Result<(), ParseReferenceError> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ParseReferenceError::UpperCase(path.to_owned()));
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(ParseReferenceError::Path(path.to_owned()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator = |separator: &str| {
        matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    };
    let bytes = component.as_bytes();
    bytes.first().copied().is_some_and(is_word)
        && bytes.last().copied().is_some_and(is_word)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(is_separator)
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn check_tag(tag: &str) -> Result<(), ParseReferenceError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_tag = tag.len() <= MAX_TAG_LEN
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || b".-".contains(&byte));
    if is_tag {
        Ok(())
    } else {
        Err(ParseReferenceError::Tag(tag.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed() {
        let digest = format!("@sha256:{HEX}");
        let cases = [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            (
                "alpine:3.20",
                "docker.io/library/alpine:3.20",
                "alpine:3.20",
            ),
            (
                "docker.io/alpine",
                "docker.io/library/alpine:latest",
                "alpine:latest",
            ),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
            (
                "library/a/b",
                "docker.io/library/a/b:latest",
                "library/a/b:latest",
            ),
            (
                "user/app:V_1.0-x",
                "docker.io/user/app:V_1.0-x",
                "user/app:V_1.0-x",
            ),
            (
                "localhost/app",
                "localhost/app:latest",
                "localhost/app:latest",
            ),
            (
                "localhost:5000/app:1",
                "localhost:5000/app:1",
                "localhost:5000/app:1",
            ),
            (
                "127.0.0.1:80/a/b/c",
                "127.0.0.1:80/a/b/c:latest",
                "127.0.0.1:80/a/b/c:latest",
            ),
            (
                "[::1]:5000/app",
                "[::1]:5000/app:latest",
                "[::1]:5000/app:latest",
            ),
            (
                "[2001:db8::1]/app",
                "[2001:db8::1]/app:latest",
                "[2001:db8::1]/app:latest",
            ),
            ("HOST/app", "HOST/app:latest", "HOST/app:latest"),
            (
                "ghcr.io/a--b/c__d.e_f",
                "ghcr.io/a--b/c__d.e_f:latest",
                "ghcr.io/a--b/c__d.e_f:latest",
            ),
        ];
        for (text, full, familiar) in cases {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference, "{text}");
        }
        let pinned: Reference = format!("alpine{digest}").parse().unwrap();
        assert_eq!(
            pinned.to_string(),
            format!("docker.io/library/alpine{digest}")
        );
        assert_eq!(
            (pinned.tag(), pinned.registry()),
            (None, "registry-1.docker.io")
        );
        let both: Reference = format!("h.io/a:1{digest}").parse().unwrap();
        assert_eq!(both.to_string(), format!("h.io/a:1{digest}"));
        assert_eq!(both.with_tag("2").unwrap().to_string(), "h.io/a:2");
    }

    #[test]
    fn bad_names_are_refused() {
        use ParseReferenceError as E;
        let long = "a".repeat(256);
        let cases = [
            ("", E::Empty),
            ("Alpine", E::UpperCase("library/Alpine".into())),
            ("a/B", E::UpperCase("a/B".into())),
            ("a//b", E::Path("a//b".into())),
            ("../etc", E::Host("..".into())),
            ("a/../b", E::Path("a/../b".into())),
            ("h.io/a/", E::Path("a/".into())),
            ("h.io/", E::Path(String::new())),
            ("a___b", E::Path("library/a___b".into())),
            ("a..b", E::Path("library/a..b".into())),
            ("a b", E::Path("library/a b".into())),
            ("a?b", E::Path("library/a?b".into())),
            ("é", E::Path("library/é".into())),
            ("a:", E::Tag(String::new())),
            ("a:.x", E::Tag(".x".into())),
            ("h.io:0/a", E::Host("h.io:0".into())),
            ("h.io:+1/a", E::Host("h.io:+1".into())),
            ("h.io:99999/a", E::Host("h.io:99999".into())),
            ("-h.io/a", E::Host("-h.io".into())),
            ("user@h.io/a", E::Digest(ParseDigestError::NoColon)),
            ("[::g]/a", E::Host("[::g]".into())),
            ("https://h.io/a", E::Host("https:".into())),
            (long.as_str(), E::TooLong),
            (HEX, E::ImageId),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Reference>(), Err(expected), "{text}");
        }
        assert!(
            format!("a:{}", "t".repeat(129))
                .parse::<Reference>()
                .is_err()
        );
        assert!(
            format!("a:{}", "t".repeat(128))
                .parse::<Reference>()
                .is_ok()
        );
    }
}

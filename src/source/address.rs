//! How a source is written.

use std::path::{Path, PathBuf};

use super::error::SourceError;
use crate::oci::Reference;

/// A source as it was written, before anything of it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Registry(Reference),
    Oci { path: PathBuf, tag: Option<String> },
    OciArchive { path: PathBuf, tag: Option<String> },
    DockerArchive { path: PathBuf, tag: Option<String> },
}

impl Address {
    /// Reads an address. A path may itself hold colons: the longest one that `exists` counts,
    /// and what follows it is the tag.
    pub(super) fn parse(text: &str, exists: impl Fn(&Path) -> bool) -> Result<Self, SourceError> {
        let split = |rest| split_tag(rest, exists);
        if let Some(rest) = text.strip_prefix("oci:") {
            return split(rest).map(|(path, tag)| Self::Oci { path, tag });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            return split(rest).map(|(path, tag)| Self::OciArchive { path, tag });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            return split(rest).map(|(path, tag)| Self::DockerArchive { path, tag });
        }
        let text = text.strip_prefix("docker://").unwrap_or(text);
        let reference = text.parse().map_err(|source| SourceError::Reference {
            text: text.to_owned(),
            source,
        })?;
        Ok(Self::Registry(reference))
    }
}

fn split_tag(
    text: &str,
    exists: impl Fn(&Path) -> bool,
) -> Result<(PathBuf, Option<String>), SourceError> {
    let whole = std::iter::once((text, None));
    let colons = text.rmatch_indices(':').filter(|(at, _)| *at > 0);
    let parts = colons.map(|(at, _)| (&text[..at], Some(text[at + 1..].to_owned())));
    whole
        .chain(parts)
        .find(|(path, tag)| {
            !path.is_empty() && exists(Path::new(path)) && tag.as_deref() != Some("")
        })
        .map(|(path, tag)| (PathBuf::from(path), tag))
        .ok_or_else(|| SourceError::Missing(PathBuf::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, SourceError> {
        Address::parse(text, |path| {
            ["/a", "/a:b", "x"].contains(&path.to_str().unwrap())
        })
    }

    #[test]
    fn addresses() {
        let oci = |path: &str, tag: Option<&str>| Address::Oci {
            path: path.into(),
            tag: tag.map(str::to_owned),
        };
        let cases = [
            ("oci:/a", oci("/a", None)),
            ("oci:/a:1", oci("/a", Some("1"))),
            ("oci:/a:b", oci("/a:b", None)),
            ("oci:/a:b:1", oci("/a:b", Some("1"))),
            (
                "oci:x:docker.io/library/a:1",
                oci("x", Some("docker.io/library/a:1")),
            ),
            (
                "oci-archive:x",
                Address::OciArchive {
                    path: "x".into(),
                    tag: None,
                },
            ),
            (
                "docker-archive:x:t",
                Address::DockerArchive {
                    path: "x".into(),
                    tag: Some("t".into()),
                },
            ),
            (
                "alpine",
                Address::Registry("docker.io/library/alpine:latest".parse().unwrap()),
            ),
            (
                "docker://h.io/a",
                Address::Registry("h.io/a:latest".parse().unwrap()),
            ),
            (
                "oci/a:1",
                Address::Registry("docker.io/oci/a:1".parse().unwrap()),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for text in ["oci:", "oci:/missing", "oci:/a:", "oci-archive:/missing:1"] {
            assert!(
                matches!(parse(text), Err(SourceError::Missing(_))),
                "{text}"
            );
        }
        assert!(matches!(parse("A b"), Err(SourceError::Reference { .. })));
    }
}

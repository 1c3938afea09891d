//! Descriptors: what a blob is, how long it is, and its digest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::Digest;
use super::media_type::MediaType;
use super::platform::Platform;

/// What one document of an image says about another (OCI image spec, "Content Descriptors").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the blob.
    pub media_type: MediaType,
    /// The digest of the blob.
    pub digest: Digest,
    /// The length of the blob in bytes; at most `i64::MAX`, as in the specification.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// The platform that a child of an index is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Where else the blob can be had, before the registry is asked.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// The blob itself, in base64, where it is small; see [`Self::inline`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Free-form remarks.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The annotation under which an OCI layout keeps a tag.
    pub const REF_NAME: &'static str = "org.opencontainers.image.ref.name";

    /// The annotation under which containerd and its tools keep a full image name.
    pub const IMAGE_NAME: &'static str = "io.containerd.image.name";

    /// Returns a descriptor without platform and annotations.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            urls: Vec::new(),
            data: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the descriptor of `bytes`, with their SHA-256.
    pub fn of(media_type: impl Into<MediaType>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// Returns the blob that the descriptor itself holds, if it has the right size and digest.
    pub fn inline(&self) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(self.data.as_deref()?).ok()?;
        let is_right = bytes.len() as u64 == self.size
            && self.digest.algorithm().digest(&bytes) == self.digest;
        is_right.then_some(bytes)
    }

    /// Says whether this child of an index is no image but a statement about one, as Docker's
    /// buildx adds them.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = i64::deserialize(deserializer)?;
    u64::try_from(size).map_err(|_| serde::de::Error::custom("a size is negative"))
}

/// Reads a value that some writers leave out as `null`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(size: &str, rest: &str) -> Result<Descriptor, serde_json::Error> {
        let digest = Digest::sha256(b"x");
        serde_json::from_str(&format!(
            r#"{{"mediaType":"text/html","digest":"{digest}","size":{size}{rest}}}"#
        ))
    }

    #[test]
    fn sizes_are_those_of_the_specification() {
        assert_eq!(
            parse("9223372036854775807", "").unwrap().size,
            i64::MAX as u64
        );
        for size in ["-1", "9223372036854775808", "1.5", "\"1\"", "null"] {
            assert!(parse(size, "").is_err(), "{size}");
        }
    }

    #[test]
    fn inline_data_counts_with_the_right_size_and_digest() {
        let of = |digest: &Digest, size: u64, data: &str| Descriptor {
            data: Some(data.to_owned()),
            ..Descriptor::new("text/html", digest.clone(), size)
        };
        let (right, wrong) = (Digest::sha256(b"abc"), Digest::sha256(b"abd"));
        let table = [
            ("right", of(&right, 3, "YWJj"), Some(b"abc".to_vec())),
            ("another digest", of(&wrong, 3, "YWJj"), None),
            ("another size", of(&right, 4, "YWJj"), None),
            ("no base64", of(&right, 3, "YWJ!"), None),
            ("none", Descriptor::new("text/html", right, 3), None),
        ];
        for (why, descriptor, expected) in table {
            assert_eq!(descriptor.inline(), expected, "{why}");
        }
    }

    #[test]
    fn attestations() {
        let cases = [
            ("no platform", "", false),
            (
                "an image",
                r#","platform":{"os":"linux","architecture":"amd64"}"#,
                false,
            ),
            ("null annotations", r#","annotations":null"#, false),
            (
                "unknown",
                r#","platform":{"os":"unknown","architecture":"unknown"}"#,
                true,
            ),
            (
                "annotated",
                r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#,
                true,
            ),
        ];
        for (why, rest, expected) in cases {
            assert_eq!(
                parse("1", rest).unwrap().is_attestation(),
                expected,
                "{why}"
            );
        }
    }
}

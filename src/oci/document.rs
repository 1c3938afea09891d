//! The way from fetched bytes to a document of an image, and all that may be wrong with them.
//!
//! The limits and the guards against confused types are containerd's: a document that could be
//! read both as an index and as a manifest is refused, because two tools could see two images in
//! it (CVE-2021-41190).

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;

use super::descriptor::Descriptor;
use super::digest::Digest;
use super::manifest::{Index, Manifest};
use super::media_type::{Kind, MediaType};

/// The largest index or manifest that is read, in bytes; containerd's number.
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1048 * 1048;

/// The largest image config that is read, in bytes.
pub const MAX_CONFIG_SIZE: u64 = 8 << 20;

/// The most layers that an image may have.
pub const MAX_LAYERS: usize = 4096;

/// A document that leads to layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A list of manifests, by platform.
    Index(Index),
    /// The config and layers of one image.
    Manifest(Manifest),
}

impl Document {
    /// Reads the index or manifest that `descriptor` describes from its bytes.
    ///
    /// That the bytes have the descriptor's digest is left to the caller.
    pub fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Self, DocumentError> {
        let document = parse(&descriptor.media_type, bytes);
        document.map_err(|fault| DocumentError {
            digest: descriptor.digest.clone(),
            fault,
        })
    }

    /// Refuses a descriptor that no index or manifest can have, before its bytes are fetched.
    pub fn check(descriptor: &Descriptor) -> Result<(), DocumentError> {
        let checked = check_kind(&descriptor.media_type)
            .and_then(|()| check_size(descriptor.size, MAX_MANIFEST_SIZE));
        checked.map_err(|fault| DocumentError {
            digest: descriptor.digest.clone(),
            fault,
        })
    }
}

/// A document of an image cannot be used.
#[derive(Debug, Error)]
#[error("cannot use {digest}")]
pub struct DocumentError {
    /// The digest of the document.
    pub digest: Digest,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a document.
#[derive(Debug, Error)]
pub enum Fault {
    /// The document is larger than any of its kind needs to be.
    #[error("it has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is not JSON, or lacks a field that it must have.
    #[error("it is not a valid {what}")]
    Json {
        /// What it should be.
        what: &'static str,
        /// Where the reader stopped.
        source: serde_json::Error,
    },
    /// It is a manifest of Docker's first schema.
    #[error("it is a Docker schema-1 manifest, which is converted only with --schema1")]
    Schema1,
    /// It is of a type that does not belong where it stands.
    #[error("media type {found:?} is not supported for {what}")]
    MediaType {
        /// What it should be.
        what: &'static str,
        /// Its media type.
        found: String,
    },
    /// It says that it is something else than what it was announced as, or could be both.
    #[error("it was announced as {announced}, but has {found}")]
    Confused {
        /// The announced media type.
        announced: MediaType,
        /// What speaks against it.
        found: String,
    },
    /// The schema version is not 2.
    #[error("schema version {0} is not supported")]
    SchemaVersion(u64),
    /// It has more layers than [`MAX_LAYERS`].
    #[error("it has {0} layers, more than the {MAX_LAYERS} allowed")]
    TooManyLayers(usize),
    /// The manifest and the config disagree about the number of layers.
    #[error("the manifest has {layers} layers, but the config has {diff_ids} diff IDs")]
    LayerCount {
        /// How many layers the manifest has.
        layers: usize,
        /// How many diff IDs the config has.
        diff_ids: usize,
    },
    /// The root file system is not made of layers.
    #[error("root file system type {0:?} is not supported")]
    RootfsType(String),
}

impl DocumentError {
    /// Says whether the document is in order but no image: a chart, an attestation or the like.
    pub fn is_other_artifact(&self) -> bool {
        matches!(self.fault, Fault::MediaType { .. })
    }
}

/// Returns all that a document refers to, whatever it is: the children of an index; config and
/// layers, in this order, of a manifest. What cannot be read refers to nothing.
pub fn children(bytes: &[u8]) -> Vec<Descriptor> {
    let references: References = serde_json::from_slice(bytes).unwrap_or_default();
    let config = references.config.into_iter();
    let layers = references.layers.unwrap_or_default();
    let manifests = references.manifests.unwrap_or_default();
    config.chain(layers).chain(manifests).collect()
}

/// The fields of a document that refer to others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct References {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// The fields that tell the kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

fn parse(media_type: &MediaType, bytes: &[u8]) -> Result<Document, Fault> {
    check_kind(media_type)?;
    check_size(bytes.len() as u64, MAX_MANIFEST_SIZE)?;
    let outline: Outline = from_json("manifest", bytes)?;
    if outline.fs_layers.is_some() || outline.schema_version == Some(1) {
        return Err(Fault::Schema1);
    }
    let kind = media_type.kind();
    check_outline(media_type, kind, &outline)?;
    if kind == Kind::Index {
        let index: Index = from_json("index", bytes)?;
        return Ok(Document::Index(index));
    }
    let manifest: Manifest = from_json("manifest", bytes)?;
    manifest.check()?;
    Ok(Document::Manifest(manifest))
}

fn check_kind(media_type: &MediaType) -> Result<(), Fault> {
    match media_type.kind() {
        Kind::Index | Kind::Manifest => Ok(()),
        Kind::Schema1 => Err(Fault::Schema1),
        Kind::Config | Kind::Layer(_) | Kind::Unknown => Err(Fault::MediaType {
            what: "an image's index or manifest",
            found: media_type.to_string(),
        }),
    }
}

fn check_outline(announced: &MediaType, kind: Kind, outline: &Outline) -> Result<(), Fault> {
    let foreign = match kind {
        Kind::Index => [("config", &outline.config), ("layers", &outline.layers)],
        _ => [
            ("manifests", &outline.manifests),
            ("fsLayers", &outline.fs_layers),
        ],
    };
    if let Some((name, _)) = foreign.iter().find(|(_, field)| field.is_some()) {
        let found = format!("the field {name:?}");
        return Err(Fault::Confused {
            announced: announced.clone(),
            found,
        });
    }
    if let Some(text) = outline
        .media_type
        .as_deref()
        .filter(|text| !text.is_empty())
        && MediaType::new(text).kind() != kind
    {
        let found = format!("the media type {text:?} inside");
        return Err(Fault::Confused {
            announced: announced.clone(),
            found,
        });
    }
    match outline.schema_version {
        Some(2) => Ok(()),
        other => Err(Fault::SchemaVersion(other.unwrap_or(0))),
    }
}

pub(super) fn check_size(size: u64, limit: u64) -> Result<(), Fault> {
    match size {
        0 => Err(Fault::Empty),
        size if size > limit => Err(Fault::TooLarge { size, limit }),
        _ => Ok(()),
    }
}

pub(super) fn from_json<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|source| Fault::Json { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = MediaType::OCI_MANIFEST;
    const INDEX: &str = MediaType::OCI_INDEX;

    fn descriptor(media_type: &str, size: u64) -> String {
        let digest = Digest::sha256(b"x");
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    }

    fn manifest(extra: &str) -> String {
        let config = descriptor(MediaType::OCI_CONFIG, 2);
        let layer = descriptor(MediaType::OCI_LAYER, 3);
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
    }

    fn outcome(media_type: &str, text: &str) -> String {
        let announced = Descriptor::of(media_type, text.as_bytes());
        match Document::parse(&announced, text.as_bytes()) {
            Ok(Document::Index(index)) => format!("index of {}", index.manifests.len()),
            Ok(Document::Manifest(manifest)) => format!("manifest of {}", manifest.layers.len()),
            Err(DocumentError { fault, .. }) => fault.to_string(),
        }
    }

    fn check<const N: usize>(cases: [(&str, &str, String, &str); N]) {
        for (why, media_type, text, expected) in cases {
            let outcome = outcome(media_type, &text);
            assert!(outcome.starts_with(expected), "{why}: {outcome}");
        }
    }

    #[test]
    fn documents() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            descriptor(MANIFEST, 9)
        );
        let docker = format!(r#","mediaType":"{}""#, MediaType::DOCKER_MANIFEST);
        let says_index = format!(r#","mediaType":"{INDEX}""#);
        let schema1 = r#"{"schemaVersion":1,"fsLayers":[]}"#;
        let cases = [
            ("OCI manifest", MANIFEST, manifest(""), "manifest of 1"),
            (
                "Docker manifest",
                MediaType::DOCKER_MANIFEST,
                manifest(&docker),
                "manifest of 1",
            ),
            ("index", INDEX, index.clone(), "index of 1"),
            (
                "empty index",
                INDEX,
                r#"{"schemaVersion":2,"manifests":null}"#.into(),
                "index of 0",
            ),
            (
                "schema 1",
                MANIFEST,
                schema1.into(),
                "it is a Docker schema-1 manifest",
            ),
            (
                "schema 1 by type",
                "text/plain",
                schema1.into(),
                "it is a Docker schema-1 manifest",
            ),
            (
                "both",
                MANIFEST,
                manifest(r#","manifests":[]"#),
                "it was announced as",
            ),
            ("index as manifest", MANIFEST, index, "it was announced as"),
            (
                "manifest as index",
                INDEX,
                manifest(""),
                "it was announced as",
            ),
            (
                "type inside differs",
                MANIFEST,
                manifest(&says_index),
                "it was announced as",
            ),
            (
                "no version",
                MANIFEST,
                manifest("").replace('2', "3"),
                "schema version 3",
            ),
        ];
        check(cases);
    }

    #[test]
    fn documents_that_are_no_images() {
        let encrypted = manifest("").replace("v1.tar", "v1.tar+encrypted");
        let helm = manifest("").replace("vnd.oci.image.config", "vnd.cncf.helm.config");
        let no_config_bytes = manifest("").replace("\"size\":2", "\"size\":0");
        let huge_config = manifest("").replace("\"size\":2", "\"size\":8388609");
        let cases = [
            (
                "not JSON",
                MANIFEST,
                "<html>".into(),
                "it is not a valid manifest",
            ),
            (
                "cut",
                MANIFEST,
                manifest("")[..80].into(),
                "it is not a valid manifest",
            ),
            (
                "no config",
                MANIFEST,
                r#"{"schemaVersion":2}"#.into(),
                "it is not a valid manifest",
            ),
            ("empty", MANIFEST, String::new(), "it is empty"),
            (
                "web page",
                "text/html",
                "<html>".into(),
                "media type \"text/html\" is not",
            ),
            ("a layer", MediaType::OCI_LAYER, manifest(""), "media type"),
            ("encrypted layer", MANIFEST, encrypted, "media type"),
            (
                "a chart",
                MANIFEST,
                helm,
                "media type \"application/vnd.cncf.helm",
            ),
            ("empty config", MANIFEST, no_config_bytes, "it is empty"),
            ("huge config", MANIFEST, huge_config, "it has 8388609 bytes"),
        ];
        check(cases);
    }

    #[test]
    fn sizes_are_bounded_before_anything_is_fetched() {
        let of_size = |size| Descriptor::new(MANIFEST, Digest::sha256(b"x"), size);
        assert!(Document::check(&of_size(4_393_216)).is_ok());
        assert!(Document::check(&of_size(4_393_217)).is_err());
        assert!(Document::check(&of_size(0)).is_err());
        let padded = format!("{}{}", manifest(""), " ".repeat(4_393_216));
        assert!(outcome(MANIFEST, &padded).contains("more than the 4393216 allowed"));
    }

    #[test]
    fn layers_are_counted() {
        let layer = descriptor(MediaType::OCI_LAYER, 3);
        let many = manifest("").replace(&layer, &vec![layer.clone(); MAX_LAYERS + 1].join(","));
        assert!(outcome(MANIFEST, &many).contains("4097 layers"));
    }
}

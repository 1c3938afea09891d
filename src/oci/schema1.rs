//! Docker's first manifest schema, read as far as an image of today can be made of it.
//!
//! A manifest is signed by fields inside itself; its digest is that of the document without
//! them (distribution's "Image Manifest Version 2, Schema 1"). What is made of it is what
//! containerd 1.7 makes, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::descriptor::Descriptor;
use super::diff_id::DiffId;
use super::digest::Digest;
use super::document::MAX_LAYERS;
use super::media_type::MediaType;

/// The largest document that is read, in bytes; containerd's number.
pub const MAX_SCHEMA1_SIZE: u64 = 8 << 20;

/// Why a manifest cannot be converted.
#[derive(Debug, Error)]
pub enum Schema1Fault {
    /// It is not JSON, or lacks a field that it must have.
    #[error("it is not valid")]
    Json(#[from] serde_json::Error),
    /// Its signature does not say what was signed.
    #[error("its signature is not valid")]
    Signature,
    /// It is another document than the one that was named.
    #[error("its digest is {0}")]
    Digest(Digest),
    /// It is another kind of document.
    #[error("it has fields of other manifests")]
    Confused,
    /// It has no layers, or too many.
    #[error("it has {0} layers")]
    Layers(usize),
    /// There are not as many entries of history as layers.
    #[error("it has {layers} layers, but {history} entries of history")]
    History {
        /// The number of layers.
        layers: usize,
        /// The number of entries.
        history: usize,
    },
}

/// A manifest of Docker's first schema.
#[derive(Debug)]
pub struct Schema1 {
    /// The steps, lowest first.
    steps: Vec<Step>,
    /// The config of the image, with fields that belong to the uppermost step alone.
    config: Map<String, Value>,
}

/// One step in the making of an image.
#[derive(Debug)]
struct Step {
    blob: Digest,
    is_empty: bool,
    history: History,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    fs_layers: Vec<RawLayer>,
    #[serde(default)]
    history: Vec<RawHistory>,
    layers: Option<Value>,
    manifests: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLayer {
    blob_sum: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHistory {
    #[serde(rename = "v1Compatibility")]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Compatibility {
    author: String,
    created: Option<String>,
    comment: String,
    throwaway: Option<bool>,
    #[serde(rename = "Size")]
    size: Option<i64>,
    container_config: ContainerConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerConfig {
    #[serde(rename = "Cmd")]
    command: Option<Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(default)]
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// What an image of today consists of, as bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Converted {
    /// The image config.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
}

impl Schema1 {
    /// Reads a manifest that has this digest, signed or not.
    pub fn parse(digest: &Digest, bytes: &[u8]) -> Result<Self, Schema1Fault> {
        let payload = payload(bytes)?;
        let algorithm = digest.algorithm();
        if algorithm.digest(&payload) != *digest && algorithm.digest(bytes) != *digest {
            return Err(Schema1Fault::Digest(algorithm.digest(&payload)));
        }
        let raw: Raw = serde_json::from_slice(&payload)?;
        if raw.layers.is_some() || raw.manifests.is_some() {
            return Err(Schema1Fault::Confused);
        }
        let (layers, history) = (raw.fs_layers.len(), raw.history.len());
        if layers == 0 || layers > MAX_LAYERS {
            return Err(Schema1Fault::Layers(layers));
        }
        if layers != history {
            return Err(Schema1Fault::History { layers, history });
        }
        let mut steps = Vec::with_capacity(layers);
        for (layer, entry) in raw.fs_layers.into_iter().zip(&raw.history).rev() {
            steps.push(Step::read(layer.blob_sum, &entry.text)?);
        }
        let uppermost = raw.history.first().map_or("{}", |entry| &entry.text);
        Ok(Self {
            steps,
            config: serde_json::from_str(uppermost)?,
        })
    }

    /// Returns the layers that are not empty, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = &Digest> {
        let full = self.steps.iter().filter(|step| !step.is_empty);
        full.map(|step| &step.blob)
    }

    /// Makes config and manifest; `layers` are the descriptors and diff IDs of
    /// [`Self::layers`].
    pub fn convert(self, layers: &[(Descriptor, DiffId)]) -> Result<Converted, Schema1Fault> {
        let mut config = self.config;
        for key in ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"] {
            config.remove(key);
        }
        let diff_ids: Vec<&DiffId> = layers.iter().map(|(_, diff_id)| diff_id).collect();
        let history: Vec<History> = self.steps.into_iter().map(|step| step.history).collect();
        config.insert(
            "rootfs".to_owned(),
            json!({"type": "layers", "diff_ids": diff_ids}),
        );
        config.insert("history".to_owned(), serde_json::to_value(history)?);
        let config = pretty(&Value::Object(config))?;
        let layers: Vec<&Descriptor> = layers.iter().map(|(layer, _)| layer).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": Descriptor::of(MediaType::OCI_CONFIG, &config),
            "layers": layers,
        });
        Ok(Converted {
            manifest: pretty(&manifest)?,
            config,
        })
    }
}

impl Step {
    fn read(blob: Digest, text: &str) -> Result<Self, Schema1Fault> {
        let entry: Compatibility = serde_json::from_str(text)?;
        let is_empty = entry.throwaway.unwrap_or(entry.size == Some(0));
        let command = entry.container_config.command.unwrap_or_default();
        Ok(Self {
            blob,
            is_empty,
            history: History {
                created: entry.created,
                created_by: command.join(" "),
                author: entry.author,
                comment: entry.comment,
                empty_layer: is_empty,
            },
        })
    }
}

/// Returns the document without its signatures: the signed part, and the tail that they hold.
fn payload(bytes: &[u8]) -> Result<Vec<u8>, Schema1Fault> {
    let signed: Signed = serde_json::from_slice(bytes)?;
    let Some(signature) = signed.signatures.first() else {
        return Ok(bytes.to_vec());
    };
    let decode = |text: &str| {
        let text = text.trim_end_matches('=');
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| Schema1Fault::Signature)
    };
    let protected: Protected = serde_json::from_slice(&decode(&signature.protected)?)?;
    let head = bytes.get(..protected.format_length);
    let mut payload = head.ok_or(Schema1Fault::Signature)?.to_vec();
    payload.extend(decode(&protected.format_tail)?);
    Ok(payload)
}

fn pretty(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(name: &str) -> Digest {
        Digest::sha256(name.as_bytes())
    }

    /// A manifest of three steps, uppermost first, of which the second is empty.
    fn document() -> String {
        let layers = [blob("top"), blob("empty"), blob("base")];
        let layers = layers.map(|blob| json!({"blobSum": blob}));
        let top = json!({
            "id": "3", "parent": "2", "architecture": "amd64", "os": "linux",
            "created": "2016-01-03T00:00:00Z", "config": {"Cmd": ["sh"]},
            "container_config": {"Cmd": ["/bin/sh", "-c", "make"]},
        });
        let empty = json!({"id": "2", "throwaway": true, "author": "me"});
        let base = json!({"id": "1", "Size": 5, "comment": "base"});
        let history = [top, empty, base].map(|entry| json!({"v1Compatibility": entry.to_string()}));
        serde_json::to_string_pretty(&json!({
            "schemaVersion": 1, "name": "a", "tag": "b", "architecture": "amd64",
            "fsLayers": layers, "history": history,
        }))
        .unwrap()
    }

    /// Signs a document as Docker does: the last brace makes way for the signatures.
    fn sign(document: &str) -> String {
        let head = document.strip_suffix("\n}").unwrap();
        let protected = json!({
            "formatLength": head.len(), "formatTail": URL_SAFE_NO_PAD.encode("\n}"),
        });
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        format!(
            r#"{head},"signatures":[{{"header":{{}},"signature":"x","protected":"{protected}"}}]}}"#
        )
    }

    #[test]
    fn a_signed_manifest_is_converted() {
        let document = document();
        let digest = Digest::sha256(document.as_bytes());
        for bytes in [document.clone(), sign(&document)] {
            let schema1 = Schema1::parse(&digest, bytes.as_bytes()).unwrap();
            let layers: Vec<_> = schema1.layers().cloned().collect();
            assert_eq!(layers, [blob("base"), blob("top")]);
            let layers: Vec<_> = ["base", "top"]
                .map(|name| {
                    let layer = Descriptor::of(MediaType::DOCKER_LAYER, name.as_bytes());
                    (layer, DiffId(blob(&format!("{name}, unpacked"))))
                })
                .into();
            let converted = schema1.convert(&layers).unwrap();
            let config: Value = serde_json::from_slice(&converted.config).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][1], json!(layers[1].1));
            assert_eq!(config["config"]["Cmd"][0], "sh");
            for key in ["id", "parent"] {
                assert!(config.get(key).is_none(), "{key}");
            }
            let expected = json!([
                {"comment": "base"},
                {"author": "me", "empty_layer": true},
                {"created": "2016-01-03T00:00:00Z", "created_by": "/bin/sh -c make"},
            ]);
            assert_eq!(config["history"], expected);
            let manifest: Value = serde_json::from_slice(&converted.manifest).unwrap();
            let expected = Descriptor::of(MediaType::OCI_CONFIG, &converted.config);
            assert_eq!(manifest["config"], json!(expected));
            assert_eq!(manifest["layers"][0], json!(layers[0].0));
        }
    }

    #[test]
    fn documents_that_cannot_be_converted() {
        let good = document();
        let cases = [
            ("no JSON", "{".to_owned(), "it is not valid"),
            ("another", good.replace("\"a\"", "\"z\""), "its digest is"),
            (
                "no layers",
                r#"{"fsLayers":[]}"#.to_owned(),
                "it has 0 layers",
            ),
            (
                "no history",
                format!(r#"{{"fsLayers":[{{"blobSum":"{}"}}]}}"#, blob("a")),
                "it has 1 layers, but 0 entries",
            ),
            (
                "another schema too",
                r#"{"fsLayers":[],"layers":[]}"#.to_owned(),
                "it has fields of other",
            ),
            (
                "a signature of more than there is",
                sign(&good).replace("protected\":\"", "protected\":\"AAAA"),
                "it is not valid",
            ),
        ];
        for (why, text, expected) in cases {
            let digest = match why {
                "another" => Digest::sha256(good.as_bytes()),
                _ => Digest::sha256(text.as_bytes()),
            };
            let fault = Schema1::parse(&digest, text.as_bytes()).unwrap_err();
            assert!(fault.to_string().starts_with(expected), "{why}: {fault}");
        }
    }
}

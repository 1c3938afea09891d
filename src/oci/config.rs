//! Image configs: for which platform, of which layers, and how to run it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::{Descriptor, or_default};
use super::diff_id::{ChainId, DiffId};
use super::document::{DocumentError, Fault, MAX_CONFIG_SIZE, check_size, from_json};
use super::manifest::Manifest;
use super::platform::Platform;

/// An image config (OCI image spec, "Image Configuration").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The time at which the image was made, as RFC 3339 text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The platform that the image is for.
    #[serde(flatten)]
    pub platform: Platform,
    /// How to run the image.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ProcessConfig,
    /// The layers.
    pub rootfs: Rootfs,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// `layers`, or nothing.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The diff IDs of the layers, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<DiffId>,
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProcessConfig {
    /// The user, as name or number, and perhaps a group behind a colon.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// The environment, as `NAME=value`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The first part of the command line.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// The second part of the command line, which a user replaces.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// The directory to start in.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Free-form labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

impl ImageConfig {
    /// Reads the config of `manifest` from its bytes, and checks that both have as many layers.
    ///
    /// That the bytes have the digest of the manifest's config is left to the caller.
    pub fn parse(manifest: &Manifest, bytes: &[u8]) -> Result<Self, DocumentError> {
        let Descriptor { digest, .. } = &manifest.config;
        parse(manifest.layers.len(), bytes).map_err(|fault| DocumentError {
            digest: digest.clone(),
            fault,
        })
    }

    /// Returns the diff IDs of the layers, lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.rootfs.diff_ids
    }

    /// Returns the chain ID of every layer, lowest first.
    pub fn chain(&self) -> Vec<ChainId> {
        ChainId::chain(self.diff_ids())
    }
}

fn parse(layers: usize, bytes: &[u8]) -> Result<ImageConfig, Fault> {
    check_size(bytes.len() as u64, MAX_CONFIG_SIZE)?;
    let config: ImageConfig = from_json("image config", bytes)?;
    if !matches!(config.rootfs.kind.as_str(), "" | "layers") {
        return Err(Fault::RootfsType(config.rootfs.kind));
    }
    let diff_ids = config.rootfs.diff_ids.len();
    if layers != diff_ids {
        return Err(Fault::LayerCount { layers, diff_ids });
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn config(kind: &str, rest: &str) -> String {
        let diff_id = Digest::sha256(b"x");
        format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8",
                "rootfs":{{"type":"{kind}","diff_ids":["{diff_id}"]}}{rest}}}"#
        )
    }

    #[test]
    fn configs() {
        let full = config(
            "layers",
            r#","config":{"Env":["A=b"],"Entrypoint":null,"Cmd":["sh"],"Labels":null}"#,
        );
        let parsed = parse(1, full.as_bytes()).unwrap();
        assert_eq!(parsed.platform.to_string(), "linux/arm64/v8");
        assert_eq!((parsed.config.env.len(), parsed.config.cmd.len()), (1, 1));
        assert_eq!(parsed.chain()[0].0, Digest::sha256(b"x"));
        let cases = [
            ("type left out", 1, config("", ""), "ok"),
            (
                "null config",
                1,
                config("layers", r#","config":null"#),
                "ok",
            ),
            (
                "other type",
                1,
                config("squashfs", ""),
                "root file system type",
            ),
            (
                "more layers",
                2,
                config("layers", ""),
                "the manifest has 2 layers, but the config",
            ),
            (
                "fewer layers",
                0,
                config("layers", ""),
                "the manifest has 0 layers, but the config",
            ),
            (
                "no rootfs",
                0,
                "{}".into(),
                "it is not a valid image config",
            ),
            (
                "bad diff ID",
                1,
                config("layers", "").replace("sha256", "md5"),
                "it is not a valid",
            ),
            (
                "a manifest",
                1,
                r#"{"schemaVersion":2}"#.into(),
                "it is not a valid image config",
            ),
            ("empty", 0, String::new(), "it is empty"),
        ];
        for (why, layers, text, expected) in cases {
            let outcome = match parse(layers, text.as_bytes()) {
                Ok(_) => "ok".to_owned(),
                Err(fault) => fault.to_string(),
            };
            assert!(outcome.starts_with(expected), "{why}: {outcome}");
        }
    }
}

//! Media types, and what mica takes each of them for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type exactly as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// What a blob of some media type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list of manifests, by platform.
    Index,
    /// The config and the layers of one image.
    Manifest,
    /// An image config.
    Config,
    /// A layer, a tar compressed in this way.
    Layer(Compression),
    /// A manifest of Docker's first schema, which is not supported.
    Schema1,
    /// Anything else.
    Unknown,
}

/// How a layer is compressed, as far as its media type says. The first bytes decide in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not said, or plain tar.
    Unspecified,
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames.
    Zstd,
}

impl MediaType {
    /// The index of the OCI image spec.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// The manifest of the OCI image spec.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// The image config of the OCI image spec.
    pub const OCI_CONFIG: &'static str = "application/vnd.oci.image.config.v1+json";
    /// The plain tar layer of the OCI image spec.
    pub const OCI_LAYER: &'static str = "application/vnd.oci.image.layer.v1.tar";
    /// The gzip layer of the OCI image spec.
    pub const OCI_LAYER_GZIP: &'static str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// The zstd layer of the OCI image spec.
    pub const OCI_LAYER_ZSTD: &'static str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's list of manifests.
    pub const DOCKER_INDEX: &'static str =
        "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest of the second schema.
    pub const DOCKER_MANIFEST: &'static str =
        "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's image config.
    pub const DOCKER_CONFIG: &'static str = "application/vnd.docker.container.image.v1+json";
    /// Docker's plain tar layer.
    pub const DOCKER_LAYER: &'static str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker's gzip layer.
    pub const DOCKER_LAYER_GZIP: &'static str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    /// Returns the media type written as `text`, without parameters such as `; charset=utf-8`.
    pub fn new(text: &str) -> Self {
        let essence = text.split_once(';').map_or(text, |(essence, _)| essence);
        Self(essence.trim().to_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether this is a layer that is not to be handed on, and that others fetch from
    /// where its descriptor says.
    pub fn is_foreign(&self) -> bool {
        [OCI_NONDISTRIBUTABLE, DOCKER_FOREIGN]
            .iter()
            .any(|prefix| self.0.starts_with(prefix))
    }

    /// Returns what a blob of this type is.
    pub fn kind(&self) -> Kind {
        match self.0.as_str() {
            Self::OCI_INDEX | Self::DOCKER_INDEX => Kind::Index,
            Self::OCI_MANIFEST | Self::DOCKER_MANIFEST => Kind::Manifest,
            // Early Docker registries hand out configs under the last of these.
            Self::OCI_CONFIG | Self::DOCKER_CONFIG | "application/octet-stream" => Kind::Config,
            // A registry that knows no types at all serves the first schema as plain text.
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws"
            | "text/plain" => Kind::Schema1,
            text => layer_compression(text).map_or(Kind::Unknown, Kind::Layer),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

fn layer_compression(text: &str) -> Option<Compression> {
    let oci = [MediaType::OCI_LAYER, OCI_NONDISTRIBUTABLE]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    let docker = [MediaType::DOCKER_LAYER, DOCKER_FOREIGN]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    match (oci, docker) {
        (Some(""), _) | (_, Some("")) => Some(Compression::Unspecified),
        (Some("+gzip"), _) | (_, Some(".gzip")) => Some(Compression::Gzip),
        (Some("+zstd"), _) | (_, Some(".zstd")) => Some(Compression::Zstd),
        _ => None,
    }
}

const OCI_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let cases = [
            (MediaType::OCI_INDEX, Kind::Index),
            (MediaType::DOCKER_INDEX, Kind::Index),
            (MediaType::OCI_MANIFEST, Kind::Manifest),
            (MediaType::DOCKER_MANIFEST, Kind::Manifest),
            (
                "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
                Kind::Manifest,
            ),
            (MediaType::OCI_CONFIG, Kind::Config),
            ("application/octet-stream", Kind::Config),
            (MediaType::OCI_LAYER, Kind::Layer(Compression::Unspecified)),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                Kind::Layer(Compression::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                Kind::Layer(Compression::Zstd),
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                Kind::Layer(Compression::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Kind::Layer(Compression::Gzip),
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar",
                Kind::Layer(Compression::Unspecified),
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar+gzip",
                Kind::Unknown,
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                Kind::Unknown,
            ),
            (
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                Kind::Schema1,
            ),
            ("text/plain; charset=utf-8", Kind::Schema1),
            ("text/html", Kind::Unknown),
            ("", Kind::Unknown),
        ];
        for (text, expected) in cases {
            assert_eq!(MediaType::new(text).kind(), expected, "{text}");
        }
    }
}

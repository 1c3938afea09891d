//! Indexes and manifests, of the OCI image spec and of Docker's second schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::{Descriptor, or_default};
use super::document::{Fault, MAX_CONFIG_SIZE, MAX_LAYERS, check_size};
use super::media_type::{Kind, MediaType};
use super::platform::PlatformMatcher;

/// A list of manifests, or of further indexes, by platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The media type, where the index itself says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The children.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// Free-form remarks.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Returns the children that may lead to an image for the platform, best first.
    ///
    /// A child without a platform may suit and comes after all that do suit; attestations and
    /// children of unknown types never do. Children that suit equally stay in their order.
    pub fn candidates(&self, matcher: &PlatformMatcher) -> Vec<&Descriptor> {
        let mut ranked: Vec<(usize, &Descriptor)> = self
            .manifests
            .iter()
            .filter(|child| !child.is_attestation())
            .filter(|child| matches!(child.media_type.kind(), Kind::Index | Kind::Manifest))
            .filter_map(|child| match &child.platform {
                None => Some((usize::MAX, child)),
                Some(platform) => matcher.rank(platform).map(|rank| (rank, child)),
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, child)| child).collect()
    }
}

/// The config and the layers of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The media type, where the manifest itself says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// Free-form remarks.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Refuses what is no image: another kind of config, or layers that are no tar.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let refuse = |what, media_type: &MediaType| {
            Err(Fault::MediaType {
                what,
                found: media_type.to_string(),
            })
        };
        if self.config.media_type.kind() != Kind::Config {
            return refuse("an image config", &self.config.media_type);
        }
        check_size(self.config.size, MAX_CONFIG_SIZE)?;
        if self.layers.len() > MAX_LAYERS {
            return Err(Fault::TooManyLayers(self.layers.len()));
        }
        let is_layer = |layer: &&Descriptor| matches!(layer.media_type.kind(), Kind::Layer(_));
        match self.layers.iter().find(|layer| !is_layer(layer)) {
            Some(other) => refuse("a layer", &other.media_type),
            None => Ok(()),
        }
    }

    /// Returns the size of the config and all layers, in bytes as they are transferred.
    pub fn content_size(&self) -> u64 {
        let sizes = self.layers.iter().map(|layer| layer.size);
        sizes.fold(self.config.size, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, Platform};

    fn child(name: &str, platform: &str) -> Descriptor {
        let platform: Option<Platform> = (!platform.is_empty()).then(|| platform.parse().unwrap());
        let digest = Digest::sha256(name.as_bytes());
        Descriptor {
            platform,
            ..Descriptor::new(MediaType::OCI_MANIFEST, digest, 1)
        }
    }

    #[test]
    fn candidates_come_in_the_order_of_preference() {
        let other_type = Descriptor {
            media_type: "x/y".into(),
            ..child("y", "linux/amd64")
        };
        let attestation = child("attestation", "unknown/unknown");
        let children = [
            child("anything", ""),
            attestation,
            child("old", "linux/386"),
            child("arm", "linux/arm64"),
            other_type,
            child("first", "linux/x86_64"),
            child("second", "linux/amd64"),
        ];
        let index = Index {
            schema_version: 2,
            media_type: None,
            manifests: children.into(),
            annotations: BTreeMap::new(),
        };
        let matcher = PlatformMatcher::new(&"linux/amd64".parse().unwrap());
        let found: Vec<&Digest> = index
            .candidates(&matcher)
            .iter()
            .map(|child| &child.digest)
            .collect();
        let expected =
            ["first", "second", "old", "anything"].map(|name| Digest::sha256(name.as_bytes()));
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
}

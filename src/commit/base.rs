//! Which image a snapshot stands on.

use serde_json::Value;

use super::{CommitError, CommitOptions, Compression};
use crate::images::{Contents, ImageError, Images};
use crate::meta::{ImageRecord, SnapshotRecord};
use crate::oci::{Descriptor, Kind, MAX_CONFIG_SIZE, MediaType, Platform};
use crate::snapshots::{BASE_LABEL, Snapshots};
use crate::store::Store;

/// What a new image is built on.
#[derive(Debug)]
pub(super) struct Base {
    /// The name, for messages.
    pub(super) name: String,
    /// The config, with all that it holds.
    pub(super) config: Value,
    /// The layers, lowest first.
    pub(super) layers: Vec<Descriptor>,
    is_docker: bool,
}

impl Base {
    /// Says whether the image has Docker's media types, and the new one is to have them.
    pub(super) fn is_docker(&self) -> bool {
        self.is_docker
    }

    /// Returns the base of an image that stands on none.
    fn empty() -> Self {
        let platform = Platform::host();
        Self {
            name: "an empty image".to_owned(),
            config: serde_json::json!({
                "os": platform.os,
                "architecture": platform.architecture,
                "rootfs": { "type": "layers", "diff_ids": [] },
            }),
            layers: Vec::new(),
            is_docker: false,
        }
    }

    fn of_image(
        store: &Store,
        image: &ImageRecord,
        contents: Contents,
        compression: Compression,
    ) -> Result<Self, CommitError> {
        let config = &contents.manifest.config.digest;
        let bytes = store.content().read(config, MAX_CONFIG_SIZE)?;
        let config = serde_json::from_slice(&bytes).map_err(|source| CommitError::Config {
            image: image.name.clone(),
            source,
        })?;
        let mut layers = contents.manifest.layers;
        // Docker has no type for layers of zstd, so that such an image is an OCI one.
        let is_docker = contents.descriptor.media_type.as_str() == MediaType::DOCKER_MANIFEST
            && compression == Compression::Gzip;
        if !is_docker {
            for layer in &mut layers {
                layer.media_type = oci_type(&layer.media_type);
            }
        }
        Ok(Self {
            name: image.name.clone(),
            config,
            layers,
            is_docker,
        })
    }
}

/// Finds the image that a snapshot stands on, and the snapshots above it, lowest first.
pub(super) fn find(
    store: &Store,
    snapshots: &Snapshots,
    key: &str,
    options: &CommitOptions,
) -> Result<(Base, Vec<SnapshotRecord>), CommitError> {
    let mut chain = snapshots.ancestry(key)?;
    let images = Images::new(store.meta(), store.content(), options.namespace.clone());
    let mut candidates = candidates(&images, options)?;
    let at = chain
        .iter()
        .position(|snapshot| candidates.iter().any(|found| found.is(&snapshot.name)));
    let Some(at) = at else {
        chain.reverse();
        return match &options.base {
            Some(image) => Err(CommitError::NotOn {
                key: key.to_owned(),
                image: image.clone(),
            }),
            None => Ok((Base::empty(), chain)),
        };
    };
    let below = chain.split_off(at);
    chain.reverse();
    candidates.retain(|found| below.first().is_some_and(|top| found.is(&top.name)));
    let hint = chain.iter().find_map(|above| above.labels.get(BASE_LABEL));
    let chosen = choose(key, candidates, hint.map(String::as_str))?;
    let base = Base::of_image(store, &chosen.image, chosen.contents, options.compression)?;
    Ok((base, chain))
}

/// An image with its documents.
#[derive(Debug)]
struct Candidate {
    image: ImageRecord,
    contents: Contents,
}

impl Candidate {
    fn is(&self, snapshot: &str) -> bool {
        let chain_id = self.contents.chain_id();
        chain_id.is_some_and(|chain_id| chain_id.to_string() == snapshot)
    }
}

/// Returns the images that the snapshot may stand on.
fn candidates(images: &Images, options: &CommitOptions) -> Result<Vec<Candidate>, CommitError> {
    let all = match &options.base {
        Some(name) => vec![images.resolve(name)?],
        None => images.list()?,
    };
    let mut candidates = Vec::new();
    for image in all {
        match images.contents(&image) {
            Ok(contents) => candidates.push(Candidate { image, contents }),
            // Nothing can stand on what is not there.
            Err(ImageError::NoManifest(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(candidates)
}

/// Chooses among images of the same layers: the one that the snapshot was made from, or
/// the only one but for its names.
fn choose(
    key: &str,
    mut candidates: Vec<Candidate>,
    hint: Option<&str>,
) -> Result<Candidate, CommitError> {
    let hinted = candidates
        .iter()
        .position(|found| Some(found.image.name.as_str()) == hint);
    let config = |found: &Candidate| found.contents.manifest.config.digest.clone();
    let is_one = candidates
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if config(a) == config(b)));
    match hinted.or((is_one && !candidates.is_empty()).then_some(0)) {
        Some(at) => Ok(candidates.swap_remove(at)),
        None => Err(CommitError::Ambiguous {
            key: key.to_owned(),
            names: candidates
                .into_iter()
                .map(|found| found.image.name)
                .collect(),
        }),
    }
}

/// Returns the OCI media type of a layer.
fn oci_type(media_type: &MediaType) -> MediaType {
    use crate::oci::Compression as Written;
    let is_docker = media_type.as_str().starts_with(MediaType::DOCKER_LAYER);
    match media_type.kind() {
        Kind::Layer(Written::Gzip) if is_docker => MediaType::new(MediaType::OCI_LAYER_GZIP),
        Kind::Layer(Written::Zstd) if is_docker => MediaType::new(MediaType::OCI_LAYER_ZSTD),
        Kind::Layer(Written::Unspecified) if is_docker => MediaType::new(MediaType::OCI_LAYER),
        _ => media_type.clone(),
    }
}

//! What the documents of images need.

use std::collections::{BTreeMap, BTreeSet};

use super::CheckError;
use super::fault::Fault;
use crate::content::{Content, ContentError};
use crate::images;
use crate::layers::LayerState;
use crate::meta::{ImageRecord, Namespace, Survey};
use crate::oci::{
    Descriptor, DiffId, Digest, Document, ImageConfig, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, Manifest,
};
use crate::store::Store;

/// One manifest of an image, with its config where that can be read.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) manifest: Manifest,
    pub(super) config: Option<ImageConfig>,
}

/// What an image consists of, as far as its documents can be read.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Everything that the documents name, by digest.
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
    pub(super) variants: Vec<Variant>,
    /// Why a document that is there cannot be used.
    pub(super) errors: Vec<String>,
}

impl Parts {
    /// Says whether no use can be made of an image without this document.
    pub(super) fn is_needed(&self, image: &ImageRecord, digest: &Digest) -> bool {
        let mut configs = self.variants.iter().map(|variant| &variant.manifest.config);
        image.target.digest == *digest || configs.any(|config| config.digest == *digest)
    }

    /// Returns the blobs that a layer can be made of.
    pub(super) fn blobs_of(&self, diff_id: &DiffId) -> Vec<&Descriptor> {
        let mut found = Vec::new();
        for variant in &self.variants {
            let diff_ids = variant
                .config
                .as_ref()
                .map_or(&[][..], ImageConfig::diff_ids);
            let layers = variant.manifest.layers.iter().zip(diff_ids);
            found.extend(
                layers
                    .filter(|(_, of)| *of == diff_id)
                    .map(|(blob, _)| blob),
            );
        }
        found
    }
}

/// Reads the documents of an image.
pub(super) fn parts(content: &Content, image: &ImageRecord) -> Result<Parts, CheckError> {
    let mut parts = Parts::default();
    let mut open = vec![image.target.clone()];
    while let Some(descriptor) = open.pop() {
        let digest = descriptor.digest.clone();
        if parts
            .blobs
            .insert(digest.clone(), descriptor.clone())
            .is_some()
        {
            continue;
        }
        let Some(bytes) = parts.read(content, &digest, MAX_MANIFEST_SIZE)? else {
            continue;
        };
        match Document::parse(&descriptor, &bytes) {
            Ok(Document::Index(index)) => open.extend(index.manifests),
            Ok(Document::Manifest(manifest)) => parts.take(content, manifest)?,
            Err(error) => parts.errors.push(error.to_string()),
        }
    }
    Ok(parts)
}

impl Parts {
    fn take(&mut self, content: &Content, manifest: Manifest) -> Result<(), CheckError> {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.blobs.insert(blob.digest.clone(), blob.clone());
        }
        let bytes = self.read(content, &manifest.config.digest, MAX_CONFIG_SIZE)?;
        let config = bytes.and_then(|bytes| match ImageConfig::parse(&manifest, &bytes) {
            Ok(config) => Some(config),
            Err(error) => {
                self.errors.push(error.to_string());
                None
            }
        });
        self.variants.push(Variant { manifest, config });
        Ok(())
    }

    /// Returns a document, or `None` where it is missing or damaged.
    fn read(
        &mut self,
        content: &Content,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, CheckError> {
        match content.read(digest, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ContentError::NotFound(_)) => Ok(None),
            Err(error @ (ContentError::Digest { .. } | ContentError::TooLarge { .. })) => {
                self.errors.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Finds images of which nothing can be used.
pub(super) fn faults(store: &Store, survey: &Survey) -> Result<Vec<Fault>, CheckError> {
    let mut known = BTreeMap::new();
    let mut faults = Vec::new();
    for (namespace, image) in &survey.images {
        let target = &image.target.digest;
        if !known.contains_key(target) {
            known.insert(target.clone(), lacking(store, image)?);
        }
        if let Some(Some(error)) = known.get(target) {
            faults.push(Fault::Image {
                namespace: Namespace::clone(namespace),
                name: image.name.clone(),
                error: error.clone(),
            });
        }
    }
    Ok(faults)
}

/// Says what an image lacks for all platforms; `None` if one is complete.
fn lacking(store: &Store, image: &ImageRecord) -> Result<Option<String>, CheckError> {
    let parts = parts(&store.content(), image)?;
    if let Some(error) = parts.errors.first() {
        return Ok(Some(error.clone()));
    }
    let mut lacks = BTreeSet::new();
    for variant in &parts.variants {
        let Some(config) = &variant.config else {
            lacks.insert(format!(
                "config {} is missing",
                variant.manifest.config.digest
            ));
            continue;
        };
        let layers = variant.manifest.layers.iter().zip(config.diff_ids());
        let mut is_complete = true;
        for (blob, diff_id) in layers {
            if store.layers().state(diff_id)? == LayerState::Missing
                && store.content().size(&blob.digest)?.is_none()
            {
                lacks.insert(format!(
                    "layer {diff_id} is missing, and its blob {} too",
                    blob.digest
                ));
                is_complete = false;
            }
        }
        if is_complete {
            return Ok(None);
        }
    }
    let lacks = lacks.pop_first();
    Ok(Some(
        lacks.unwrap_or_else(|| images::NO_MANIFEST.to_owned()),
    ))
}

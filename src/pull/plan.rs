//! What a pull is going to bring: documents, the images that they describe, and their blobs.

use std::collections::{BTreeMap, HashSet};

use super::Pulled;
use crate::images::Contents;
use crate::meta::Labels;
use crate::oci::{Descriptor, Digest, ImageConfig, Manifest};

/// What is to be in the store at the end of a pull.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) target: Descriptor,
    /// Labels of the image.
    pub(super) image_labels: Labels,
    /// Indexes and manifests, as they were visited.
    pub(super) documents: Vec<(Descriptor, Vec<u8>)>,
    /// Documents and configs that came from the source.
    pub(super) fetched: HashSet<Digest>,
    /// The images, one for each platform.
    pub(super) parts: Vec<Part>,
    /// What else is fetched.
    pub(super) others: Vec<Descriptor>,
    /// Compressed layers that have records and no files.
    pub(super) lost: Vec<Descriptor>,
}

/// The image for one platform.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
    pub(super) is_unpacked: bool,
}

impl Plan {
    pub(super) fn new(target: Descriptor) -> Self {
        Self {
            target,
            image_labels: Labels::new(),
            documents: Vec::new(),
            fetched: HashSet::new(),
            parts: Vec::new(),
            others: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn add_document(&mut self, descriptor: Descriptor, bytes: Vec<u8>) {
        let is_known = |(known, _): &(Descriptor, _)| known.digest == descriptor.digest;
        if !self.documents.iter().any(is_known) {
            self.documents.push((descriptor, bytes));
        }
    }

    pub(super) fn add_part(&mut self, part: Part) {
        let digest = &part.descriptor.digest;
        if !self.parts.iter().any(|p| p.descriptor.digest == *digest) {
            self.parts.push(part);
        }
    }

    /// Returns the compressed layers of what is unpacked.
    pub(super) fn unpacked_layers(&self) -> impl Iterator<Item = &Descriptor> {
        let unpacked = self.parts.iter().filter(|part| part.is_unpacked);
        unpacked.flat_map(|part| &part.manifest.layers)
    }

    pub(super) fn into_pulled(self) -> Pulled {
        let mut unpacked = self.parts.iter().filter(|part| part.is_unpacked);
        Pulled {
            chain_id: unpacked.find_map(|part| part.config.chain().pop()),
            target: self.target,
        }
    }

    /// Returns all that the documents lead to, each once.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let parts = self.parts.iter().flat_map(|part| {
            let config = std::iter::once(&part.manifest.config);
            config.chain(&part.manifest.layers)
        });
        let all = parts.chain(&self.others);
        let unique: BTreeMap<&Digest, &Descriptor> = all.map(|d| (&d.digest, d)).collect();
        unique.into_values()
    }
}

impl Part {
    pub(super) fn of(contents: &Contents) -> Self {
        Self {
            descriptor: contents.descriptor.clone(),
            manifest: contents.manifest.clone(),
            config: contents.config.clone(),
            config_bytes: Vec::new(),
            is_unpacked: true,
        }
    }
}

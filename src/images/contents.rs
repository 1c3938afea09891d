//! What an image consists of, as far as the store has it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::ImageError;
use crate::content::{Content, ContentError};
use crate::meta::ImageRecord;
use crate::oci::{
    ChainId, Descriptor, Document, ImageConfig, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, Manifest,
    PlatformMatcher,
};

/// The documents of an image for one platform.
#[derive(Debug, Clone, Serialize)]
pub struct Contents {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
}

impl Contents {
    /// Returns the name of the image's snapshot; `None` for an image without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        self.config.chain().pop()
    }
}

/// Reads the manifest that a pull has chosen.
///
/// Of several that are in the store, the one that suits the platform best is taken.
pub(super) fn read(
    content: &Content,
    image: &ImageRecord,
    matcher: &PlatformMatcher,
) -> Result<Contents, ImageError> {
    let mut best: Option<(usize, Contents)> = None;
    let mut visited = BTreeSet::new();
    let mut open = vec![image.target.clone()];
    while let Some(descriptor) = open.pop() {
        if !visited.insert(descriptor.digest.clone()) {
            continue;
        }
        match document(content, &descriptor)? {
            Some(Document::Index(index)) => {
                open.extend(
                    index
                        .manifests
                        .into_iter()
                        .filter(|child| !child.is_attestation()),
                );
            }
            Some(Document::Manifest(manifest)) => {
                let Some(bytes) = present(content.read(&manifest.config.digest, MAX_CONFIG_SIZE))?
                else {
                    continue;
                };
                let config = ImageConfig::parse(&manifest, &bytes)?;
                let rank = matcher.rank(&config.platform).unwrap_or(usize::MAX);
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((
                        rank,
                        Contents {
                            descriptor,
                            manifest,
                            config,
                        },
                    ));
                }
            }
            None => {}
        }
    }
    best.map(|(_, contents)| contents)
        .ok_or_else(|| ImageError::NoManifest(image.name.clone()))
}

/// Returns an index or a manifest, or `None` when the store does not have it as such.
fn document(content: &Content, descriptor: &Descriptor) -> Result<Option<Document>, ImageError> {
    let Some(bytes) = present(content.read(&descriptor.digest, MAX_MANIFEST_SIZE))? else {
        return Ok(None);
    };
    parse(descriptor, &bytes)
}

/// Reads a document; nothing where it is no image, but a statement about one or the like.
fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Option<Document>, ImageError> {
    match Document::parse(descriptor, bytes) {
        Err(error) if error.is_other_artifact() => Ok(None),
        result => Ok(Some(result?)),
    }
}

fn present<T>(result: Result<T, ContentError>) -> Result<Option<T>, ContentError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ContentError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

//! The documents of an image: from its target to the manifest and config.

use super::{Context, Plan, PullError};
use crate::content::ContentError;
use crate::oci::{
    Descriptor, ImageConfig, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, PlatformMatcher, Walk,
};

/// Finds out what the image for a platform consists of; fetches what is not there.
pub(super) async fn plan(context: &Context, platform: &PlatformMatcher) -> Result<Plan, PullError> {
    let target = context.source.resolve().await?;
    let mut walk = Walk::new(target.clone(), platform.clone());
    let mut documents = Vec::new();
    let manifest = loop {
        let descriptor = walk.next()?.clone();
        let bytes = document(context, &descriptor, MAX_MANIFEST_SIZE).await?;
        let found = walk.visit(&bytes)?;
        documents.push((descriptor, bytes));
        if let Some((descriptor, manifest)) = found {
            break (descriptor, manifest);
        }
    };
    let (descriptor, manifest) = manifest;
    let bytes = document(context, &manifest.config, MAX_CONFIG_SIZE).await?;
    let config = ImageConfig::parse(&manifest, &bytes)?;
    Ok(Plan {
        target,
        documents,
        manifest,
        manifest_digest: descriptor.digest,
        config,
    })
}

/// Returns a document from the store, or from the source by way of the store.
async fn document(
    context: &Context,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, PullError> {
    let blobs = context.store.content();
    match blobs.read(&descriptor.digest, limit) {
        Ok(bytes) if bytes.len() as u64 == descriptor.size => return Ok(bytes),
        // A damaged document is fetched anew.
        Ok(_) | Err(ContentError::NotFound(_) | ContentError::Digest { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if descriptor.size > limit {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        return Err(ContentError::TooLarge {
            digest,
            size,
            limit,
        }
        .into());
    }
    let mut blob = context.source.fetch(descriptor, 0).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > descriptor.size {
            break;
        }
    }
    blobs.write(descriptor, &bytes)?;
    Ok(bytes)
}

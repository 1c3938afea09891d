//! The documents of an image: from its target to the manifest and config.
//!
//! What the image consists of is known only when they were read, and nothing may be
//! stored before it is leased. So they are kept in memory first, and stored after.

use std::collections::HashSet;

use super::{Context, Plan, PullError};
use crate::content;
use crate::content::{Content, ContentError};
use crate::oci::{
    Descriptor, Digest, ImageConfig, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, PlatformMatcher, Walk,
};

/// Finds out what the image for a platform consists of; fetches what is not there.
pub(super) async fn plan(context: &Context, platform: &PlatformMatcher) -> Result<Plan, PullError> {
    let target = context.source.resolve().await?;
    let mut walk = Walk::new(target.clone(), platform.clone());
    let mut documents = Vec::new();
    let mut fetched = HashSet::new();
    let manifest = loop {
        let descriptor = walk.next()?.clone();
        let bytes = document(context, &descriptor, MAX_MANIFEST_SIZE, &mut fetched).await?;
        let found = walk.visit(&bytes)?;
        documents.push((descriptor, bytes));
        if let Some((descriptor, manifest)) = found {
            break (descriptor, manifest);
        }
    };
    let (descriptor, manifest) = manifest;
    let bytes = document(context, &manifest.config, MAX_CONFIG_SIZE, &mut fetched).await?;
    let config = ImageConfig::parse(&manifest, &bytes)?;
    let config_bytes = bytes;
    Ok(Plan {
        target,
        documents,
        manifest,
        manifest_digest: descriptor.digest,
        config,
        config_bytes,
        fetched,
    })
}

/// Stores the documents that came from the source, or were swept before they were leased.
pub(super) fn store(content: &Content, plan: &Plan) -> Result<(), PullError> {
    let config = (&plan.manifest.config, &plan.config_bytes);
    let documents = plan.documents.iter().map(|(d, bytes)| (d, bytes));
    for (descriptor, bytes) in documents.chain([config]) {
        let digest = &descriptor.digest;
        if plan.fetched.contains(digest) || content.size(digest)? != Some(descriptor.size) {
            content.write(descriptor, bytes)?;
        }
    }
    Ok(())
}

/// Returns a document from the store, or from the source.
async fn document(
    context: &Context,
    descriptor: &Descriptor,
    limit: u64,
    fetched: &mut HashSet<Digest>,
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
    content::check(descriptor, &bytes)?;
    fetched.insert(descriptor.digest.clone());
    Ok(bytes)
}

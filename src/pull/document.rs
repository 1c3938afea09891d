//! The documents of an image: from its target to the manifests and configs.
//!
//! What the image consists of is known only when they were read, and nothing may be
//! stored before it is leased. So they are kept in memory first, and stored after.

use std::collections::HashSet;

use super::{Context, Part, Plan, Platforms, PullError};
use crate::content::{self, Content, ContentError};
use crate::oci::{
    Descriptor, Document, DocumentError, ImageConfig, Kind, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH,
    MAX_MANIFEST_SIZE, Manifest, Platform, PlatformMatcher, Walk, WalkError, children,
};

/// How many documents an image may have that is pulled for all platforms.
const MOST_DOCUMENTS: usize = 1024;

/// Finds out what the image that `target` names consists of; fetches what is not there.
pub(super) async fn plan(
    context: &Context,
    target: Descriptor,
    platforms: &Platforms,
) -> Result<Plan, PullError> {
    let mut plan = Plan::new(target);
    match platforms {
        Platforms::Each(matchers) => {
            for matcher in matchers {
                choose(context, &mut plan, matcher).await?;
            }
        }
        Platforms::All => everything(context, &mut plan).await?,
    }
    Ok(plan)
}

/// Adds the image for one platform, which is to be unpacked.
async fn choose(
    context: &Context,
    plan: &mut Plan,
    platform: &PlatformMatcher,
) -> Result<(), PullError> {
    let mut walk = Walk::new(plan.target.clone(), platform.clone());
    let (descriptor, manifest) = loop {
        let descriptor = walk.next()?.clone();
        let bytes = document(context, plan, &descriptor, MAX_MANIFEST_SIZE).await?;
        let found = walk.visit(&bytes)?;
        plan.add_document(descriptor, bytes);
        if let Some(found) = found {
            break found;
        }
    };
    let part = part(context, plan, descriptor, manifest).await?;
    plan.add_part(part);
    Ok(())
}

/// Adds all that can be reached; the image that suits this machine best is to be unpacked.
async fn everything(context: &Context, plan: &mut Plan) -> Result<(), PullError> {
    let mut open = vec![(0, plan.target.clone())];
    let mut seen = HashSet::new();
    while let Some((depth, descriptor)) = open.pop() {
        if !seen.insert(descriptor.digest.clone()) {
            continue;
        }
        if depth > MAX_INDEX_DEPTH {
            return Err(WalkError::TooDeep(Box::new(descriptor)).into());
        }
        if seen.len() > MOST_DOCUMENTS {
            return Err(WalkError::TooMany(MOST_DOCUMENTS).into());
        }
        let bytes = document(context, plan, &descriptor, MAX_MANIFEST_SIZE).await?;
        if let Some(Document::Manifest(manifest)) = read(&descriptor, &bytes)? {
            let mut part = part(context, plan, descriptor.clone(), manifest).await?;
            part.is_unpacked = false;
            plan.add_part(part);
        }
        for child in children(&bytes) {
            match child.media_type.kind() {
                Kind::Index | Kind::Manifest => open.push((depth + 1, child)),
                _ => plan.others.push(child),
            }
        }
        plan.add_document(descriptor, bytes);
    }
    let host = PlatformMatcher::new(&Platform::host());
    let best = plan
        .parts
        .iter_mut()
        .filter_map(|part| Some((host.rank(&part.config.platform)?, part)))
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, part)) = best {
        part.is_unpacked = true;
    }
    Ok(())
}

/// Reads a document; nothing where it is no image, but a statement about one or the like.
fn read(descriptor: &Descriptor, bytes: &[u8]) -> Result<Option<Document>, DocumentError> {
    if descriptor.is_attestation() {
        return Ok(None);
    }
    match Document::parse(descriptor, bytes) {
        Ok(document) => Ok(Some(document)),
        Err(error) if error.is_other_artifact() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn part(
    context: &Context,
    plan: &mut Plan,
    descriptor: Descriptor,
    manifest: Manifest,
) -> Result<Part, PullError> {
    let bytes = document(context, plan, &manifest.config, MAX_CONFIG_SIZE).await?;
    let config = ImageConfig::parse(&manifest, &bytes)?;
    Ok(Part {
        descriptor,
        manifest,
        config,
        config_bytes: bytes,
        is_unpacked: true,
    })
}

/// Stores the documents that came from the source, or were swept before they were leased.
pub(super) fn store(content: &Content, plan: &Plan) -> Result<(), PullError> {
    let configs = plan.parts.iter();
    let configs = configs.map(|part| (&part.manifest.config, &part.config_bytes));
    let documents = plan.documents.iter().map(|(d, bytes)| (d, bytes));
    for (descriptor, bytes) in documents.chain(configs) {
        let digest = &descriptor.digest;
        if plan.fetched.contains(digest) || content.size(digest)? != Some(descriptor.size) {
            content.write(descriptor, bytes)?;
        }
    }
    Ok(())
}

/// Returns a document from the plan or the store, or else from the source.
async fn document(
    context: &Context,
    plan: &mut Plan,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, PullError> {
    let is_known = |(known, _): &&(Descriptor, _)| known.digest == descriptor.digest;
    if let Some((_, bytes)) = plan.documents.iter().find(is_known) {
        return Ok(bytes.clone());
    }
    let blobs = context.store.content();
    match blobs.read(&descriptor.digest, limit) {
        Ok(bytes)
            if bytes.len() as u64 == descriptor.size
                && context.share.may_take(&descriptor.digest)? =>
        {
            return Ok(bytes);
        }
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
    loop {
        let mut blob = context.source.fetch(descriptor, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > descriptor.size {
                break;
            }
        }
        match content::check(descriptor, &bytes) {
            Err(ContentError::Digest { .. }) if context.source.distrust(&descriptor.digest) => {}
            result => {
                result?;
                context.share.brought(&descriptor.digest);
                plan.fetched.insert(descriptor.digest.clone());
                return Ok(bytes);
            }
        }
    }
}

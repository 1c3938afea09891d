//! Images of Docker's first schema, made into such of today.
//!
//! The manifest says neither sizes nor diff IDs, so that all layers are fetched before it is
//! known what the image is.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinSet;

use super::{Context, PullError, blob};
use crate::content::Content;
use crate::decompress;
use crate::leases::{HeldLease, Leases, Resource};
use crate::oci::{
    Algorithm, Converted, Descriptor, DiffId, Digest, Kind, MAX_SCHEMA1_SIZE, MediaType, Schema1,
    Schema1Fault,
};
use crate::source::Source;

const LABEL: &str = "io.containerd.image/converted-docker-schema1";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Why an image of the first schema cannot be converted.
#[derive(Debug, Error)]
pub enum Schema1Error {
    /// Its manifest cannot be used.
    #[error(transparent)]
    Fault(#[from] Schema1Fault),
    /// The manifest is larger than any needs to be.
    #[error("it has more than the {MAX_SCHEMA1_SIZE} bytes allowed")]
    TooLarge,
    /// A layer is not in the registry.
    #[error("its layer {0} is not there")]
    NoLayer(Digest),
    /// Only registries have such images.
    #[error("it does not come from a registry")]
    NoRegistry,
}

/// Says whether a target is a manifest of the first schema.
pub(super) fn is_one(target: &Descriptor) -> bool {
    target.media_type.kind() == Kind::Schema1
}

/// Returns the label of an image that was converted.
pub(super) fn label(original: &Descriptor) -> (String, String) {
    (LABEL.to_owned(), original.digest.to_string())
}

/// Stores a manifest and a config that stand for an image of the first schema, and its layers;
/// returns the manifest's descriptor, and the lease under which all that is.
pub(super) async fn convert(
    context: &Arc<Context>,
    leases: &Leases,
    target: &Descriptor,
) -> Result<(Descriptor, HeldLease), PullError> {
    let failed = |source: Schema1Error| PullError::Schema1 {
        digest: target.digest.clone(),
        source,
    };
    let bytes = read(context, target).await?.map_err(failed)?;
    let schema1 = Schema1::parse(&target.digest, &bytes).map_err(|fault| failed(fault.into()))?;
    let wanted: Vec<Digest> = schema1.layers().cloned().collect();
    let lease = leases.hold("pull", wanted.iter().map(Resource::content).collect())?;
    let mut tasks = JoinSet::new();
    for digest in wanted.iter().cloned() {
        let context = Arc::clone(context);
        tasks.spawn(async move { layer(&context, digest).await });
    }
    let mut found = HashMap::new();
    while let Some(result) = tasks.join_next().await {
        let (digest, layer) = result??;
        found.insert(digest, layer);
    }
    let mut layers = Vec::with_capacity(wanted.len());
    for digest in wanted {
        match found.get(&digest).cloned().flatten() {
            Some(layer) => layers.push(layer),
            None => return Err(failed(Schema1Error::NoLayer(digest))),
        }
    }
    let Converted { config, manifest } = schema1
        .convert(&layers)
        .map_err(|fault| failed(fault.into()))?;
    let blobs = context.store.content();
    let documents = [
        (Descriptor::of(MediaType::OCI_CONFIG, &config), config),
        (Descriptor::of(MediaType::OCI_MANIFEST, &manifest), manifest),
    ];
    let digests = documents
        .each_ref()
        .map(|(descriptor, _)| &descriptor.digest);
    lease.add(digests.map(Resource::content).into())?;
    for (descriptor, bytes) in &documents {
        blobs.write(descriptor, bytes)?;
        context.share.brought(&descriptor.digest);
    }
    let [_, (target, _)] = documents;
    Ok((target, lease))
}

/// Reads the manifest; its size is that of one of several signed forms.
async fn read(
    context: &Context,
    target: &Descriptor,
) -> Result<Result<Vec<u8>, Schema1Error>, PullError> {
    let Source::Registry(client) = &*context.source else {
        return Ok(Err(Schema1Error::NoRegistry));
    };
    let limit = usize::try_from(MAX_SCHEMA1_SIZE).unwrap_or(usize::MAX);
    let read = client.read(target, limit).await;
    let read = read.map_err(crate::source::SourceError::from)?;
    Ok(read.ok_or(Schema1Error::TooLarge))
}

/// Fetches a layer; returns its descriptor and diff ID, or nothing when it is not there.
async fn layer(
    context: &Context,
    digest: Digest,
) -> Result<(Digest, Option<(Descriptor, DiffId)>), PullError> {
    let Source::Registry(client) = &*context.source else {
        return Ok((digest, None));
    };
    let size = client.blob_size(&digest).await;
    let Some(size) = size.map_err(crate::source::SourceError::from)? else {
        return Ok((digest, None));
    };
    let descriptor = Descriptor::new(LAYER, digest.clone(), size);
    blob::bring(context, &descriptor).await?;
    let _permit = context.limits.unpacks.acquire().await.ok();
    let (blobs, blob) = (context.store.content(), digest.clone());
    let diff_id = tokio::task::spawn_blocking(move || diff_id(&blobs, &blob)).await??;
    Ok((digest, Some((descriptor, diff_id))))
}

fn diff_id(content: &Content, digest: &Digest) -> Result<DiffId, PullError> {
    let file = content.open(digest)?;
    let hash = || -> io::Result<DiffId> {
        let mut reader = decompress::reader(BufReader::with_capacity(256 << 10, file))?;
        let mut digester = Algorithm::Sha256.digester();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(DiffId(digester.finish())),
                Ok(count) => digester.update(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    hash().map_err(|source| PullError::Compression {
        digest: digest.clone(),
        source,
    })
}

//! Which images are complete, and which are unpacked: a look at what there is, at sizes and
//! not at digests.

use std::path::Path;

use serde::Serialize;

use super::{Contents, ImageError, Images};
use crate::content::{ContentError, failed};
use crate::filter::Filter;
use crate::meta::{Namespace, SnapshotRecord, Transaction};
use crate::oci::{Descriptor, Digest};
use crate::store::Store;

/// How much of an image there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// Every blob.
    Complete,
    /// Not every blob.
    Incomplete,
    /// Something that has another size or content than it must have.
    Damaged,
    /// No manifest, so that nobody knows what it consists of.
    Unavailable,
}

/// What there is of one image, for the platform that is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedImage {
    /// The image.
    pub name: String,
    /// Its manifest or index.
    pub target: Descriptor,
    /// How much of it there is.
    pub status: Completeness,
    /// The blobs that it needs: manifest, config and layers.
    pub required: Vec<Digest>,
    /// Those that are not there.
    pub missing: Vec<Digest>,
    /// Those that are damaged.
    pub damaged: Vec<Digest>,
    /// The bytes of those that are there.
    pub size: u64,
    /// Whether its snapshot and all layers are there.
    pub is_unpacked: bool,
}

/// Looks at the images that a filter matches, in the order of their names.
pub fn check(
    store: &Store,
    namespace: &Namespace,
    filter: &Filter,
) -> Result<Vec<CheckedImage>, ImageError> {
    let images = Images::new(store.meta(), store.content(), namespace.clone());
    let mut found = Vec::new();
    for image in images.matching(filter)? {
        let contents = images.contents(&image);
        let mut checked = CheckedImage {
            name: image.name,
            target: image.target,
            status: Completeness::Complete,
            required: Vec::new(),
            missing: Vec::new(),
            damaged: Vec::new(),
            size: 0,
            is_unpacked: false,
        };
        let contents = match contents {
            Ok(contents) => {
                add(store, &mut checked, &contents)?;
                Some(contents)
            }
            Err(error) => {
                note(store, &mut checked, error)?;
                None
            }
        };
        found.push((checked, contents));
    }
    store.meta().read(|transaction| {
        for (checked, contents) in &mut found {
            if let Some(contents) = contents {
                checked.is_unpacked = is_unpacked(store, transaction, namespace, contents)?;
            }
        }
        Ok::<_, ImageError>(())
    })?;
    Ok(found.into_iter().map(|(checked, _)| checked).collect())
}

/// Notes why the documents of an image cannot be read, if that is for it to say.
fn note(store: &Store, checked: &mut CheckedImage, error: ImageError) -> Result<(), ImageError> {
    let damaged = match error {
        ImageError::NoManifest(_) => {
            checked.status = Completeness::Unavailable;
            if store.content().size(&checked.target.digest)?.is_none() {
                checked.missing.push(checked.target.digest.clone());
            }
            return Ok(());
        }
        ImageError::Content(ContentError::Digest { expected, .. }) => expected,
        ImageError::Document(error) => error.digest,
        error => return Err(error),
    };
    checked.status = Completeness::Damaged;
    checked.damaged.push(damaged);
    Ok(())
}

/// Adds what the blobs of an image say.
fn add(store: &Store, checked: &mut CheckedImage, contents: &Contents) -> Result<(), ImageError> {
    let parts = [&contents.descriptor, &contents.manifest.config];
    for part in parts.into_iter().chain(&contents.manifest.layers) {
        if checked.required.contains(&part.digest) {
            continue;
        }
        checked.required.push(part.digest.clone());
        let Some(size) = store.content().size(&part.digest)? else {
            checked.missing.push(part.digest.clone());
            continue;
        };
        checked.size += size;
        if size != part.size {
            checked.damaged.push(part.digest.clone());
        }
    }
    if !checked.damaged.is_empty() {
        checked.status = Completeness::Damaged;
    } else if !checked.missing.is_empty() {
        checked.status = Completeness::Incomplete;
    }
    Ok(())
}

fn is_unpacked(
    store: &Store,
    transaction: &Transaction,
    namespace: &Namespace,
    contents: &Contents,
) -> Result<bool, ImageError> {
    for chain_id in contents.config.chain() {
        let name = chain_id.to_string();
        let Some(snapshot) = transaction.find::<SnapshotRecord>(namespace, &name)? else {
            return Ok(false);
        };
        if let Some(diff_id) = &snapshot.layer
            && !is_there(&store.layers().path(diff_id))?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_there(path: &Path) -> Result<bool, ImageError> {
    Ok(path.try_exists().map_err(failed("stat", path))?)
}

//! The records made anew: from the journal, and where that is lost too, from what blobs,
//! layers and directories of snapshots say.
//!
//! Without the journal names of images are lost: every image gets a name by its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::CheckError;
use super::files::{self, Listing};
use crate::content::ContentError;
use crate::images;
use crate::layers::LayerState;
use crate::meta::{
    ContentRecord, ImageRecord, Labels, Namespace, SnapshotId, SnapshotRecord, Transaction,
};
use crate::oci::{
    Descriptor, Digest, Document, ImageConfig, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, Manifest,
    MediaType,
};
use crate::publish;
use crate::snapshots::{self, Directories};
use crate::store::Store;

/// What a rebuild has done.
#[derive(Debug, Default, Serialize)]
pub struct Rebuilt {
    /// Whether the journal had all records, so that nothing is lost.
    pub is_whole: bool,
    /// Blobs that were recorded because they are there.
    pub blobs: usize,
    /// Snapshots that were recorded because their directories say so.
    pub snapshots: usize,
    /// Images that were found by their documents, with the names that they have got.
    pub images: Vec<String>,
    /// Where the old files are.
    #[serde(with = "crate::json_path")]
    pub aside: PathBuf,
}

/// Makes the records anew; the old files are set aside.
pub fn rebuild(store: &Store) -> Result<Rebuilt, CheckError> {
    let mut rebuilt = Rebuilt {
        aside: store
            .root()
            .join("damaged")
            .join(format!("records.{}", publish::unique_name())),
        ..Rebuilt::default()
    };
    let aside = rebuilt.aside.clone();
    store.meta().remake(&aside, |transaction, is_whole| {
        rebuilt.is_whole = is_whole;
        if is_whole {
            return Ok(());
        }
        let listing = files::list(store)?;
        directories(store, transaction, &listing, &mut rebuilt)?;
        blobs(store, transaction, &listing, &mut rebuilt)
    })?;
    Ok(rebuilt)
}

/// Records the snapshots whose directories have no record.
fn directories(
    store: &Store,
    transaction: &Transaction<'_>,
    listing: &Listing,
    rebuilt: &mut Rebuilt,
) -> Result<(), CheckError> {
    let directories = Directories::new(store.root());
    for id in &listing.directories {
        let Some(description) = directories.description(*id) else {
            continue;
        };
        let (namespace, record) = (description.namespace, description.record);
        let all = transaction.list::<SnapshotRecord>(&namespace)?;
        let is_known = all
            .iter()
            .any(|known| known.id == Some(*id) || known.name == record.name);
        if !is_known {
            transaction.put(&namespace, &record.name.clone(), &record)?;
            rebuilt.snapshots += 1;
        }
    }
    let last: SnapshotId = listing.directories.last().copied().unwrap_or(SnapshotId(0));
    Directories::raise_counter(transaction, last)?;
    Ok(())
}

/// Records blobs, and the images that their documents make.
fn blobs(
    store: &Store,
    transaction: &Transaction<'_>,
    listing: &Listing,
    rebuilt: &mut Rebuilt,
) -> Result<(), CheckError> {
    let namespace = Namespace::default();
    let documents = documents(store, listing)?;
    let mut labels = BTreeMap::new();
    let mut inner = BTreeSet::new();
    for (descriptor, document) in &documents {
        inner.extend(refer(descriptor, document, &mut labels));
        if let Document::Manifest(manifest) = document {
            unpacked(store, transaction, manifest, &mut labels)?;
        }
    }
    let now = Timestamp::now();
    for (digest, size) in &listing.blobs {
        let name = digest.to_string();
        if transaction
            .find::<ContentRecord>(&namespace, &name)?
            .is_none()
        {
            let record = ContentRecord {
                digest: digest.clone(),
                size: *size,
                labels: labels.remove(digest).unwrap_or_default(),
                created: now,
                updated: now,
            };
            transaction.put(&namespace, &name, &record)?;
            rebuilt.blobs += 1;
        }
    }
    let known = transaction.list::<ImageRecord>(&namespace)?;
    for (descriptor, _) in &documents {
        let digest = &descriptor.digest;
        let is_known = known.iter().any(|image| image.target.digest == *digest);
        if !inner.contains(digest) && !is_known {
            let name = format!("localhost/recovered:{}", digest.short());
            images::record(transaction, &namespace, &name, descriptor)?;
            rebuilt.images.push(name);
        }
    }
    Ok(())
}

/// Returns the blobs that are indexes and manifests.
fn documents(store: &Store, listing: &Listing) -> Result<Vec<(Descriptor, Document)>, CheckError> {
    let mut documents = Vec::new();
    for (digest, size) in &listing.blobs {
        if *size > MAX_MANIFEST_SIZE {
            continue;
        }
        let bytes = match store.content().read(digest, MAX_MANIFEST_SIZE) {
            Err(ContentError::Digest { .. }) => continue,
            other => other?,
        };
        let types = [
            MediaType::OCI_MANIFEST,
            MediaType::OCI_INDEX,
            MediaType::DOCKER_MANIFEST,
            MediaType::DOCKER_INDEX,
        ];
        let parsed = types.iter().find_map(|media_type| {
            let descriptor = Descriptor::new(*media_type, digest.clone(), *size);
            let document = Document::parse(&descriptor, &bytes).ok()?;
            Some((descriptor, document))
        });
        documents.extend(parsed);
    }
    Ok(documents)
}

/// Adds the labels that say what a document leads to; returns its documents.
fn refer(
    descriptor: &Descriptor,
    document: &Document,
    labels: &mut BTreeMap<Digest, Labels>,
) -> Vec<Digest> {
    let of = labels.entry(descriptor.digest.clone()).or_default();
    let mut add = |what: String, digest: &Digest| {
        let key = format!("containerd.io/gc.ref.content.{what}");
        of.insert(key, digest.to_string());
    };
    match document {
        Document::Index(index) => {
            for (number, child) in index.manifests.iter().enumerate() {
                add(format!("m.{number}"), &child.digest);
            }
            let children = index.manifests.iter();
            children.map(|child| child.digest.clone()).collect()
        }
        Document::Manifest(manifest) => {
            add("config".to_owned(), &manifest.config.digest);
            for (number, layer) in manifest.layers.iter().enumerate() {
                add(format!("l.{number}"), &layer.digest);
            }
            Vec::new()
        }
    }
}

/// Records the snapshots of a manifest whose layers are all there, and labels its blobs.
fn unpacked(
    store: &Store,
    transaction: &Transaction<'_>,
    manifest: &Manifest,
    labels: &mut BTreeMap<Digest, Labels>,
) -> Result<(), CheckError> {
    let bytes = match store
        .content()
        .read(&manifest.config.digest, MAX_CONFIG_SIZE)
    {
        Ok(bytes) => bytes,
        Err(ContentError::NotFound(_) | ContentError::Digest { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Ok(config) = ImageConfig::parse(manifest, &bytes) else {
        return Ok(());
    };
    for (layer, diff_id) in manifest.layers.iter().zip(config.diff_ids()) {
        let key = "containerd.io/uncompressed".to_owned();
        let of = labels.entry(layer.digest.clone()).or_default();
        of.insert(key, diff_id.to_string());
        if store.layers().state(diff_id)? == LayerState::Missing {
            return Ok(());
        }
    }
    if let Some(chain_id) = config.chain().pop() {
        let key = "containerd.io/gc.ref.snapshot.mica".to_owned();
        let of = labels.entry(manifest.config.digest.clone()).or_default();
        of.insert(key, chain_id.to_string());
    }
    let namespace = Namespace::default();
    Ok(snapshots::commit_chain(
        transaction,
        &namespace,
        config.diff_ids(),
    )?)
}

//! What of an image goes along when it is copied to somewhere else.
//!
//! A pull brings one platform of many, and the documents of the others are not there. So a
//! copy holds what there is: an index that is there as a whole goes as it is; otherwise one
//! that names only what is there takes its place, or the one manifest that is left. What
//! documents refer to is read without knowing what it is, so that attestations and other
//! artifacts go along.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::ImageError;
use crate::content::{Content, ContentError};
use crate::layers::Layers;
use crate::meta::ImageRecord;
use crate::oci::{
    Descriptor, DiffId, Digest, Index, Kind, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH, MAX_MANIFEST_SIZE,
    Platform, PlatformMatcher,
};

/// How many documents are read of one image.
const MAX_DOCUMENTS: usize = 4096;

/// Which platforms of an image are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Platforms {
    /// All that are in the store.
    #[default]
    Present,
    /// All that there are; it is an error if one is not in the store.
    All,
    /// The one that suits a platform best.
    One(Platform),
}

/// A copy of an image.
#[derive(Debug, Clone)]
pub struct Selection {
    /// What the image's name stands for in the copy.
    pub target: Descriptor,
    /// Manifests and indexes, each behind those that it refers to; the last is the target.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Configs and layers, each once. Some of the layers may have no blob in the store.
    pub blobs: Vec<Descriptor>,
}

/// The fields of a document that lead to others.
#[derive(Deserialize)]
struct References {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// The `rootfs` of a config.
#[derive(Deserialize)]
struct Config {
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(default)]
    diff_ids: Vec<DiffId>,
}

/// The search for what goes along.
struct Search<'a> {
    content: &'a Content,
    layers: &'a Layers,
    image: &'a str,
    platforms: &'a Platforms,
    visited: usize,
    documents: Vec<(Descriptor, Vec<u8>)>,
    blobs: Vec<Descriptor>,
    seen: BTreeSet<Digest>,
}

impl Selection {
    /// Finds what of an image there is for the platforms.
    pub(crate) fn of(
        content: &Content,
        layers: &Layers,
        image: &ImageRecord,
        platforms: &Platforms,
    ) -> Result<Self, ImageError> {
        let mut search = Search {
            content,
            layers,
            image: &image.name,
            platforms,
            visited: 0,
            documents: Vec::new(),
            blobs: Vec::new(),
            seen: BTreeSet::new(),
        };
        match search.document(&image.target, 0)? {
            Some(target) => Ok(Self {
                target,
                documents: search.documents,
                blobs: search.blobs,
            }),
            None => Err(ImageError::NoManifest(image.name.clone())),
        }
    }

    /// Returns the blobs that the store has only as they were unpacked.
    pub(crate) fn missing(&self, content: &Content) -> Result<Vec<Descriptor>, ContentError> {
        let mut missing = Vec::new();
        for blob in self
            .blobs
            .iter()
            .filter(|blob| !blob.media_type.is_foreign())
        {
            if content.size(&blob.digest)? != Some(blob.size) {
                missing.push(blob.clone());
            }
        }
        Ok(missing)
    }
}

impl Search<'_> {
    /// Takes a document and what it refers to; returns what stands for it in the copy,
    /// nothing where it is not there.
    fn document(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<Descriptor>, ImageError> {
        self.visited += 1;
        if depth > MAX_INDEX_DEPTH || self.visited > MAX_DOCUMENTS {
            return Err(ImageError::TooManyDocuments(self.image.to_owned()));
        }
        let bytes = match self.content.read(&descriptor.digest, MAX_MANIFEST_SIZE) {
            Err(ContentError::NotFound(_)) => return Ok(None),
            other => other?,
        };
        let parsed: References = json_of(descriptor, &bytes)?;
        match (&parsed.manifests, &parsed.config, &parsed.layers) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                Err(ImageError::Confused(descriptor.digest.clone()))
            }
            (Some(children), ..) => self.index(descriptor, bytes, children, depth),
            _ => self.manifest(descriptor, bytes, parsed),
        }
    }

    fn index(
        &mut self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        children: &[Descriptor],
        depth: usize,
    ) -> Result<Option<Descriptor>, ImageError> {
        if let Platforms::One(platform) = self.platforms {
            return self.best(platform, children, depth);
        }
        let mut kept = BTreeMap::new();
        // Statements about an image go where it goes, so they come last.
        for statements in [false, true] {
            for (number, child) in children.iter().enumerate() {
                let is_wanted = !statements || is_about_any(child, children, &kept);
                if child.is_attestation() != statements || !is_wanted {
                    continue;
                }
                match self.document(child, depth + 1)? {
                    Some(copy) => drop(kept.insert(number, copy)),
                    None => self.may_lack(child)?,
                }
            }
        }
        let is_same = |(child, copy): (&Descriptor, &Descriptor)| child.digest == copy.digest;
        let is_whole =
            kept.len() == children.len() && children.iter().zip(kept.values()).all(is_same);
        if is_whole {
            return Ok(Some(self.keep(descriptor, bytes)));
        }
        match kept.pop_first() {
            None => Ok(None),
            Some((_, one)) if kept.is_empty() => Ok(Some(one)),
            Some((number, first)) => {
                kept.insert(number, first);
                let (descriptor, bytes) = reduced(descriptor, &bytes, &kept)?;
                Ok(Some(self.keep(&descriptor, bytes)))
            }
        }
    }

    /// Takes the first of the children that suit a platform and are there.
    fn best(
        &mut self,
        platform: &Platform,
        children: &[Descriptor],
        depth: usize,
    ) -> Result<Option<Descriptor>, ImageError> {
        let index = Index {
            schema_version: 2,
            media_type: None,
            manifests: children.to_vec(),
            annotations: BTreeMap::new(),
        };
        for child in index.candidates(&PlatformMatcher::new(platform)) {
            if let Some(found) = self.document(child, depth + 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        parsed: References,
    ) -> Result<Option<Descriptor>, ImageError> {
        let layers = parsed.layers.unwrap_or_default();
        let mut diff_ids = Vec::new();
        if let Some(config) = &parsed.config {
            match self.content.read(&config.digest, MAX_CONFIG_SIZE) {
                Err(ContentError::NotFound(_)) => return Ok(None),
                Ok(bytes) if config.media_type.kind() == Kind::Config => {
                    let config = serde_json::from_slice::<Config>(&bytes);
                    // Attestations have a config of an image, and not all that belongs into it.
                    diff_ids = config
                        .map(|config| config.rootfs.diff_ids)
                        .unwrap_or_default();
                }
                other => drop(other?),
            }
        }
        for (number, layer) in layers.iter().enumerate() {
            let is_unpacked = match diff_ids.get(number) {
                Some(diff_id) => self.layers.open_data(diff_id).is_ok(),
                None => false,
            };
            let is_there = self.content.size(&layer.digest)? == Some(layer.size);
            if !is_there && !is_unpacked && !layer.media_type.is_foreign() {
                return Ok(None);
            }
        }
        for blob in parsed.config.into_iter().chain(layers) {
            if self.seen.insert(blob.digest.clone()) {
                self.blobs.push(blob);
            }
        }
        Ok(Some(self.keep(descriptor, bytes)))
    }

    fn keep(&mut self, descriptor: &Descriptor, bytes: Vec<u8>) -> Descriptor {
        if self.seen.insert(descriptor.digest.clone()) {
            self.documents.push((descriptor.clone(), bytes));
        }
        Descriptor {
            annotations: BTreeMap::new(),
            ..descriptor.clone()
        }
    }

    fn may_lack(&self, child: &Descriptor) -> Result<(), ImageError> {
        if *self.platforms == Platforms::Present {
            return Ok(());
        }
        Err(ImageError::Absent {
            image: self.image.to_owned(),
            digest: child.digest.clone(),
            platform: child.platform.clone(),
        })
    }
}

/// Says whether an attestation is about something that goes along; without a word about what
/// it is about, it is.
fn is_about_any(
    statement: &Descriptor,
    children: &[Descriptor],
    kept: &BTreeMap<usize, Descriptor>,
) -> bool {
    let about = statement.annotations.get("vnd.docker.reference.digest");
    about.is_none_or(|about| {
        let mut images = kept.keys().filter_map(|number| children.get(*number));
        images.any(|image| image.digest.to_string() == *about)
    })
}

/// Makes an index that names only some of the children, with all else that the old one says.
fn reduced(
    descriptor: &Descriptor,
    bytes: &[u8],
    kept: &BTreeMap<usize, Descriptor>,
) -> Result<(Descriptor, Vec<u8>), ImageError> {
    let mut index: Value = json_of(descriptor, bytes)?;
    if let Some(children) = index.get_mut("manifests").and_then(Value::as_array_mut) {
        let mut number = 0;
        children.retain_mut(|child| {
            let copy = kept.get(&number);
            number += 1;
            // One that was itself reduced is another document.
            if let (Some(copy), Some(child)) = (copy, child.as_object_mut()) {
                child.insert("digest".to_owned(), json!(copy.digest));
                child.insert("size".to_owned(), json!(copy.size));
                child.insert("mediaType".to_owned(), json!(copy.media_type));
            }
            copy.is_some()
        });
    }
    let bytes = serde_json::to_vec(&index).map_err(|source| ImageError::Json {
        digest: descriptor.digest.clone(),
        source,
    })?;
    let reduced = Descriptor::of(descriptor.media_type.as_str(), &bytes);
    Ok((reduced, bytes))
}

fn json_of<T: serde::de::DeserializeOwned>(
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Json {
        digest: descriptor.digest.clone(),
        source,
    })
}

//! Archives as `docker save` writes them: one image for one platform each, with layers as
//! plain tars, which are in the layer store as they are.

use std::collections::BTreeSet;
use std::io::Write;

use serde::Serialize;

use super::archive::Archive;
use super::layout::{Copy, json_of};
use super::{ExportError, ExportOptions};
use crate::images::{Contents, Images, Platforms, Selection};
use crate::layers::Layers;
use crate::meta::ImageRecord;
use crate::oci::{DiffId, Document, Kind, MAX_CONFIG_SIZE, Reference};
use crate::store::Store;

/// An entry of `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// An image that is to be saved.
#[derive(Debug)]
pub(super) struct Saved {
    name: String,
    contents: Contents,
}

/// Finds out which manifest of each image is saved.
pub(super) fn select(
    store: &Store,
    images: &[ImageRecord],
    options: &ExportOptions,
) -> Result<Vec<Saved>, ExportError> {
    let all = Images::new(store.meta(), store.content(), options.namespace.clone());
    let mut saved = Vec::new();
    for image in images {
        let image = match &options.platforms {
            Platforms::One(_) => {
                let (content, layers) = (store.content(), store.layers());
                let one = Selection::of(&content, &layers, image, &options.platforms)?;
                ImageRecord {
                    target: one.target,
                    ..image.clone()
                }
            }
            Platforms::Present | Platforms::All => image.clone(),
        };
        let contents = all.contents(&image)?;
        store.layers().require(contents.config.diff_ids())?;
        saved.push(Saved {
            name: image.name,
            contents,
        });
    }
    Ok(saved)
}

/// Writes the archive.
pub(super) fn write(
    store: &Store,
    saved: &[Saved],
    output: &mut dyn Write,
) -> Result<(), ExportError> {
    let listed: Vec<Listed> = saved.iter().map(Saved::listed).collect();
    let mut archive = Archive::new(output);
    archive.bytes("manifest.json", &json_of(&listed, "the list of images")?)?;
    let mut seen = BTreeSet::new();
    for Saved { contents, .. } in saved {
        let digest = &contents.manifest.config.digest;
        if seen.insert(digest.clone()) {
            let config = store.content().read(digest, MAX_CONFIG_SIZE)?;
            archive.bytes(&format!("{}.json", digest.hex()), &config)?;
        }
        for diff_id in contents.config.diff_ids() {
            if seen.insert(diff_id.0.clone()) {
                layer(&store.layers(), diff_id, &mut archive)?;
            }
        }
    }
    archive.finish()
}

fn layer(layers: &Layers, diff_id: &DiffId, archive: &mut Archive<'_>) -> Result<(), ExportError> {
    let data = layers.open_data(diff_id)?;
    let size = layers.data_size(diff_id)?;
    archive.file(&format!("{}.tar", diff_id.0.hex()), &data, &diff_id.0, size)
}

/// Returns how an image in an OCI layout is listed for Docker, if it is one that Docker knows:
/// one manifest with layers of gzip.
pub(super) fn listed(copy: &Copy) -> Option<Listed> {
    let (target, bytes) = copy.selection.documents.last()?;
    if target.media_type.kind() != Kind::Manifest {
        return None;
    }
    let Ok(Document::Manifest(manifest)) = Document::parse(target, bytes) else {
        return None;
    };
    let path =
        |digest: &crate::oci::Digest| format!("blobs/{}/{}", digest.algorithm(), digest.hex());
    let is_gzip = |kind| matches!(kind, Kind::Layer(crate::oci::Compression::Gzip));
    let layers = manifest.layers.iter();
    layers
        .clone()
        .all(|layer| is_gzip(layer.media_type.kind()) && !layer.media_type.is_foreign())
        .then(|| Listed {
            config: path(&manifest.config.digest),
            repo_tags: repo_tags(&copy.name),
            layers: layers.map(|layer| path(&layer.digest)).collect(),
        })
}

impl Saved {
    fn listed(&self) -> Listed {
        let diff_ids = self.contents.config.diff_ids().iter();
        Listed {
            config: format!("{}.json", self.contents.manifest.config.digest.hex()),
            repo_tags: repo_tags(&self.name),
            layers: diff_ids
                .map(|diff_id| format!("{}.tar", diff_id.0.hex()))
                .collect(),
        }
    }
}

/// Returns the name as Docker writes it; none for an image without a tag.
fn repo_tags(name: &str) -> Vec<String> {
    let reference = name.parse::<Reference>().ok();
    let tagged = reference.filter(|reference| reference.tag().is_some());
    // A digest is no part of what Docker reads here.
    let tagged = tagged.and_then(|reference| {
        let tag = reference.tag()?.to_owned();
        reference.with_tag(&tag).ok()
    });
    tagged.iter().map(Reference::familiar).collect()
}

//! What each layer of an image does: what it adds, changes and removes, and how much of it
//! later layers hide.
//!
//! Only indexes are read, no contents: a file that a layer has again counts as changed,
//! whatever is in it, since its bytes are there twice. Directories do not count.

mod history;
mod tree;

use serde::Serialize;
use thiserror::Error;

use crate::content::{Content, ContentError};
use crate::images::Contents;
use crate::layers::{LayerError, Layers};
use crate::oci::{DiffId, Digest, MAX_CONFIG_SIZE};

pub use tree::{Body, Counts, Directory, Held, Node, State, Tree};

use history::Step;

/// Why an image could not be taken apart.
#[derive(Debug, Error)]
pub enum AnatomyError {
    /// The image's config cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The image's config is not valid.
    #[error("the history in {config}")]
    History {
        /// The config.
        config: Digest,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A layer cannot be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer is damaged.
    #[error("layer {diff_id}")]
    Packed {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        source: mica_fuse::Error,
    },
}

/// What the layers of an image do, and how well they use their space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Anatomy {
    /// The layers, lowest first.
    pub layers: Vec<Part>,
    /// Bytes of the files of all layers.
    pub size: u64,
    /// Bytes of them that do not show.
    pub hidden: u64,
    /// The part of the bytes that shows, from 0 to 1.
    pub efficiency: f64,
}

/// What one layer does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The layer.
    pub diff_id: DiffId,
    /// The blob that it came as.
    pub blob: Digest,
    /// Bytes of the blob.
    pub compressed: u64,
    /// Bytes of the uncompressed archive.
    pub archive: u64,
    /// The command that made it, as far as the image tells.
    pub command: Option<String>,
    /// When it was made, as far as the image tells.
    pub created: Option<String>,
    /// What is in it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Bytes of its files that later layers hide.
    pub hidden: u64,
}

impl Anatomy {
    /// Takes an image apart whose layers are all in the store.
    pub fn of_image(
        content: &Content,
        layers: &Layers,
        contents: &Contents,
    ) -> Result<Self, AnatomyError> {
        let steps = steps(content, contents)?;
        let mut tree = Tree::default();
        let mut parts = Vec::new();
        let diff_ids = contents.config.diff_ids();
        let blobs = &contents.manifest.layers;
        for (position, (diff_id, blob)) in diff_ids.iter().zip(blobs).enumerate() {
            let counts = apply(&mut tree, layers, diff_id)?;
            let step: Option<&Step> = steps.get(position);
            parts.push(Part {
                diff_id: diff_id.clone(),
                blob: blob.digest.clone(),
                compressed: blob.size,
                archive: layers.data_size(diff_id)?,
                command: step.and_then(Step::command),
                created: step.and_then(|step| step.created.clone()),
                counts,
                hidden: 0,
            });
        }
        for (part, hidden) in parts.iter_mut().zip(tree.hidden()) {
            part.hidden = hidden;
        }
        Ok(Self::of_parts(parts))
    }

    fn of_parts(layers: Vec<Part>) -> Self {
        let size = layers.iter().map(|part| part.counts.size).sum();
        let hidden = layers.iter().map(|part| part.hidden).sum();
        Self {
            layers,
            size,
            hidden,
            efficiency: share(size - hidden, size),
        }
    }
}

/// Returns the tree that the lowest `count` layers make, in which what the last of them has
/// removed is still there and marked.
pub fn tree(layers: &Layers, diff_ids: &[DiffId]) -> Result<Tree, AnatomyError> {
    let mut tree = Tree::default();
    let Some((last, below)) = diff_ids.split_last() else {
        return Ok(tree);
    };
    for diff_id in below {
        apply(&mut tree, layers, diff_id)?;
    }
    let layer = layers.open(last)?;
    tree.apply_last(&layer).map_err(packed(last))?;
    Ok(tree)
}

fn apply(tree: &mut Tree, layers: &Layers, diff_id: &DiffId) -> Result<Counts, AnatomyError> {
    let layer = layers.open(diff_id)?;
    tree.apply(&layer).map_err(packed(diff_id))
}

fn packed(diff_id: &DiffId) -> impl Fn(mica_fuse::Error) -> AnatomyError {
    |source| AnatomyError::Packed {
        diff_id: diff_id.clone(),
        source,
    }
}

/// Returns the steps of the history that have made layers, lowest first.
fn steps(content: &Content, contents: &Contents) -> Result<Vec<Step>, AnatomyError> {
    let config = &contents.manifest.config.digest;
    let bytes = content.read(config, MAX_CONFIG_SIZE)?;
    history::steps(&bytes).map_err(|source| AnatomyError::History {
        config: config.clone(),
        source,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share is for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

//! `layers/`: each layer of the store by itself.

use mica_fuse::{FileType, Item, Tree};
use serde::Serialize;

use super::catalogue::{Catalogue, Names};
use super::error::BrowseError;
use super::name;
use crate::layers::LayerState;
use crate::mounts::TreePlan;
use crate::oci::{DiffId, Digest};
use crate::snapshots::SnapshotMounts;

/// The label of a blob that tells which layer it is, compressed.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// What `info.json` says of a layer.
#[derive(Debug, Serialize)]
struct Info<'r> {
    diff_id: &'r DiffId,
    /// Bytes of the uncompressed archive.
    size: u64,
    /// Snapshots of the namespace that it is the uppermost layer of.
    snapshots: Vec<&'r str>,
    /// Blobs of the namespace that it can be made from.
    blobs: Vec<&'r Digest>,
}

pub(super) fn names_in_one() -> Names {
    vec![
        (b"files".to_vec(), FileType::Directory),
        (b"info.json".to_vec(), FileType::Regular),
    ]
}

impl Catalogue {
    pub(super) fn layer(&self, name: &[u8], rest: &[&[u8]]) -> Result<Option<Item>, BrowseError> {
        let Some(diff_id) = diff_id(name) else {
            return Ok(None);
        };
        if self.store.layers().state(&diff_id)? == LayerState::Missing {
            return Ok(None);
        }
        Ok(match rest {
            [] => Some(Item::Directory),
            [b"files"] => Some(Item::Tree),
            [b"info.json"] => Some(Item::File(self.layer_info(&diff_id)?)),
            _ => None,
        })
    }

    pub(super) fn layer_names(&self) -> Result<Names, BrowseError> {
        let layers = self.store.layers().list()?;
        let names = layers.iter().map(|layer| name::shown(&layer.to_string()));
        Ok(names.map(|name| (name, FileType::Directory)).collect())
    }

    pub(super) fn layer_tree(&self, name: &[u8]) -> Result<Tree, BrowseError> {
        let diff_id = diff_id(name).ok_or(BrowseError::Nothing)?;
        let alone = SnapshotMounts::of_packed(std::slice::from_ref(&diff_id));
        let links = self.store.layers().open(&diff_id)?.lower_links().count();
        // What such links are to is only known where the layer stands on others.
        let shown = match self.standing_on(&diff_id)? {
            Some(snapshot) if links > 0 => self.snapshots.show(&snapshot)?,
            _ => alone,
        };
        self.diff(&TreePlan::from(shown))
    }

    /// Returns a snapshot that a packed layer is the uppermost of.
    fn standing_on(&self, diff_id: &DiffId) -> Result<Option<String>, BrowseError> {
        let snapshots = self.records.snapshots()?;
        let mut snapshots = snapshots.values();
        let found = snapshots.find(|snapshot| snapshot.layer.as_ref() == Some(diff_id));
        Ok(found.map(|snapshot| snapshot.name.clone()))
    }

    fn layer_info(&self, diff_id: &DiffId) -> Result<Vec<u8>, BrowseError> {
        let (snapshots, blobs) = (self.records.snapshots()?, self.records.blobs()?);
        let text = diff_id.to_string();
        let info = Info {
            diff_id,
            size: self.store.layers().data_size(diff_id)?,
            snapshots: snapshots
                .values()
                .filter(|snapshot| snapshot.layer.as_ref() == Some(diff_id))
                .map(|snapshot| snapshot.name.as_str())
                .collect(),
            blobs: blobs
                .values()
                .filter(|blob| blob.labels.get(UNCOMPRESSED) == Some(&text))
                .map(|blob| &blob.digest)
                .collect(),
        };
        json(&info)
    }
}

/// Returns a record as the contents of a file.
pub(super) fn json(record: &impl Serialize) -> Result<Vec<u8>, BrowseError> {
    let mut bytes = serde_json::to_vec_pretty(record)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Returns the link target from the directory of links of an image to a layer.
pub(super) fn link_to(diff_id: &DiffId) -> Vec<u8> {
    [b"../../../layers/", &name::shown(&diff_id.to_string())[..]].concat()
}

fn diff_id(name: &[u8]) -> Option<DiffId> {
    name::original(name)?.parse().ok()
}

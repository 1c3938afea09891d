//! `images/`: what images show, and what they consist of.

use std::sync::Arc;

use mica_fuse::{FileType, Item, Tree};

use super::catalogue::{Catalogue, Names};
use super::error::BrowseError;
use super::{layers, name};
use crate::images::{Contents, ImageError};
use crate::meta::ImageRecord;
use crate::mounts::TreePlan;
use crate::oci::{DiffId, Reference};
use crate::snapshots::SnapshotMounts;

impl Catalogue {
    pub(super) fn image(&self, name: &[u8], rest: &[&[u8]]) -> Result<Option<Item>, BrowseError> {
        let images = self.records.images()?;
        let image = match (images.get(name), rest) {
            (Some(image), _) => image,
            (None, []) => return self.image_of_other_name(name),
            (None, _) => return Ok(None),
        };
        if rest.is_empty() {
            return Ok(Some(Item::Directory));
        }
        let Some(contents) = self.contents(image)? else {
            return Ok(None);
        };
        let content = self.store.content();
        Ok(match rest {
            [b"layers"] => Some(Item::Directory),
            [b"rootfs"] if contents.config.diff_ids().is_empty() => Some(Item::Directory),
            [b"rootfs"] => {
                if self.browse.pull {
                    self.puller.mend(image, &contents)?;
                }
                Some(Item::Tree)
            }
            [b"config.json"] => Some(Item::Stored {
                path: content.path(&contents.manifest.config.digest),
                size: contents.manifest.config.size,
            }),
            [b"manifest.json"] => Some(Item::Stored {
                path: content.path(&contents.descriptor.digest),
                size: contents.descriptor.size,
            }),
            [b"layers", number] => {
                let mut links = links(contents.config.diff_ids());
                let found = links.find(|(name, _)| name == number);
                found.map(|(_, diff_id)| Item::Symlink(layers::link_to(diff_id)))
            }
            _ => None,
        })
    }

    pub(super) fn image_names(&self) -> Result<Names, BrowseError> {
        let images = self.records.images()?;
        let names = images.keys().cloned();
        Ok(names.map(|name| (name, FileType::Directory)).collect())
    }

    pub(super) fn names_in_image(&self, name: &[u8], rest: &[&[u8]]) -> Result<Names, BrowseError> {
        let images = self.records.images()?;
        let image = images.get(name).ok_or(BrowseError::Nothing)?;
        let Some(contents) = self.contents(image)? else {
            return Ok(Vec::new());
        };
        Ok(match rest {
            [] => vec![
                (b"rootfs".to_vec(), FileType::Directory),
                (b"layers".to_vec(), FileType::Directory),
                (b"config.json".to_vec(), FileType::Regular),
                (b"manifest.json".to_vec(), FileType::Regular),
            ],
            [b"layers"] => links(contents.config.diff_ids())
                .map(|(name, _)| (name, FileType::Symlink))
                .collect(),
            _ => Vec::new(),
        })
    }

    pub(super) fn image_tree(&self, name: &[u8]) -> Result<Tree, BrowseError> {
        let images = self.records.images()?;
        let image = images.get(name).ok_or(BrowseError::Nothing)?;
        let contents = self.contents(image)?.ok_or(BrowseError::Nothing)?;
        let shown = SnapshotMounts::of_packed(contents.config.diff_ids());
        self.tree(&TreePlan::from(shown))
    }

    /// Returns the documents of an image; `None` where the store has none for any platform.
    fn contents(&self, image: &ImageRecord) -> Result<Option<Arc<Contents>>, BrowseError> {
        match self.records.contents(image) {
            Err(BrowseError::Image(ImageError::NoManifest(_))) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Returns a link to the image that a short name means. One that is not there is pulled,
    /// if that is wanted and the name has a registry, a path, a tag or a digest: programs
    /// look for files of all kinds of names wherever they are.
    fn image_of_other_name(&self, file: &[u8]) -> Result<Option<Item>, BrowseError> {
        let Some(short) = name::original(file) else {
            return Ok(None);
        };
        let Ok(full) = short.parse::<Reference>() else {
            return Ok(None);
        };
        let full = full.to_string();
        let target = name::shown(&full);
        let is_there = || Ok::<_, BrowseError>(self.records.images()?.contains_key(&target));
        if !is_there()? {
            if !self.browse.pull || !short.contains(['/', ':', '@']) {
                return Ok(None);
            }
            self.puller.pull(&full, is_there)?;
        }
        Ok(Some(if target == file {
            Item::Directory
        } else {
            Item::Symlink(target)
        }))
    }
}

/// Returns the names of the links to layers, numbered from the lowest in as many digits as
/// the last has.
fn links(diff_ids: &[DiffId]) -> impl Iterator<Item = (Vec<u8>, &DiffId)> {
    let digits = diff_ids.len().to_string().len();
    (1..)
        .zip(diff_ids)
        .map(move |(number, diff_id)| (format!("{number:0digits$}").into_bytes(), diff_id))
}

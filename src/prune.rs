//! Pruning: images and snapshots that nobody uses, for a user to part with.
//!
//! Garbage collection never touches them, since a user has asked for each; only the user
//! can tell that one is not needed any more. What is offered here is what no mount shows
//! and no other snapshot stands on.

use std::collections::HashSet;

use serde::Serialize;
use thiserror::Error;

use crate::content::{Content, ContentError};
use crate::gc::{self, GcError, Node, NodeKind};
use crate::images::{Contents, ImageError, Images};
use crate::meta::{ImageRecord, Kind, MetaError, Namespace, SnapshotRecord};
use crate::mounts::{MountsError, Records};
use crate::snapshots::{SnapshotError, Snapshots};
use crate::store::Store;

/// Why nothing could be pruned, or not all of it.
#[derive(Debug, Error)]
pub enum PruneError {
    /// An image could not be looked at or removed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob could not be looked at.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A snapshot could not be looked at or removed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The mounts could not be listed.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// The records could not be read or changed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// What would be freed is not known.
    #[error(transparent)]
    Gc(#[from] GcError),
}

/// What may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Images that no mount shows and no snapshot of a user's stands on.
    pub images: bool,
    /// Active snapshots that no mount shows.
    pub active: bool,
    /// Views, and committed snapshots of users on which none stands.
    pub others: bool,
}

/// Something that nobody uses.
#[derive(Debug, Clone, Serialize)]
pub struct Unused {
    /// The image or snapshot.
    #[serde(flatten)]
    pub node: Node,
    /// What kind of snapshot, or "image".
    pub what: &'static str,
    /// The bytes of its blobs, or of its directory; others may share them.
    pub size: u64,
    /// When it was last changed.
    pub updated: jiff::Timestamp,
}

/// What can be pruned of one namespace.
#[derive(Debug)]
pub struct Prune<'s> {
    store: &'s Store,
    namespace: Namespace,
    images: Images,
    snapshots: Snapshots,
}

impl<'s> Prune<'s> {
    /// Returns what can be pruned of a store's namespace.
    pub fn new(store: &'s Store, namespace: Namespace) -> Self {
        Self {
            images: Images::new(store.meta(), store.content(), namespace.clone()),
            snapshots: Snapshots::new(store, namespace.clone()),
            store,
            namespace,
        }
    }

    /// Lists what nobody uses.
    pub fn unused(&self, selection: Selection) -> Result<Vec<Unused>, PruneError> {
        let snapshots = self.snapshots.list()?;
        let mut unused = Vec::new();
        if selection.images {
            self.unused_images(&snapshots, &mut unused)?;
        }
        let parents: HashSet<&str> = snapshots
            .iter()
            .filter_map(|s| s.parent.as_deref())
            .collect();
        for snapshot in &snapshots {
            let is_offered = match snapshot.kind {
                Kind::Active => selection.active,
                Kind::View => selection.others,
                Kind::Committed => selection.others && is_users(snapshot),
            };
            let is_free = is_offered && !parents.contains(snapshot.name.as_str());
            if is_free && !self.snapshots.is_in_use(snapshot)? {
                unused.push(Unused {
                    node: NodeKind::Snapshot.node(&snapshot.name),
                    what: snapshot.kind.name(),
                    size: self.usage(snapshot)?,
                    updated: snapshot.updated,
                });
            }
        }
        Ok(unused)
    }

    /// Returns the bytes that are free once these are gone and garbage is collected.
    pub fn would_free(&self, unused: &[Unused]) -> Result<u64, PruneError> {
        let gone: HashSet<Node> = unused.iter().map(|unused| unused.node.clone()).collect();
        let survey = gc::survey_without(self.store, &self.namespace, &gone)?;
        Ok(survey
            .garbage
            .iter()
            .filter_map(|garbage| garbage.size)
            .sum())
    }

    /// Removes what was listed, but for what is used by now; returns what is gone.
    pub fn remove<'u>(&self, unused: &'u [Unused]) -> Result<Vec<&'u Unused>, PruneError> {
        let mut gone = Vec::new();
        for unused in unused {
            let removed = match unused.node.kind {
                NodeKind::Image => match self.images.remove(&unused.node.id, None) {
                    Err(ImageError::NotFound(_)) => false,
                    other => other.map(|_| true)?,
                },
                _ => match self.snapshots.remove(&unused.node.id) {
                    Err(
                        SnapshotError::NotFound(_)
                        | SnapshotError::InUse(_)
                        | SnapshotError::HasChild(_),
                    ) => false,
                    other => other.map(|()| true)?,
                },
            };
            if removed {
                gone.push(unused);
            }
        }
        Ok(gone)
    }

    fn unused_images(
        &self,
        snapshots: &[SnapshotRecord],
        unused: &mut Vec<Unused>,
    ) -> Result<(), PruneError> {
        let mounts = Records::at(self.store.mounts()).list()?;
        let shown: HashSet<String> = mounts.into_iter().filter_map(|mount| mount.image).collect();
        let stood_on: HashSet<&str> = snapshots
            .iter()
            .filter(|snapshot| is_users(snapshot))
            .filter_map(|snapshot| snapshot.parent.as_deref())
            .collect();
        for image in self.images.list()? {
            let contents = self.contents(&image)?;
            let chain_id = contents.as_ref().and_then(Contents::chain_id);
            let chain_id = chain_id.map(|chain_id| chain_id.to_string());
            let is_stood_on = chain_id.is_some_and(|name| stood_on.contains(name.as_str()));
            if !shown.contains(&image.name) && !is_stood_on {
                unused.push(Unused {
                    node: NodeKind::Image.node(&image.name),
                    what: "image",
                    size: contents.map_or(Ok(0), |c| blobs(&self.store.content(), &c))?,
                    updated: image.updated,
                });
            }
        }
        Ok(())
    }

    /// Returns what an image consists of; `None` for one that is not complete.
    fn contents(&self, image: &ImageRecord) -> Result<Option<Contents>, PruneError> {
        match self.images.contents(image) {
            Err(ImageError::NoManifest(_) | ImageError::Document(_) | ImageError::Content(_)) => {
                Ok(None)
            }
            other => Ok(other.map(Some)?),
        }
    }

    fn usage(&self, snapshot: &SnapshotRecord) -> Result<u64, PruneError> {
        match self.snapshots.usage(&snapshot.name) {
            // It can be removed all the same.
            Err(SnapshotError::Lost { .. } | SnapshotError::Layer(_)) => Ok(0),
            other => Ok(other?.size),
        }
    }
}

/// Says whether a user has made a snapshot, not a pull.
fn is_users(snapshot: &SnapshotRecord) -> bool {
    snapshot.kind != Kind::Committed || snapshot.id.is_some() || snapshot.usage.is_some()
}

/// Returns the bytes of an image's blobs that are there.
fn blobs(content: &Content, contents: &Contents) -> Result<u64, ContentError> {
    let documents = [&contents.descriptor, &contents.manifest.config];
    let mut bytes = 0;
    for blob in documents.into_iter().chain(&contents.manifest.layers) {
        bytes += content.size(&blob.digest)?.unwrap_or(0);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

//! The records of one namespace by the names of their files, read anew after each change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::BrowseError;
use super::name;
use crate::images::{Contents, Images};
use crate::meta::{
    ContentRecord, ImageRecord, Meta, MetaError, Namespace, SnapshotRecord, Stamp, Transaction,
};

/// Records by the names of their files.
pub(super) type Named<R> = BTreeMap<Vec<u8>, R>;

/// The records of one namespace.
#[derive(Debug)]
pub(super) struct Records {
    meta: Meta,
    images: Images,
    namespace: Namespace,
    known: Mutex<Known>,
}

/// What was read since the last change.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    images: Option<Arc<Named<ImageRecord>>>,
    snapshots: Option<Arc<Named<SnapshotRecord>>>,
    blobs: Option<Arc<Named<ContentRecord>>>,
    /// By the names of images.
    contents: HashMap<String, Arc<Contents>>,
}

impl Records {
    pub(super) fn new(meta: Meta, images: Images, namespace: Namespace) -> Self {
        Self {
            meta,
            images,
            namespace,
            known: Mutex::default(),
        }
    }

    pub(super) fn images(&self) -> Result<Arc<Named<ImageRecord>>, BrowseError> {
        self.table(
            |known| &mut known.images,
            |transaction| transaction.list(&self.namespace),
            |image: &ImageRecord| name::shown(&image.name),
        )
    }

    pub(super) fn snapshots(&self) -> Result<Arc<Named<SnapshotRecord>>, BrowseError> {
        self.table(
            |known| &mut known.snapshots,
            |transaction| transaction.list(&self.namespace),
            |snapshot: &SnapshotRecord| name::shown(&snapshot.name),
        )
    }

    pub(super) fn blobs(&self) -> Result<Arc<Named<ContentRecord>>, BrowseError> {
        self.table(
            |known| &mut known.blobs,
            |transaction| transaction.list(&self.namespace),
            |blob: &ContentRecord| name::shown(&blob.digest.to_string()),
        )
    }

    /// Returns the documents of an image.
    pub(super) fn contents(&self, image: &ImageRecord) -> Result<Arc<Contents>, BrowseError> {
        let stamp = self.meta.stamp()?;
        if let Some(contents) = self.known(stamp).contents.get(&image.name) {
            return Ok(Arc::clone(contents));
        }
        let contents = Arc::new(self.images.contents(image)?);
        let mut known = self.known(stamp);
        let name = image.name.clone();
        known.contents.insert(name, Arc::clone(&contents));
        Ok(contents)
    }

    fn table<R>(
        &self,
        slot: impl Fn(&mut Known) -> &mut Option<Arc<Named<R>>>,
        read: impl FnOnce(&Transaction<'_>) -> Result<Vec<R>, MetaError>,
        name: impl Fn(&R) -> Vec<u8>,
    ) -> Result<Arc<Named<R>>, BrowseError> {
        let stamp = self.meta.stamp()?;
        if let Some(table) = slot(&mut self.known(stamp)) {
            return Ok(Arc::clone(table));
        }
        let records = self.meta.read(read)?;
        let table: Named<R> = records
            .into_iter()
            .map(|record| (name(&record), record))
            .collect();
        let table = Arc::new(table);
        *slot(&mut self.known(stamp)) = Some(Arc::clone(&table));
        Ok(table)
    }

    /// Returns what is known as of a stamp that was just taken. What was read before the
    /// stamp changed is forgotten.
    fn known(&self, stamp: Option<Stamp>) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_none() || known.stamp != stamp {
            *known = Known {
                stamp,
                ..Known::default()
            };
        }
        known
    }
}

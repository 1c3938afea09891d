//! `content/`: the blobs that have records.

use mica_fuse::{FileType, Item};

use super::catalogue::{Catalogue, Names};
use super::error::BrowseError;

impl Catalogue {
    pub(super) fn blob(&self, name: &[u8]) -> Result<Option<Item>, BrowseError> {
        let blobs = self.records.blobs()?;
        let content = self.store.content();
        Ok(blobs.get(name).map(|blob| Item::Stored {
            path: content.path(&blob.digest),
            size: blob.size,
        }))
    }

    pub(super) fn blob_names(&self) -> Result<Names, BrowseError> {
        let blobs = self.records.blobs()?;
        let names = blobs.keys().cloned();
        Ok(names.map(|name| (name, FileType::Regular)).collect())
    }
}

//! What a pull takes from the store instead of fetching it: what its namespace may have by the
//! [policy](crate::content::SharingPolicy) of the store, and what the pull has brought itself.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::content::{Blobs, ContentError};
use crate::meta::Namespace;
use crate::oci::Digest;
use crate::store::Store;

#[derive(Debug)]
pub(super) struct Share {
    blobs: Blobs,
    brought: Mutex<HashSet<Digest>>,
}

impl Share {
    pub(super) fn new(store: &Store, namespace: &Namespace) -> Self {
        Self {
            blobs: Blobs::new(store, namespace.clone()),
            brought: Mutex::default(),
        }
    }

    /// Says whether a blob that the store has need not be fetched.
    pub(super) fn may_take(&self, digest: &Digest) -> Result<bool, ContentError> {
        let brought = self.brought.lock();
        let is_brought = brought
            .unwrap_or_else(PoisonError::into_inner)
            .contains(digest);
        Ok(is_brought || self.blobs.may_take(digest)?)
    }

    /// Notes that a blob came from the source, or was made here.
    pub(super) fn brought(&self, digest: &Digest) {
        let brought = self.brought.lock();
        let mut brought = brought.unwrap_or_else(PoisonError::into_inner);
        brought.insert(digest.clone());
    }
}

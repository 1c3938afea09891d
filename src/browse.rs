//! The whole store as one tree, as it is at the moment when somebody looks.
//!
//! ```text
//! images/NAME/rootfs/          what the image shows
//!             layers/NUMBER    links into layers/, the lowest first
//!             config.json  manifest.json
//! layers/NAME/files/           what the layer says by itself (rule 38 of semantics.md)
//!             info.json
//! snapshots/NAME/rootfs/       what the snapshot shows
//!                diff/         what its own layer says
//!                info.json
//! content/NAME                 blobs
//! ```
//! Names are mapped by [`name`]. Records are those of one namespace, read anew when they
//! have changed ([`records`]); layers are those of the store, which all namespaces share.
//! A tree holds what it shows while the kernel knows a node of it, and soon after nobody
//! asks for it any more the kernel is told to forget it: who only looks keeps nothing from
//! being committed or removed for longer than a moment.

mod catalogue;
mod content;
mod error;
mod images;
mod layers;
mod name;
mod pull;
mod records;
mod snapshots;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mica_fuse::Forest;
use serde::{Deserialize, Serialize};

use crate::meta::Namespace;
use crate::store::Store;

use catalogue::Catalogue;

/// How long nobody asks for a tree before the kernel is told to forget it; up to twice as
/// long passes.
const REST: Duration = Duration::from_secs(2);

/// What of a store is shown, and what may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browse {
    /// The namespace whose images, snapshots and blobs are shown.
    pub namespace: Namespace,
    /// Whether active snapshots can be written to.
    pub rw: bool,
    /// Whether an image that is not there is pulled when it is named.
    pub pull: bool,
}

/// Returns the forest of a store, in which trees rest when nobody asks for them.
pub(crate) fn forest(store: Store, browse: &Browse) -> Arc<Forest> {
    let catalogue = Catalogue::new(Arc::new(store), browse.clone());
    let forest = Arc::new(Forest::new(catalogue).resting());
    let watched = Arc::downgrade(&forest);
    thread::spawn(move || {
        loop {
            thread::sleep(REST);
            match watched.upgrade() {
                Some(forest) => forest.rest(),
                None => return,
            }
        }
    });
    forest
}

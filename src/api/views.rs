//! What a client mounts to use a snapshot: one `bind` of a directory.
//!
//! A snapshot that stands on nothing is its own directory. Any other is shown among the
//! views of the store.

use std::path::Path;

use mica_proto::types::Mount;

use crate::layers::LayerPlan;
use crate::meta::SnapshotId;
use crate::snapshots::{SnapshotError, SnapshotMounts};
use crate::store::Store;

/// Returns what a client mounts of an active snapshot or a view, which is shown when this
/// returns.
pub(super) fn mount(
    store: &Store,
    key: &str,
    shown: SnapshotMounts,
) -> Result<Mount, SnapshotError> {
    let access = if shown.upper.is_some() { "rw" } else { "ro" };
    let source = if let Some(directory) = own_directory(&shown) {
        directory.to_owned()
    } else {
        let own = shown.own().map(|own| own.id);
        let id = own.ok_or_else(|| SnapshotError::NotMountable(key.to_owned()))?;
        store.views().show(id, &shown.into())?
    };
    Ok(Mount {
        r#type: "bind".to_owned(),
        source: source.to_string_lossy().into_owned(),
        target: String::new(),
        options: vec![access.to_owned(), "rbind".to_owned()],
    })
}

/// Returns the snapshot that a client has mounted, or will, at a source that it was given.
pub(super) fn snapshot_at(store: &Store, source: &Path) -> Option<SnapshotId> {
    store.views().snapshot_at(source).or_else(|| {
        let own = source.strip_prefix(store.root().join("snapshots")).ok()?;
        let name = own.to_str()?.strip_suffix("/fs")?;
        SnapshotId::named(name)
    })
}

/// Returns the directory of a snapshot that stands on nothing.
fn own_directory(shown: &SnapshotMounts) -> Option<&Path> {
    match (&shown.upper, shown.layers.as_slice(), shown.uses.len()) {
        (Some(upper), [LayerPlan::Directory(_)], 0) => Some(&upper.fs),
        (None, [LayerPlan::Directory(path)], 1) => Some(path),
        _ => None,
    }
}

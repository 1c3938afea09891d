//! Reading ahead: the small files of many layers at once.
//!
//! A mount opens its layers one by one, and each costs a few reads of the disk, one
//! after the other. A chain of hundreds would spend most of its time waiting; asked
//! for together, the same reads overlap.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;

use rustix::fs::{Advice, fadvise};

use super::{BOOT, DATA, INDEX, Layers, SYNCED};
use crate::oci::DiffId;

/// Chains that are shorter are opened as fast without.
const WORTH_IT: usize = 8;
/// Reads of the disk at a time.
const THREADS: usize = 16;

impl Layers {
    /// Brings what [`Layers::state`] and [`Layers::open`] will read into the page cache.
    ///
    /// Only a hint: what cannot be read is met again, and reported, by those who need it.
    pub fn read_ahead(&self, diff_ids: &[DiffId]) {
        if diff_ids.len() < WORTH_IT {
            return;
        }
        thread::scope(|scope| {
            for part in diff_ids.chunks(diff_ids.len().div_ceil(THREADS)) {
                scope.spawn(move || {
                    for diff_id in part {
                        if let Err(error) = read_ahead(&self.path(diff_id)) {
                            tracing::debug!(layer = %diff_id, %error, "read ahead");
                        }
                    }
                });
            }
        });
    }
}

fn read_ahead(layer: &Path) -> io::Result<()> {
    let index = File::open(layer.join(INDEX))?;
    fadvise(&index, 0, None, Advice::WillNeed)?;
    fs::exists(layer.join(DATA))?;
    if !fs::exists(layer.join(SYNCED))? {
        fs::read(layer.join(BOOT))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn layers_that_are_not_there_are_no_error() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let missing: Vec<DiffId> = (0..40_u8)
            .map(|number| DiffId(crate::oci::Digest::sha256(&[number])))
            .collect();
        store.layers().read_ahead(&missing);
        assert_eq!(store.layers().list().unwrap(), []);
    }
}

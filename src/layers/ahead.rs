//! Many layers at once.
//!
//! Each layer that is looked at and opened costs a few reads of the disk, one after the
//! other. A chain of hundreds would spend most of its time waiting; asked for together,
//! the same reads overlap.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use rustix::fs::{Advice, fadvise};

use super::{INDEX, LayerError, LayerState, Layers};
use crate::oci::DiffId;

/// Chains that are shorter are done as fast by one thread.
const WORTH_IT: usize = 8;
/// Reads of the disk at a time.
const READS: usize = 16;

impl Layers {
    /// Returns what is known of each layer, as [`Layers::state`], and has the kernel begin to
    /// read what [`Layers::open`] will.
    pub(super) fn states(&self, diff_ids: &[DiffId]) -> Result<Vec<LayerState>, LayerError> {
        each(diff_ids, READS, |diff_id| {
            // Only a hint: what cannot be read is met again, and reported, by who opens it.
            if let Err(error) = read_ahead(&self.path(diff_id)) {
                tracing::debug!(layer = %diff_id, %error, "read ahead");
            }
            self.state(diff_id)
        })
    }
}

/// Does the same for each item on every processor; see [`each`].
pub(super) fn on_all_processors<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    each(items, processors, work)
}

/// Does the same for each item, in several threads where there are many; returns the results
/// in the order of the items, or the first error.
fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if items.len() < WORTH_IT {
        return items.iter().map(work).collect();
    }
    let work = |part: &[T]| part.iter().map(&work).collect::<Result<Vec<R>, E>>();
    thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(items.len().div_ceil(threads))
            .map(|part| scope.spawn(move || work(part)))
            .collect();
        let mut results = Vec::with_capacity(items.len());
        for part in parts {
            match part.join() {
                Ok(done) => results.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(results)
    })
}

fn read_ahead(layer: &Path) -> io::Result<()> {
    let index = File::open(layer.join(INDEX))?;
    Ok(fadvise(&index, 0, None, Advice::WillNeed)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn layers_that_are_not_there_are_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        for count in [0, 1, 40] {
            let missing: Vec<DiffId> = (0..count)
                .map(|number| DiffId(crate::oci::Digest::sha256(&[number])))
                .collect();
            let states = store.layers().states(&missing).unwrap();
            assert_eq!(states, vec![LayerState::Missing; missing.len()]);
        }
    }

    #[test]
    fn results_come_in_the_order_of_the_items_and_the_first_error_ends_all() {
        let items: Vec<u32> = (0..100).collect();
        for threads in [1, 3, 100, 1000] {
            let doubled = each(&items, threads, |item| Ok::<_, u32>(2 * item));
            let expected: Vec<u32> = items.iter().map(|item| 2 * item).collect();
            assert_eq!(doubled, Ok(expected), "{threads} threads");
            let failed = each(&items, threads, |item| match item {
                0..50 => Ok(*item),
                _ => Err(*item),
            });
            assert_eq!(failed, Err(50), "{threads} threads");
        }
    }
}

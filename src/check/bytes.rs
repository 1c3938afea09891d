//! The bytes: digests computed anew on all processors.

use std::io::{self, Read as _};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::CheckError;
use super::fault::Fault;
use super::files::Listing;
use crate::content::ContentError;
use crate::oci::{DiffId, Digest};
use crate::store::Store;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// What reading has shown.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) faults: Vec<Fault>,
    pub(super) bytes: u64,
}

/// Something to read.
#[derive(Debug)]
enum Job<'l> {
    Blob(&'l Digest),
    Layer(&'l DiffId),
}

/// Reads all blobs and layers.
pub(super) fn read(store: &Store, listing: &Listing) -> Result<Read, CheckError> {
    let mut jobs: Vec<(u64, Job<'_>)> = Vec::new();
    for (digest, size) in &listing.blobs {
        jobs.push((*size, Job::Blob(digest)));
    }
    for diff_id in &listing.layers {
        // One without data is told from one that is short when it is read.
        let size = store.layers().data_size(diff_id).unwrap_or(0);
        jobs.push((size, Job::Layer(diff_id)));
    }
    // The largest first, so that no processor is left alone with it at the end.
    jobs.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Ok(Read::default()));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                let found = work(store, &jobs, &next);
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                match (&mut *all, found) {
                    (Ok(all), Ok(found)) => {
                        all.faults.extend(found.faults);
                        all.bytes += found.bytes;
                    }
                    (all @ Ok(_), Err(error)) => *all = Err(error),
                    (Err(_), _) => {}
                }
            });
        }
    });
    let mut read = all.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    read.faults.sort_unstable();
    Ok(read)
}

/// Does jobs until none is left.
fn work(store: &Store, jobs: &[(u64, Job<'_>)], next: &AtomicUsize) -> Result<Read, CheckError> {
    let mut read = Read::default();
    let mut buffer = vec![0; CHUNK];
    while let Some((size, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
        match job {
            Job::Blob(digest) => read.faults.extend(blob(store, digest, &mut buffer)?),
            Job::Layer(diff_id) => {
                let damage = store.layers().inspect(diff_id)?;
                read.faults.extend(damage.map(|error| Fault::LayerDamaged {
                    diff_id: (*diff_id).clone(),
                    error,
                }));
            }
        }
        read.bytes += size;
    }
    Ok(read)
}

fn blob(store: &Store, digest: &Digest, buffer: &mut [u8]) -> Result<Option<Fault>, CheckError> {
    let mut file = match store.content().open(digest) {
        // Removed meanwhile.
        Err(ContentError::NotFound(_)) => return Ok(None),
        other => other?,
    };
    let mut digester = digest.algorithm().digester();
    let error = loop {
        match file.read(buffer) {
            Ok(0) => {
                let found = digester.finish();
                break (found != *digest).then(|| format!("its digest is {found}"));
            }
            Ok(count) => digester.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A disk that cannot read it any more.
            Err(error) => break Some(error.to_string()),
        }
    };
    Ok(error.map(|error| Fault::BlobDamaged {
        digest: digest.clone(),
        error,
    }))
}

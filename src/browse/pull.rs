//! Images that are pulled because somebody has named them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::error::BrowseError;
use crate::images::Contents;
use crate::meta::{ImageRecord, Namespace};
use crate::pull::{Observer, PullOptions, Unpack, mend, pull};
use crate::registry;
use crate::source::Source;
use crate::store::Store;

/// How long a pull that has failed is not tried again: to list one directory, programs name
/// what is in it several times.
const PATIENCE: Duration = Duration::from_secs(15);

/// Pulls images, each for one thread at a time.
#[derive(Debug)]
pub(super) struct Puller {
    store: Arc<Store>,
    namespace: Namespace,
    attempts: Mutex<HashMap<String, Arc<Attempt>>>,
}

/// The attempt to pull one image; holds when it has failed, and with what.
#[derive(Debug, Default)]
struct Attempt(Mutex<Option<(Instant, Errno)>>);

impl Puller {
    pub(super) fn new(store: Arc<Store>, namespace: Namespace) -> Self {
        Self {
            store,
            namespace,
            attempts: Mutex::default(),
        }
    }

    /// Pulls the image of a full name from its registry, unless another thread has done it
    /// meanwhile.
    pub(super) fn pull(
        &self,
        name: &str,
        is_there: impl FnOnce() -> Result<bool, BrowseError>,
    ) -> Result<(), BrowseError> {
        self.attempt(name, || {
            if is_there()? {
                return Ok(());
            }
            let source = Source::parse(name, &options())?;
            let options = PullOptions::new(name.to_owned(), self.namespace.clone());
            let (store, observer) = (Arc::clone(&self.store), Observer::default());
            let work = pull(store, Arc::new(source), &options, observer);
            runtime()?.block_on(work)?;
            Ok(())
        })
    }

    /// Makes sure that the layers of an image can be used.
    pub(super) fn mend(&self, image: &ImageRecord, contents: &Contents) -> Result<(), BrowseError> {
        let layers = self.store.layers();
        if layers.require(contents.config.diff_ids()).is_ok() {
            return Ok(());
        }
        self.attempt(&image.name, || {
            let work = Unpack {
                image,
                contents,
                namespace: &self.namespace,
                registry: &options(),
                observer: Observer::default(),
            };
            runtime()?.block_on(mend(&self.store, &work))?;
            Ok(())
        })
    }

    fn attempt(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<(), BrowseError>,
    ) -> Result<(), BrowseError> {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(attempts.entry(name.to_owned()).or_default())
        };
        let mut failed = attempt.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, errno)) = *failed
            && when.elapsed() < PATIENCE
        {
            return Err(BrowseError::FailedBefore(errno));
        }
        let outcome = work();
        *failed = outcome
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.errno()));
        outcome
    }
}

fn options() -> registry::Options {
    registry::Options {
        hosts_dirs: registry::default_hosts_dirs(),
        ..registry::Options::default()
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, BrowseError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(BrowseError::Runtime)
}

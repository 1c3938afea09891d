//! What a pull tells whoever watches it.

use std::fmt;
use std::sync::Arc;

use crate::oci::Digest;

/// How far one layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Others are served first, here or in another process.
    Waiting,
    /// The layer was there already.
    Exists,
    /// Its blob is being fetched, and unpacked as it comes.
    Downloading {
        /// Bytes so far, those of earlier tries included.
        bytes: u64,
        /// Bytes of the whole blob.
        total: u64,
    },
    /// Its blob is there, and it is being unpacked.
    Unpacking,
    /// It is unpacked.
    Done,
}

/// Called with a layer's compressed digest and how far it is, from several threads.
#[derive(Clone)]
pub struct Observer(Arc<Callback>);

type Callback = dyn Fn(&Digest, State) + Send + Sync;

impl Observer {
    /// Returns an observer that calls a function.
    pub fn new(function: impl Fn(&Digest, State) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(super) fn tell(&self, digest: &Digest, state: State) {
        (self.0)(digest, state);
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

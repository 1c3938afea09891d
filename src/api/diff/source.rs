//! Where the blob is that is to be applied: in this store, or in that of the containerd which
//! has this server unpack it.

use tokio::task::JoinSet;
use tonic::Status;

use super::super::call::{Call, blocking};
use super::super::status::status;
use crate::apply::{Applied, Supply, UNCOMPRESSED};
use crate::containerd::Containerd;
use crate::content::{Blobs, ContentError};
use crate::meta::Labels;
use crate::oci::{DiffId, Digest};

/// A blob that can be had.
#[derive(Debug)]
pub(super) struct Source {
    call: Call,
    digest: Digest,
    labels: Labels,
    /// Who has it, if not this store.
    containerd: Option<Containerd>,
}

/// The bytes of a blob, and what brings them here while this lives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) supply: Supply,
    pub(super) task: Option<JoinSet<()>>,
}

impl Source {
    /// Finds a blob.
    pub(super) async fn find(
        call: &Call,
        digest: &Digest,
        containerd: Option<&Containerd>,
    ) -> Result<Self, Status> {
        let own = {
            let (call, digest) = (call.clone(), digest.clone());
            blocking(move || match blobs(&call).info(&digest) {
                Ok(record) => Ok(Ok(record.labels)),
                Err(error @ ContentError::NotFound(_)) => Ok(Err(error)),
                Err(error) => Err(status(&error)),
            })
        };
        let (labels, containerd) = match (own.await?, containerd) {
            (Ok(labels), _) => (labels, None),
            (Err(error), None) => return Err(status(&error)),
            (Err(_), Some(containerd)) => {
                let labels = containerd.labels(&call.namespace, digest).await;
                let labels = labels.map_err(|error| status(&error))?;
                (labels, Some(containerd.clone()))
            }
        };
        Ok(Self {
            call: call.clone(),
            digest: digest.clone(),
            labels,
            containerd,
        })
    }

    /// Returns whether the blob is in this store.
    pub(super) fn is_own(&self) -> bool {
        self.containerd.is_none()
    }

    /// Returns the layer that the blob is said to hold.
    pub(super) fn diff_id(&self) -> Option<DiffId> {
        self.labels.get(UNCOMPRESSED)?.parse().ok()
    }

    /// Opens the blob.
    pub(super) async fn open(&self) -> Result<Opened, Status> {
        if let Some(containerd) = &self.containerd {
            let reading = containerd.read(&self.call.namespace, &self.digest).await;
            let reading = reading.map_err(|error| status(&error))?;
            return Ok(Opened {
                supply: Supply::Stream(reading.pieces),
                task: Some(reading.task),
            });
        }
        let file = self.call.store.content().open(&self.digest);
        Ok(Opened {
            supply: Supply::File(file.map_err(|error| status(&error))?),
            task: None,
        })
    }

    /// Says on a blob of this store which layer it holds.
    pub(super) fn label(&self, applied: &Applied) -> Result<(), Status> {
        if !self.is_own() || self.diff_id().as_ref() == Some(&applied.diff_id) {
            return Ok(());
        }
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), applied.diff_id.to_string())]);
        let mask = format!("labels.{UNCOMPRESSED}");
        blobs(&self.call)
            .update(&self.digest, &labels, &[&mask])
            .map(drop)
            .map_err(|error| status(&error))
    }
}

fn blobs(call: &Call) -> Blobs {
    Blobs::new(&call.store, call.namespace.clone())
}

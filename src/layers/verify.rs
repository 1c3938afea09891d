//! Proof that a layer is what its diff ID says.

use std::fs;
use std::io;

use super::{BOOT, LayerError, LayerState, Layers, SYNCED, failed, mark_synced};
use crate::oci::DiffId;

/// A layer that was read from end to end and found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The layer.
    pub diff_id: DiffId,
    /// The bytes of its data.
    pub size: u64,
}

impl Layers {
    /// Computes the digest of a layer's data anew, makes its index from it anew, and
    /// compares both. A layer that is not right is not believed any more, so that the
    /// next pull makes it anew.
    pub fn verify(&self, diff_id: &DiffId) -> Result<Verified, LayerError> {
        let verified = self.compare(diff_id);
        if let Err(error) = &verified
            && !is_out_of_our_hands(error)
        {
            self.doubt(diff_id)?;
        }
        verified
    }

    fn compare(&self, diff_id: &DiffId) -> Result<Verified, LayerError> {
        let layer = self.open(diff_id)?;
        let mut digester = diff_id.0.algorithm().digester();
        let mut size = 0;
        let matches = layer.matches_data(|bytes| {
            digester.update(bytes);
            size += bytes.len() as u64;
        });
        let found = digester.finish();
        let is_matching = match matches {
            // Data that is no archive any more is told by its digest.
            Err(mica_fuse::Error::Tar(_)) if found != diff_id.0 => false,
            other => other.map_err(|source| LayerError::Packed {
                diff_id: diff_id.clone(),
                source,
            })?,
        };
        if found != diff_id.0 {
            return Err(LayerError::DiffId {
                expected: diff_id.clone(),
                found,
            });
        }
        if !is_matching {
            return Err(LayerError::Index(diff_id.clone()));
        }
        Ok(Verified {
            diff_id: diff_id.clone(),
            size,
        })
    }

    /// Makes sure that layers can be used; see [`Self::prove`].
    pub fn require(&self, diff_ids: &[DiffId]) -> Result<(), LayerError> {
        for diff_id in diff_ids {
            if !self.prove(diff_id)? {
                return Err(LayerError::Unusable(diff_id.clone()));
            }
        }
        Ok(())
    }

    /// Says whether a layer can be used, after proving it where a crash has left
    /// doubt. A layer that is damaged counts as missing.
    pub(crate) fn prove(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        match self.state(diff_id)? {
            LayerState::Missing => Ok(false),
            LayerState::Ready => Ok(true),
            LayerState::Unproven => {
                let proof = self.verify(diff_id);
                self.judge(
                    diff_id,
                    proof.and_then(|_| mark_synced(&self.path(diff_id))),
                )
            }
        }
    }

    /// Says whether a layer can be used, as [`Self::prove`] does, and looks at its index
    /// also where nothing leaves doubt.
    pub(crate) fn prove_index(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        Ok(self.prove(diff_id)? && self.judge(diff_id, self.open(diff_id).map(drop))?)
    }

    /// Tells damage from what is out of our hands, and remembers it.
    fn judge(&self, diff_id: &DiffId, proof: Result<(), LayerError>) -> Result<bool, LayerError> {
        match proof {
            Ok(()) => Ok(true),
            Err(error) if is_out_of_our_hands(&error) => Err(error),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(layer = %diff_id, error, "a layer is damaged");
                self.doubt(diff_id)?;
                Ok(false)
            }
        }
    }

    /// Takes away what says that a layer is whole.
    fn doubt(&self, diff_id: &DiffId) -> Result<(), LayerError> {
        for name in [SYNCED, BOOT] {
            let mark = self.path(diff_id).join(name);
            match fs::remove_file(&mark) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &mark)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Says whether the machine has failed rather than the layer. A file that is not there
/// never reached the disk.
fn is_out_of_our_hands(error: &LayerError) -> bool {
    match error {
        LayerError::Io { source, .. } => source.kind() != io::ErrorKind::NotFound,
        LayerError::Packed {
            source: mica_fuse::Error::System { source, .. },
            ..
        } => *source != rustix::io::Errno::NOENT,
        _ => false,
    }
}

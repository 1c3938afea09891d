//! Proof that a layer is what its diff ID says.

use std::error::Error as _;
use std::fs::{self, File};
use std::io::{self, Read as _};

use super::{BOOT, DATA, LayerError, LayerState, Layers, SYNCED, failed, mark_synced};
use crate::oci::DiffId;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

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

    /// Says what is wrong with a layer, and changes nothing.
    pub(crate) fn inspect(&self, diff_id: &DiffId) -> Result<Option<String>, LayerError> {
        match self.compare(diff_id) {
            // Another process has removed it meanwhile.
            Ok(_) | Err(LayerError::NotFound(_)) => Ok(None),
            Err(error) if is_out_of_our_hands(&error) => Err(error),
            Err(error) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    text = format!("{text}: {error}");
                    cause = error.source();
                }
                Ok(Some(text))
            }
        }
    }

    /// Makes a layer anew from its own data, if these have its digest; says whether they
    /// have. If not, the layer is not believed any more. The caller holds its lock.
    pub(crate) fn remake(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        self.doubt(diff_id)?;
        let path = self.path(diff_id).join(DATA);
        let mut data = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(failed("open", &path))?,
        };
        let mut unpacking = self.unpack(diff_id)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = data.read(&mut buffer).map_err(failed("read", &path))?;
            match unpacking.push(buffer.get(..count).unwrap_or_default()) {
                Err(error) if is_out_of_our_hands(&error) => return Err(error),
                Err(_) => return Ok(false),
                Ok(()) if count == 0 => break,
                Ok(()) => {}
            }
        }
        match unpacking.finish() {
            Err(error) if is_out_of_our_hands(&error) => return Err(error),
            Err(_) => return Ok(false),
            Ok(()) => {}
        }
        self.make_durable(diff_id)?;
        Ok(true)
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
        for (diff_id, state) in diff_ids.iter().zip(self.states(diff_ids)?) {
            if !self.prove_from(diff_id, state)? {
                return Err(LayerError::Unusable(diff_id.clone()));
            }
        }
        Ok(())
    }

    /// Says whether a layer can be used, after proving it where a crash has left
    /// doubt. A layer that is damaged counts as missing.
    pub(crate) fn prove(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        self.prove_from(diff_id, self.state(diff_id)?)
    }

    fn prove_from(&self, diff_id: &DiffId, state: LayerState) -> Result<bool, LayerError> {
        match state {
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

    /// Says whether a layer can be used, as [`Self::prove`] does, and looks at its index and
    /// the length of its data also where nothing leaves doubt.
    pub(crate) fn prove_index(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        Ok(self.prove(diff_id)? && self.judge(diff_id, self.measure(diff_id))?)
    }

    /// Makes sure that there is as much data as the index says.
    fn measure(&self, diff_id: &DiffId) -> Result<(), LayerError> {
        let expected = self.open(diff_id)?.size();
        let path = self.path(diff_id).join(DATA);
        let found = fs::metadata(&path).map_err(failed("stat", &path))?.len();
        if found == expected {
            return Ok(());
        }
        Err(LayerError::Length {
            diff_id: diff_id.clone(),
            expected,
            found,
        })
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

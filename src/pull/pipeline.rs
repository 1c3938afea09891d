//! From compressed bytes to a published layer.
//!
//! The supply is hashed and stored as it is read. The blob is published first: from then
//! on the layer can be made again.

use super::PullError;
use super::supply::SupplyReader;
use crate::content::ContentError;
use crate::inflate::inflate;
use crate::layers::{LayerError, Unpacking};
use crate::oci::Digest;

/// Unpacks a layer and publishes its blob and itself. Runs on a blocking thread.
///
/// When several things are wrong, the cause is told rather than the consequence: a
/// blob that could not be had or is not itself before what came out of it.
pub(super) fn run(
    mut supply: SupplyReader,
    unpacking: Unpacking,
    digest: &Digest,
) -> Result<(), PullError> {
    let (inflated, unpacked) = inflate(&mut supply, unpacking);
    if is_out_of_our_hands(&unpacked) {
        unpacked?;
        return Ok(());
    }
    supply.finish()?;
    let unpacking = unpacked?;
    inflated.map_err(|source| PullError::Compression {
        digest: digest.clone(),
        source,
    })?;
    unpacking.finish()?;
    Ok(())
}

/// Says whether the machine has failed rather than the layer: then the rest of the
/// blob need not be fetched.
fn is_out_of_our_hands(unpacked: &Result<Unpacking, LayerError>) -> bool {
    match unpacked {
        Err(LayerError::Packed { source, .. }) => matches!(source, mica_fuse::Error::System { .. }),
        Err(_) => true,
        Ok(_) => false,
    }
}

/// Says whether the bytes that were there before are to blame.
pub(super) fn is_stale(error: &PullError) -> bool {
    matches!(error, PullError::Content(ContentError::Digest { .. }))
}

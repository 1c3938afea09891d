//! Packing: the directory of a committed snapshot becomes a layer of the layer store.

use std::io::{self, Write};
use std::sync::Arc;

use super::{DiffError, Difference};
use crate::layers::{Layers, Unpacking};
use crate::leases::{Leases, Resource};
use crate::meta::Kind;
use crate::oci::{Algorithm, DiffId, Digester};
use crate::snapshots::{SnapshotError, Snapshots};
use crate::store::Store;

/// Bytes that are handed to the layer store at once.
const PIECE: usize = 256 * 1024;

/// Takes the digest of what is written.
struct DigestWriter(Digester);

/// Writes into a layer of the store.
struct LayerSink(Unpacking);

/// Makes a packed layer of the directory of a committed snapshot, which refers to the layer
/// from then on; the directory is left to the next sweep. Returns the layer's diff ID. Of a
/// snapshot that is packed already nothing is made.
///
/// The layer is written twice, first for its digest alone: a layer is unpacked under the
/// lock of its diff ID, and not at all where it is there already.
pub async fn pack(
    store: &Arc<Store>,
    snapshots: &Snapshots,
    name: &str,
) -> Result<DiffId, DiffError> {
    let record = snapshots.stat(name)?;
    if record.kind != Kind::Committed {
        return Err(SnapshotError::NotCommitted(record.name).into());
    }
    let id = match (record.layer, record.id) {
        (Some(diff_id), _) => return Ok(diff_id),
        (None, Some(id)) => id,
        (None, None) => return Err(SnapshotError::NotFound(record.name).into()),
    };
    let difference = Difference::of_snapshot(store, snapshots, name)?;
    let digested = tokio::task::spawn_blocking(move || {
        let digester = DigestWriter(Algorithm::Sha256.digester());
        let DigestWriter(digester) = difference.write_layer(digester, None)?;
        Ok::<_, DiffError>((difference, DiffId(digester.finish())))
    });
    let (difference, diff_id) = digested.await??;
    let leases = Leases::new(store, snapshots.namespace().clone());
    let lease = leases.hold("pack", vec![Resource::layer(&diff_id)])?;
    let layers = store.layers();
    let _lock = layers.lock(&diff_id).await?;
    let wanted = diff_id.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        unpack(&layers, &difference, &wanted)?;
        Ok::<_, DiffError>(difference)
    });
    // It keeps the directory as it is, until the record names the layer.
    let _difference = unpacked.await??;
    snapshots.refer_to_layer(name, id, &diff_id)?;
    lease.end()?;
    Ok(diff_id)
}

fn unpack(layers: &Layers, difference: &Difference, diff_id: &DiffId) -> Result<(), DiffError> {
    if !layers.prove_index(diff_id)? {
        let sink = LayerSink(layers.unpack(diff_id)?);
        let sink = io::BufWriter::with_capacity(PIECE, sink);
        let sink = difference.write_layer(sink, None)?.into_inner();
        let LayerSink(unpacking) = sink.map_err(|error| DiffError::Write(error.into_error()))?;
        unpacking.finish()?;
    }
    // There is no blob to make it anew from.
    layers.make_durable(diff_id)?;
    Ok(())
}

impl Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for LayerSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Packing: a directory, of a committed snapshot or any other, becomes a layer of the layer
//! store.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::directory::DirectoryTree;
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

/// What is written as a layer. Nobody changes it while this lives.
#[derive(Debug)]
enum Source {
    Snapshot(Box<Difference>),
    Directory(Box<DirectoryTree>),
}

/// Makes a packed layer of the directory of a committed snapshot, which refers to the layer
/// from then on; the directory is left as garbage. Returns the layer's diff ID. Of a
/// snapshot that is packed already nothing is made.
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
        (_, Some(id)) => id,
        (Some(diff_id), None) => return Ok(diff_id),
        (None, None) => return Err(SnapshotError::NotFound(record.name).into()),
    };
    let source = Source::Snapshot(Box::new(Difference::of_snapshot(store, snapshots, name)?));
    make(store, snapshots, source, |diff_id| {
        snapshots.refer_to_layer(name, id, diff_id)
    })
    .await
}

/// Makes a packed layer of a directory in the form of overlayfs, and a committed snapshot of
/// it alone, which is named by its diff ID. Returns that.
pub async fn pack_directory(
    store: &Arc<Store>,
    snapshots: &Snapshots,
    path: &Path,
) -> Result<DiffId, DiffError> {
    let source = Source::Directory(Box::new(DirectoryTree::open(path)?));
    make(store, snapshots, source, |diff_id| {
        snapshots.commit_layer(diff_id)
    })
    .await
}

/// Makes a layer, and has it recorded.
///
/// The layer is written twice, first for its digest alone: a layer is unpacked under the
/// lock of its diff ID, and not at all where it is there already.
async fn make(
    store: &Arc<Store>,
    snapshots: &Snapshots,
    source: Source,
    record: impl FnOnce(&DiffId) -> Result<(), SnapshotError>,
) -> Result<DiffId, DiffError> {
    let digested = tokio::task::spawn_blocking(move || {
        let digester = DigestWriter(Algorithm::Sha256.digester());
        let DigestWriter(digester) = source.write_layer(digester)?;
        Ok::<_, DiffError>((source, DiffId(digester.finish())))
    });
    let (source, diff_id) = digested.await??;
    let leases = Leases::new(store, snapshots.namespace().clone());
    let lease = leases.hold("pack", vec![Resource::layer(&diff_id)])?;
    let layers = store.layers();
    let _lock = layers.lock(&diff_id).await?;
    let wanted = diff_id.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        unpack(&layers, &source, &wanted)?;
        Ok::<_, DiffError>(source)
    });
    // It keeps the directory of a snapshot as it is, until the record names the layer.
    let _source = unpacked.await??;
    record(&diff_id)?;
    lease.end()?;
    Ok(diff_id)
}

fn unpack(layers: &Layers, source: &Source, diff_id: &DiffId) -> Result<(), DiffError> {
    if !layers.prove_index(diff_id)? {
        let sink = LayerSink(layers.unpack(diff_id)?);
        let sink = io::BufWriter::with_capacity(PIECE, sink);
        let sink = source.write_layer(sink)?.into_inner();
        let LayerSink(unpacking) = sink.map_err(|error| DiffError::Write(error.into_error()))?;
        unpacking.finish()?;
    }
    // There is no blob to make it anew from.
    layers.make_durable(diff_id)?;
    Ok(())
}

impl Source {
    fn write_layer<W: Write>(&self, output: W) -> Result<W, DiffError> {
        match self {
            Self::Snapshot(difference) => difference.write_layer(output, None),
            Self::Directory(tree) => tree.write_layer(output),
        }
    }
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

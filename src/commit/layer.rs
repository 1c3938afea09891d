//! One new layer: read once, kept twice.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use super::{CommitError, CommitOptions, Compression, NewLayer};
use crate::compress::Compressor;
use crate::content::{SealedBlob, StagedBlob};
use crate::diff::{DiffError, Difference};
use crate::layers::{LayerError, UnpackedLayer, Unpacking};
use crate::leases::{HeldLease, Resource};
use crate::meta::SnapshotRecord;
use crate::oci::{Descriptor, DiffId, MediaType};
use crate::snapshots::Snapshots;
use crate::store::Store;

/// Bytes that go through at once.
const PIECE: usize = 256 << 10;
/// The bytes of an archive without entries.
const EMPTY: u64 = 1024;

/// Takes the tar of a layer.
struct Sink {
    unpacking: Unpacking,
    compressor: Compressor<StagedBlob>,
    bytes: u64,
    /// What the layer store has refused, which an I/O error cannot carry.
    failure: Option<LayerError>,
}

/// What makes the layers of one commit.
#[derive(Debug)]
pub(super) struct LayerMaker<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) snapshots: &'a Snapshots,
    pub(super) lease: &'a HeldLease,
    pub(super) options: &'a CommitOptions,
    /// Whether the layer gets Docker's media type.
    pub(super) is_docker: bool,
}

/// A layer that is whole, in both of its forms, and has no name yet.
struct Written {
    blob: SealedBlob,
    unpacked: Unpacked,
    /// Keeps the snapshot as it is until the layer has a name.
    _difference: Option<Difference>,
}

/// A layer of the layer store, or one that is to be.
enum Unpacked {
    New(UnpackedLayer),
    There(DiffId),
}

impl LayerMaker<'_> {
    /// Makes a layer of what a snapshot has changed; none where it has changed nothing.
    pub(super) async fn make(
        &self,
        snapshot: &SnapshotRecord,
    ) -> Result<Option<NewLayer>, CommitError> {
        let (store, snapshots) = (Arc::clone(self.store), self.snapshots.clone());
        let (snapshot, compression, latest) = (
            snapshot.clone(),
            self.options.compression,
            self.options.latest,
        );
        let work = move || match snapshot.packed().cloned() {
            Some(diff_id) => {
                compress(&store, &snapshot.name, diff_id, compression).map(Option::Some)
            }
            None => write(&store, &snapshots, &snapshot.name, compression, latest),
        };
        let Some(written) = tokio::task::spawn_blocking(work).await?? else {
            return Ok(None);
        };
        let diff_id = written.unpacked.diff_id().clone();
        let blob = &written.blob;
        let descriptor = Descriptor::new(self.media_type(), blob.digest().clone(), blob.size());
        self.lease.add(vec![
            Resource::content(&descriptor.digest),
            Resource::layer(&diff_id),
        ])?;
        let layers = self.store.layers();
        let _lock = layers.lock(&diff_id).await?;
        let publish = move || -> Result<(), CommitError> {
            // The blob first: from then on the layer can be made again.
            written.blob.publish()?;
            if let Unpacked::New(unpacked) = written.unpacked
                && !layers.prove_index(unpacked.diff_id())?
            {
                unpacked.publish()?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(publish).await??;
        Ok(Some(NewLayer {
            descriptor,
            diff_id,
        }))
    }

    fn media_type(&self) -> &'static str {
        match (self.options.compression, self.is_docker) {
            (Compression::Gzip, true) => MediaType::DOCKER_LAYER_GZIP,
            (Compression::Gzip, false) => MediaType::OCI_LAYER_GZIP,
            (Compression::Zstd, _) => MediaType::OCI_LAYER_ZSTD,
        }
    }
}

impl Unpacked {
    fn diff_id(&self) -> &DiffId {
        match self {
            Self::New(layer) => layer.diff_id(),
            Self::There(diff_id) => diff_id,
        }
    }
}

/// Writes the changes of a snapshot that has a directory.
fn write(
    store: &Store,
    snapshots: &Snapshots,
    name: &str,
    compression: Compression,
    latest: Option<i64>,
) -> Result<Option<Written>, CommitError> {
    let difference = Difference::of_snapshot(store, snapshots, name)?;
    let sink = Sink {
        unpacking: store.layers().make()?,
        compressor: Compressor::new(compression, store.content().stage()?).map_err(failed(name))?,
        bytes: 0,
        failure: None,
    };
    let mut output = BufWriter::with_capacity(PIECE, sink);
    let result = match difference.write_layer(&mut output, latest) {
        Ok(output) => output.flush().map_err(DiffError::Write),
        Err(error) => Err(error),
    };
    let (mut sink, _) = output.into_parts();
    if let Some(failure) = sink.failure.take() {
        return Err(failure.into());
    }
    result?;
    if sink.bytes <= EMPTY {
        return Ok(None);
    }
    Ok(Some(Written {
        blob: sink.compressor.finish().map_err(failed(name))?.seal(),
        unpacked: Unpacked::New(sink.unpacking.complete()?),
        _difference: Some(difference),
    }))
}

/// Compresses a layer of the layer store.
fn compress(
    store: &Store,
    name: &str,
    diff_id: DiffId,
    compression: Compression,
) -> Result<Written, CommitError> {
    store.layers().require(std::slice::from_ref(&diff_id))?;
    let mut data = store.layers().open_data(&diff_id)?;
    let compressor = Compressor::new(compression, store.content().stage()?);
    let mut compressor = compressor.map_err(failed(name))?;
    io::copy(&mut data, &mut compressor).map_err(failed(name))?;
    Ok(Written {
        blob: compressor.finish().map_err(failed(name))?.seal(),
        unpacked: Unpacked::There(diff_id),
        _difference: None,
    })
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(failure) = self.unpacking.push(bytes) {
            self.failure = Some(failure);
            return Err(io::Error::other("the layer store has failed"));
        }
        self.compressor.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(name: &str) -> impl Fn(io::Error) -> CommitError {
    move |source| CommitError::Compress {
        name: name.to_owned(),
        source,
    }
}

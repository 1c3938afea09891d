//! A difference as a blob of the content store.

use std::io::{self, BufWriter, Write};

use super::{DiffError, Difference};
use crate::compress::{Compression, Compressor};
use crate::content::{ContentError, Writer};
use crate::meta::Labels;
use crate::oci::{Algorithm, Descriptor, DiffId, Digester, MediaType};

/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;
/// The label of a blob that names the layer it holds.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// How a layer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerForm(Option<Compression>);

/// Takes a layer's tar, and hands it on.
struct Sink<W> {
    output: W,
    digester: Digester,
}

/// Hands what is written to a writer of content.
struct Store<'w> {
    writer: &'w mut Writer,
    /// What the content store has refused, which an I/O error cannot carry.
    failure: &'w mut Option<ContentError>,
}

impl LayerForm {
    /// Returns the form that a media type stands for; the usual one for none.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            MediaType::OCI_LAYER => Some(Self(None)),
            "" | MediaType::OCI_LAYER_GZIP => Some(Self(Some(Compression::Gzip))),
            MediaType::OCI_LAYER_ZSTD => Some(Self(Some(Compression::Zstd))),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self.0 {
            None => MediaType::OCI_LAYER,
            Some(Compression::Gzip) => MediaType::OCI_LAYER_GZIP,
            Some(Compression::Zstd) => MediaType::OCI_LAYER_ZSTD,
        }
    }
}

impl Difference {
    /// Writes what the later tree has changed as a blob that begins with the writer, and
    /// labels it with its diff ID. A blob that is there already stays as it is.
    pub fn write_blob(
        &self,
        mut writer: Writer,
        form: LayerForm,
        latest: Option<i64>,
        mut labels: Labels,
    ) -> Result<Descriptor, DiffError> {
        writer.truncate()?;
        let mut failure = None;
        let output = Store {
            writer: &mut writer,
            failure: &mut failure,
        };
        let written = match form.0 {
            None => self.write_into(output, latest).map(|(_, diff_id)| diff_id),
            Some(compression) => self.compress_into(output, compression, latest),
        };
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        labels.insert(UNCOMPRESSED.to_owned(), written?.to_string());
        let (digest, size) = (writer.digest(), writer.offset());
        match writer.commit(size, Some(&digest), labels) {
            Ok(_) | Err(ContentError::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Descriptor::new(form.media_type(), digest, size))
    }

    fn compress_into(
        &self,
        output: impl Write,
        compression: Compression,
        latest: Option<i64>,
    ) -> Result<DiffId, DiffError> {
        let compressor = Compressor::new(compression, output).map_err(DiffError::Write)?;
        let (compressor, diff_id) = self.write_into(compressor, latest)?;
        compressor.finish().map_err(DiffError::Write)?;
        Ok(diff_id)
    }

    fn write_into<W: Write>(
        &self,
        output: W,
        latest: Option<i64>,
    ) -> Result<(W, DiffId), DiffError> {
        let sink = Sink {
            output,
            digester: Algorithm::Sha256.digester(),
        };
        let buffered = self.write_layer(BufWriter::with_capacity(PIECE, sink), latest)?;
        let sink = buffered.into_inner();
        let Sink { output, digester } =
            sink.map_err(|error| DiffError::Write(error.into_error()))?;
        Ok((output, DiffId(digester.finish())))
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.digester.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl Write for Store<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(failure) = self.writer.write(bytes) {
            *self.failure = Some(failure);
            return Err(io::Error::other("the content store has failed"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

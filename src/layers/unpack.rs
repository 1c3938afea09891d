//! The making of one layer: bytes of its tar in, a published layer out.

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use mica_fuse::Builder;
use rustix::fs::{Mode, OFlags};

use super::{LayerError, LayerState, Layers, boot_id, failed};
use crate::oci::{Algorithm, DiffId, Digester};
use crate::publish::{Published, Staging};

/// A layer that is being unpacked; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Unpacking {
    layers: Layers,
    /// `None` for a layer that is made here, whose diff ID its bytes will tell.
    expected: Option<DiffId>,
    digester: Digester,
    builder: Builder,
    staging: Staging,
}

/// A layer that is whole and has no name yet.
#[derive(Debug)]
pub(crate) struct UnpackedLayer {
    layers: Layers,
    diff_id: DiffId,
    staging: Staging,
}

impl Layers {
    /// Begins to unpack a layer. The caller holds its lock.
    pub(crate) fn unpack(&self, diff_id: &DiffId) -> Result<Unpacking, LayerError> {
        self.begin(Some(diff_id), diff_id.0.algorithm())
    }

    /// Begins a layer that is made here.
    pub(crate) fn make(&self) -> Result<Unpacking, LayerError> {
        self.begin(None, Algorithm::Sha256)
    }

    fn begin(
        &self,
        expected: Option<&DiffId>,
        algorithm: Algorithm,
    ) -> Result<Unpacking, LayerError> {
        let staging =
            Staging::directory(&self.tmp).map_err(failed("create directory in", &self.tmp))?;
        let directory = rustix::fs::open(
            staging.path(),
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| failed("open", staging.path())(errno.into()))?;
        let name = name_of(expected);
        let builder = Builder::new(directory.as_fd(), &name).map_err(packed(expected))?;
        Ok(Unpacking {
            layers: self.clone(),
            expected: expected.cloned(),
            digester: algorithm.digester(),
            builder,
            staging,
        })
    }
}

impl Unpacking {
    /// Takes the next bytes of the tar.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.digester.update(bytes);
        self.builder
            .push(bytes)
            .map_err(packed(self.expected.as_ref()))
    }

    /// Publishes the layer, if it is the one that was wanted.
    ///
    /// Its bytes need not be on the disk yet: see [`crate::layers`].
    pub(crate) fn finish(self) -> Result<(), LayerError> {
        self.complete()?.publish()
    }

    /// Ends the layer, which then has a diff ID: the one that was wanted.
    pub(crate) fn complete(self) -> Result<UnpackedLayer, LayerError> {
        let found = self.digester.finish();
        let diff_id = match self.expected {
            Some(expected) if expected.0 != found => {
                return Err(LayerError::DiffId { expected, found });
            }
            _ => DiffId(found),
        };
        self.builder.finish().map_err(packed(Some(&diff_id)))?;
        let mark = self.staging.path().join(super::BOOT);
        fs::write(&mark, boot_id()?).map_err(failed("write", &mark))?;
        Ok(UnpackedLayer {
            layers: self.layers,
            diff_id,
            staging: self.staging,
        })
    }
}

impl UnpackedLayer {
    /// Returns the digest of the layer's bytes.
    pub(crate) fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }

    /// Gives the layer its name. The caller holds its lock.
    pub(crate) fn publish(self) -> Result<(), LayerError> {
        let Self {
            layers,
            diff_id,
            staging,
        } = self;
        let path = layers.path(&diff_id);
        if layers.state(&diff_id)? == LayerState::Unproven {
            // It may be all that there is of the layer, so that the new one has to be on the
            // disk first.
            for name in [super::DATA, super::INDEX] {
                let file = staging.path().join(name);
                let synced = File::open(&file).and_then(|file| file.sync_all());
                synced.map_err(failed("sync", &file))?;
            }
            return staging.replace(&path).map_err(failed("replace", &path));
        }
        match staging.publish(&path).map_err(failed("publish", &path))? {
            Published::New | Published::Exists => Ok(()),
        }
    }
}

fn packed(diff_id: Option<&DiffId>) -> impl Fn(mica_fuse::Error) -> LayerError {
    move |source| match diff_id {
        Some(diff_id) => LayerError::Packed {
            diff_id: diff_id.clone(),
            source,
        },
        None => LayerError::New(source),
    }
}

fn name_of(diff_id: Option<&DiffId>) -> String {
    diff_id.map_or_else(|| "(new)".to_owned(), DiffId::to_string)
}

//! The making of one layer: bytes of its tar in, a published layer out.

use std::fs;
use std::os::fd::AsFd as _;

use mica_fuse::Builder;
use rustix::fs::{Mode, OFlags};

use super::{LayerError, LayerState, Layers, boot_id, failed};
use crate::oci::{DiffId, Digester};
use crate::publish::{Published, Staging};

/// A layer that is being unpacked; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Unpacking {
    layers: Layers,
    diff_id: DiffId,
    digester: Digester,
    builder: Builder,
    staging: Staging,
}

impl Layers {
    /// Begins to unpack a layer. The caller holds its lock.
    pub(crate) fn unpack(&self, diff_id: &DiffId) -> Result<Unpacking, LayerError> {
        let staging =
            Staging::directory(&self.tmp).map_err(failed("create directory in", &self.tmp))?;
        let directory = rustix::fs::open(
            staging.path(),
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| failed("open", staging.path())(errno.into()))?;
        let builder = Builder::new(directory.as_fd(), &diff_id.to_string()).map_err(|source| {
            LayerError::Packed {
                diff_id: diff_id.clone(),
                source,
            }
        })?;
        Ok(Unpacking {
            layers: self.clone(),
            diff_id: diff_id.clone(),
            digester: diff_id.0.algorithm().digester(),
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
            .map_err(|source| LayerError::Packed {
                diff_id: self.diff_id.clone(),
                source,
            })
    }

    /// Publishes the layer, if it is the one that was wanted.
    ///
    /// Its bytes need not be on the disk yet: see [`crate::layers`].
    pub(crate) fn finish(self) -> Result<(), LayerError> {
        let Self {
            layers,
            diff_id,
            digester,
            builder,
            staging,
        } = self;
        let found = digester.finish();
        if found != diff_id.0 {
            return Err(LayerError::DiffId {
                expected: diff_id,
                found,
            });
        }
        builder.finish().map_err(|source| LayerError::Packed {
            diff_id: diff_id.clone(),
            source,
        })?;
        let mark = staging.path().join(super::BOOT);
        fs::write(&mark, boot_id()?).map_err(failed("write", &mark))?;
        let path = layers.path(&diff_id);
        if layers.state(&diff_id)? == LayerState::Unproven {
            layers.remove(&diff_id)?;
        }
        match staging.publish(&path).map_err(failed("publish", &path))? {
            Published::New | Published::Exists => Ok(()),
        }
    }
}

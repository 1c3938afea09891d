//! The bytes of one manifest, config or layer, wherever they come from.

use bytes::Bytes;

use super::error::SourceError;
use super::section::{Section, blocking};
use crate::oci::Descriptor;
use crate::registry;

/// Bytes that are read piece by piece, exactly as many as the descriptor says.
#[derive(Debug)]
pub struct Blob(Origin);

#[derive(Debug)]
enum Origin {
    Remote(Box<registry::Blob>),
    Local { section: Section, position: u64 },
}

impl Blob {
    pub(super) fn remote(blob: registry::Blob) -> Self {
        Self(Origin::Remote(Box::new(blob)))
    }

    pub(super) fn local(
        section: Section,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Self, SourceError> {
        let (path, digest) = (section.path.to_path_buf(), descriptor.digest.clone());
        if section.size != descriptor.size {
            let (expected, found) = (descriptor.size, section.size);
            return Err(SourceError::WrongSize {
                path,
                digest,
                expected,
                found,
            });
        }
        if offset > section.size {
            return Err(SourceError::Offset {
                path,
                digest,
                offset,
            });
        }
        Ok(Self(Origin::Local {
            section,
            position: offset,
        }))
    }

    /// Returns the next bytes, never an empty piece; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        match &mut self.0 {
            Origin::Remote(blob) => Ok(blob.next().await?),
            Origin::Local { section, position } => {
                let (part, at) = (section.clone(), *position);
                let bytes = blocking(move || part.read(at)).await?;
                *position += bytes.len() as u64;
                Ok((!bytes.is_empty()).then_some(bytes))
            }
        }
    }
}

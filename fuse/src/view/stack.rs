//! The layers of a view with their numbers, and the directories of single layers
//! that a merged directory is made of.

use super::identity::Identity;
use crate::layer::directory::Listing;
use crate::layer::packed::InodeIndex;
use crate::layer::{Dentries, Kind, Layer};
use crate::{DirectoryLayer, Error, Ino, PackedLayer, Result};

use rustix::io::Errno;

/// The layers, uppermost first.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) layers: Box<[Layer]>,
    pub(super) identity: Identity,
}

/// What one layer holds for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The position of the layer.
    pub(super) layer: u32,
    /// What it holds.
    pub(super) kind: Kind,
}

impl Stack {
    /// Returns the packed layer at a position.
    pub(super) fn packed(&self, layer: u32) -> Result<&PackedLayer> {
        match self.layers.get(layer as usize) {
            Some(Layer::Packed(packed)) => Ok(packed),
            _ => Err(Error::Refused(Errno::STALE)),
        }
    }

    /// Returns the directory layer at a position.
    pub(super) fn directory(&self, layer: u32) -> Result<&DirectoryLayer> {
        match self.layers.get(layer as usize) {
            Some(Layer::Directory(directory)) => Ok(directory),
            _ => Err(Error::Refused(Errno::STALE)),
        }
    }

    /// Returns the roots of the layers from a position downwards.
    pub(super) fn roots(&self, from: u32) -> Vec<Found> {
        let root = |layer: &Layer| match layer {
            Layer::Packed(_) => Kind::PackedDirectory {
                index: PackedLayer::ROOT,
                opaque: false,
            },
            Layer::Directory(_) => Kind::RealDirectory { opaque: false },
        };
        let layers = (0..).zip(&self.layers).skip(from as usize);
        layers
            .map(|(layer, form)| Found {
                layer,
                kind: root(form),
            })
            .collect()
    }

    /// Returns the inode number of what a layer holds at a path. A hard link into
    /// lower layers has the number of its target instead, which only the view knows.
    pub(super) fn ino(&self, found: Found, path: &[u8]) -> Result<Ino> {
        match found.kind {
            Kind::Packed(index, _) | Kind::PackedDirectory { index, .. } => {
                Ok(self.identity.packed(found.layer, index))
            }
            Kind::Real(_) | Kind::RealDirectory { .. } => Ok(self
                .identity
                .real(&self.directory(found.layer)?.attr(path)?)),
            Kind::Whiteout | Kind::LowerLink(_) => Err(Error::Refused(Errno::NOENT)),
        }
    }

    /// Opens the parts of a directory, given what the layers that may contribute
    /// hold for it, down to the first that is opaque (rule 4).
    pub(super) fn contributors(&self, path: &[u8], parts: &[Found]) -> Result<Vec<Contributor>> {
        let mut contributors = Vec::new();
        for part in parts {
            let contributor = self.contributor(path, *part)?;
            let is_opaque = match &contributor.names {
                Names::Packed(index) => self.packed(part.layer)?.inode(*index)?.opaque,
                Names::Listing(listing) => listing.opaque,
            };
            contributors.push(contributor);
            if is_opaque {
                break;
            }
        }
        Ok(contributors)
    }

    fn contributor(&self, path: &[u8], part: Found) -> Result<Contributor> {
        let names = match part.kind {
            Kind::PackedDirectory { index, .. } => Names::Packed(index),
            Kind::RealDirectory { .. } => Names::Listing(self.directory(part.layer)?.list(path)?),
            _ => return Err(Error::Refused(Errno::NOTDIR)),
        };
        Ok(Contributor {
            layer: part.layer,
            names,
        })
    }
}

/// A directory of one layer that contributes to a merged one.
#[derive(Debug)]
pub(super) struct Contributor {
    /// The position of the layer.
    pub(super) layer: u32,
    /// What it holds.
    pub(super) names: Names,
}

/// Where the names of a contributor are.
#[derive(Debug)]
pub(super) enum Names {
    /// In the index of a packed layer.
    Packed(InodeIndex),
    /// Here, since a directory layer would have to be read again.
    Listing(Listing),
}

impl Contributor {
    /// Returns the names.
    pub(super) fn dentries<'a>(&'a self, stack: &'a Stack) -> Result<Dentries<'a>> {
        match &self.names {
            Names::Packed(index) => {
                let layer = stack.packed(self.layer)?;
                Ok(Dentries::Packed(layer, layer.directory(*index)?))
            }
            Names::Listing(listing) => Ok(Dentries::Listing(listing)),
        }
    }
}

/// Returns the path of a name in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

//! The layers of a view with their numbers, and the directories of single layers
//! that a merged directory is made of.

mod parts;

use std::sync::Arc;

use super::identity::Identity;
use super::trail::Trail;
use crate::layer::directory::Listing;
pub(super) use crate::layer::directory::split;
use crate::layer::marks::Redirect;
use crate::layer::packed::InodeIndex;
use crate::layer::{Dentries, Kind, Layer};
use crate::{DirectoryLayer, Error, Ino, PackedLayer, Result};
use parts::Parts;

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
    pub(super) fn roots(&self, from: u32) -> Vec<Located> {
        let path: Arc<[u8]> = [].into();
        let layers = (0..).zip(&self.layers).skip(from as usize);
        layers
            .map(|(layer, form)| Located {
                layer,
                kind: form.root(),
                path: Arc::clone(&path),
            })
            .collect()
    }

    /// Returns the inode number of something in a layer. A hard link into lower
    /// layers has the number of its target instead, which only the view knows.
    pub(super) fn ino(&self, place: &Place) -> Result<Ino> {
        Ok(match place {
            Place::Packed(layer, index) => self.identity.packed(*layer, *index),
            Place::Real(layer, path) => self.identity.real(&self.directory(*layer)?.attr(path)?),
        })
    }

    /// Opens the parts of a directory, given its name, the contributors of the directory
    /// above, and what these have for the name down to the first that cuts.
    ///
    /// A part that says that the layers below have the directory elsewhere is followed by
    /// what they have there (rule 13); one that is opaque is the last (rule 4). The root
    /// has no name and lies nowhere else.
    pub(super) fn contributors(
        &self,
        parts: Vec<Located>,
        siblings: &[Contributor],
        name: &[u8],
    ) -> Result<Arc<[Contributor]>> {
        let mut contributors = Vec::new();
        let mut parts = Parts::new(self, parts);
        let mut trail: Option<Trail<'_>> = None;
        while let Some(contributor) = match &mut trail {
            None => parts.next()?,
            Some(trail) => trail
                .next_directory()?
                .map(|part| self.contributor(&part))
                .transpose()?,
        } {
            let beyond = contributor.beyond(self)?;
            let is_last = matches!(beyond, Beyond::Nothing);
            if let Beyond::At(redirect) = beyond
                && !name.is_empty()
            {
                trail
                    .get_or_insert_with(|| Trail::below(contributor.layer, self, siblings, name))
                    .follow(redirect);
            }
            contributors.push(contributor);
            if is_last {
                break;
            }
        }
        Ok(contributors.into())
    }

    /// Opens a directory of one layer.
    pub(super) fn contributor(&self, part: &Located) -> Result<Contributor> {
        let names = match part.kind {
            Kind::PackedDirectory { index, .. } => Names::Packed(index),
            Kind::RealDirectory { opaque } => {
                let mut listing = self.directory(part.layer)?.list(&part.path)?;
                // The mark beside it counts as one in it.
                listing.opaque |= opaque;
                Names::Listing(listing.into())
            }
            _ => return Err(Error::Refused(Errno::NOTDIR)),
        };
        Ok(Contributor {
            layer: part.layer,
            path: Arc::clone(&part.path),
            names,
        })
    }
}

/// What one layer holds for a name, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The position of the layer.
    pub(super) layer: u32,
    /// What it holds.
    pub(super) kind: Kind,
    /// The path in the layer. In a packed layer it is only known where a directory
    /// layer may have something to do with it.
    pub(super) path: Arc<[u8]>,
}

impl Located {
    /// Returns whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        matches!(
            self.kind,
            Kind::PackedDirectory { .. } | Kind::RealDirectory { .. }
        )
    }
}

/// An inode of some layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An inode of the packed layer at a position.
    Packed(u32, InodeIndex),
    /// A path in the directory layer at a position.
    Real(u32, Arc<[u8]>),
}

/// A directory of one layer that contributes to a merged one.
#[derive(Debug)]
pub(super) struct Contributor {
    /// The position of the layer.
    pub(super) layer: u32,
    /// Its path in the layer, as of [`Located`].
    pub(super) path: Arc<[u8]>,
    /// What it holds.
    pub(super) names: Names,
}

/// Where the names of a contributor are.
#[derive(Debug)]
pub(super) enum Names {
    /// In the index of a packed layer.
    Packed(InodeIndex),
    /// Here, since a directory layer would have to be read again.
    Listing(Box<Listing>),
}

/// What the marks on a directory and in it say of the layers below.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beyond<'a> {
    /// They may have it at the same place.
    Same,
    /// They may have it elsewhere.
    At(&'a Redirect),
    /// Nothing of what they have is shown.
    Nothing,
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

    /// Returns where the directory itself is.
    pub(super) fn place(&self) -> Place {
        match self.names {
            Names::Packed(index) => Place::Packed(self.layer, index),
            Names::Listing(_) => Place::Real(self.layer, Arc::clone(&self.path)),
        }
    }

    /// Returns the `st_dev` and number of the inode of a name, where a listing has them.
    pub(super) fn listed(&self, dentry: u32) -> Option<(u64, Ino)> {
        match &self.names {
            Names::Packed(_) => None,
            Names::Listing(listing) => listing.inode(dentry as usize),
        }
    }

    /// Returns where a name of a directory layer's directory is.
    pub(super) fn place_of(&self, dentry: u32) -> Result<Place> {
        let Names::Listing(listing) = &self.names else {
            return Err(Error::Refused(Errno::STALE));
        };
        let (name, _) = listing.at(dentry as usize)?;
        Ok(Place::Real(self.layer, join(&self.path, name).into()))
    }

    /// Returns what the directory says of the layers below. Opaque goes first.
    pub(super) fn beyond(&self, stack: &Stack) -> Result<Beyond<'_>> {
        Ok(match &self.names {
            Names::Packed(index) if stack.packed(self.layer)?.is_opaque(*index)? => Beyond::Nothing,
            Names::Packed(_) => Beyond::Same,
            Names::Listing(listing) if listing.opaque => Beyond::Nothing,
            Names::Listing(listing) => (listing.redirect.as_ref()).map_or(Beyond::Same, Beyond::At),
        })
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

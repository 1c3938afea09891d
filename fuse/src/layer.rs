//! The layers of a view: immutable trees, each one diff of a chain.
//!
//! A layer answers for itself only; what a chain of them shows is the business of
//! [`merge`](crate::merge). Both forms hand out a directory as sorted [`Dentries`].

pub(crate) mod directory;
pub(crate) mod marks;
pub(crate) mod override_stat;
pub(crate) mod packed;

use std::sync::Arc;

use directory::Listing;
use rustix::io::Errno;

use crate::merge::Held;
use crate::{DirectoryLayer, Error, FileType, PackedLayer, Result};
use packed::InodeIndex;

/// One layer of a view, in either of its forms.
#[derive(Clone, Debug)]
pub enum Layer {
    /// A tar with its index.
    Packed(Arc<PackedLayer>),
    /// A directory in overlayfs on-disk form.
    Directory(Arc<DirectoryLayer>),
}

impl Layer {
    /// Returns the name of the layer in messages: its diff ID or its path.
    pub fn label(&self) -> &str {
        match self {
            Self::Packed(layer) => layer.label(),
            Self::Directory(layer) => layer.label(),
        }
    }

    /// Returns what the layer holds for its root.
    pub(crate) fn root(&self) -> Kind {
        match self {
            Self::Packed(_) => Kind::PackedDirectory {
                index: PackedLayer::ROOT,
                opaque: false,
            },
            Self::Directory(_) => Kind::RealDirectory { opaque: false },
        }
    }

    /// Returns whether a file of the layer may have extended attributes.
    pub(crate) fn has_xattrs(&self) -> bool {
        match self {
            Self::Packed(layer) => layer.has_xattrs(),
            Self::Directory(_) => true,
        }
    }

    /// Returns whether a file of the layer may have both data and holes.
    pub(crate) fn has_holes(&self) -> bool {
        match self {
            Self::Packed(layer) => layer.has_holes(),
            Self::Directory(_) => true,
        }
    }
}

/// What one layer holds for one name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A mark that hides the name in the layers below.
    Whiteout,
    /// An inode of a packed layer that is no directory.
    Packed(InodeIndex, FileType),
    /// A directory of a packed layer.
    PackedDirectory {
        /// Its inode.
        index: InodeIndex,
        /// Whether it hides what the layers below hold in it.
        opaque: bool,
    },
    /// A hard link of a packed layer to a file in the layers below.
    LowerLink(InodeIndex),
    /// An entry of a directory layer that is no directory.
    Real(FileType),
    /// A directory of a directory layer.
    RealDirectory {
        /// Whether a mark beside it says that it is opaque; marks on it and in it
        /// are known when it is listed.
        opaque: bool,
    },
}

impl Kind {
    /// Returns what the merge has to know of this.
    pub(crate) fn held(self) -> Held {
        match self {
            Self::Whiteout => Held::Whiteout,
            Self::PackedDirectory { opaque, .. } | Self::RealDirectory { opaque } => {
                Held::Directory { opaque }
            }
            Self::Packed(..) | Self::LowerLink(_) | Self::Real(_) => Held::NonDirectory,
        }
    }
}

/// The names that one layer holds in one directory, sorted by their bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dentries<'a> {
    /// Of a packed layer.
    Packed(&'a PackedLayer, packed::Dentries<'a>),
    /// Of a directory layer.
    Listing(&'a Listing),
}

impl<'a> Dentries<'a> {
    /// Returns the number of names.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Packed(_, dentries) => dentries.len(),
            Self::Listing(listing) => listing.len(),
        }
    }

    /// Returns the name at a position and what the layer holds for it.
    ///
    /// Fails where the index of a packed layer is damaged.
    pub(crate) fn at(self, position: usize) -> Result<(&'a [u8], Kind)> {
        match self {
            Self::Packed(layer, dentries) => {
                let dentry = dentry(dentries, position)?;
                Ok((dentry.name, packed_kind(layer, dentry.target)?))
            }
            Self::Listing(listing) => listing.at(position),
        }
    }

    /// Returns the type of the entry at a position, or `None` for a whiteout.
    pub(crate) fn file_type(self, position: usize) -> Result<Option<FileType>> {
        Ok(match self {
            Self::Packed(_, dentries) => match dentry(dentries, position)?.target {
                packed::Target::Whiteout => None,
                packed::Target::LowerLink(_) => Some(FileType::Regular),
                packed::Target::Inode { file_type, .. } => Some(file_type),
            },
            Self::Listing(listing) => match listing.at(position)?.1 {
                Kind::Real(file_type) => Some(file_type),
                Kind::RealDirectory { .. } => Some(FileType::Directory),
                _ => None,
            },
        })
    }

    /// Returns the position of a name.
    pub(crate) fn position(self, name: &[u8]) -> Result<Option<usize>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle)?.cmp(name) {
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Returns the name at a position.
    pub(crate) fn name(self, position: usize) -> Result<&'a [u8]> {
        match self {
            Self::Packed(_, dentries) => Ok(dentry(dentries, position)?.name),
            Self::Listing(listing) => Ok(listing.at(position)?.0),
        }
    }
}

fn dentry(dentries: packed::Dentries<'_>, position: usize) -> Result<packed::Dentry<'_>> {
    dentries.get(position)?.ok_or(Error::Refused(Errno::NOENT))
}

fn packed_kind(layer: &PackedLayer, target: packed::Target) -> Result<Kind> {
    Ok(match target {
        packed::Target::Whiteout => Kind::Whiteout,
        packed::Target::LowerLink(index) => Kind::LowerLink(index),
        packed::Target::Inode {
            index,
            file_type: FileType::Directory,
        } => Kind::PackedDirectory {
            index,
            opaque: layer.is_opaque(index)?,
        },
        packed::Target::Inode { index, file_type } => Kind::Packed(index, file_type),
    })
}

//! What somebody asks who compares a view with another one.

use std::os::fd::AsFd as _;

use super::View;
use super::directory::Directory;
use super::source::Source;
use super::stack::Place;
use crate::layer::directory::RealAttr;
use crate::{NodeId, Result};

impl View {
    /// Returns whether all that a directory shows comes from the uppermost layer.
    pub fn is_of_uppermost(&self, directory: NodeId) -> Result<bool> {
        let directory = self.directory(directory)?;
        Ok(match &directory {
            Directory::Packed { layer, .. } => *layer == 0,
            Directory::Merged(_) => {
                matches!(directory.contributors(), [only] if only.layer == 0)
            }
        })
    }

    /// Returns whether the contents of two regular files are the same bytes of the same
    /// layer, so that nobody has to read them. Of packed layers the label tells.
    pub fn shares_contents(&self, node: NodeId, other: &Self, theirs: NodeId) -> Result<bool> {
        match (&self.source(node)?, &other.source(theirs)?) {
            (Source::Packed(layer, index), Source::Packed(their_layer, their_index)) => {
                let label = self.stack.packed(*layer)?.label();
                let their_label = other.stack.packed(*their_layer)?.label();
                Ok(label == their_label && index == their_index)
            }
            (Source::File(file), Source::File(their_file)) => {
                let real = RealAttr::of(file.as_fd())?;
                let their_real = RealAttr::of(their_file.as_fd())?;
                Ok((real.device, real.attr.ino) == (their_real.device, their_real.attr.ino))
            }
            _ => Ok(false),
        }
    }

    fn source(&self, node: NodeId) -> Result<Source> {
        Ok(match self.regular(node)? {
            Place::Packed(layer, index) => Source::Packed(layer, index),
            Place::Real(layer, path) => match &*self.open_file(node, layer, &path)? {
                Source::File(file) => Source::File(file.clone()),
                Source::Packed(layer, index) => Source::Packed(*layer, *index),
            },
        })
    }
}

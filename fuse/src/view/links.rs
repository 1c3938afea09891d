//! Hard links whose target lies in a lower layer (rule 7). Most images have none.

use std::collections::HashMap;
use std::sync::Arc;

use super::stack::{Located, Place, Stack};
use super::walk::Walker;
use crate::layer::packed::InodeIndex;
use crate::layer::{Kind, Layer};
use crate::{Error, Ino, PackedLayer, Result};

/// The file that links into lower layers share.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) ino: Ino,
}

/// What links from upper layers add to a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    /// The layer of the uppermost link, whose header gives owner, mode, modification
    /// time and attributes.
    pub(super) layer: u32,
    /// The link in that layer.
    pub(super) header: InodeIndex,
    /// The number of names that links add.
    pub(super) links: u32,
}

/// All hard links into lower layers of a stack.
#[derive(Debug, Default)]
pub(super) struct LowerLinks {
    targets: HashMap<(u32, InodeIndex), Target>,
    shared: HashMap<Ino, Shared>,
}

impl LowerLinks {
    /// Resolves the links of every layer in the layers below it, the lowest first, so
    /// that a link to a link is a link to the file.
    ///
    /// Fails where a link has no target.
    pub(super) fn resolve(stack: &Stack) -> Result<Self> {
        let mut links = Self::default();
        let layers: Vec<_> = (0..).zip(&stack.layers).collect();
        for (position, layer) in layers.into_iter().rev() {
            if let Layer::Packed(packed) = layer {
                links.resolve_layer(stack, position, packed)?;
            }
        }
        Ok(links)
    }

    /// Returns the file that a link stands for.
    pub(super) fn target(&self, layer: u32, link: InodeIndex) -> Option<&Target> {
        self.targets.get(&(layer, link))
    }

    /// Returns whether there is any link.
    pub(super) fn any(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Returns what links add to a file.
    pub(super) fn shared(&self, ino: Ino) -> Option<Shared> {
        if self.shared.is_empty() {
            None
        } else {
            self.shared.get(&ino).copied()
        }
    }

    fn resolve_layer(&mut self, stack: &Stack, position: u32, layer: &PackedLayer) -> Result<()> {
        let mut walker = Walker::new(stack, position + 1);
        for link in layer.lower_links() {
            let path = layer.lower_link(link)?;
            let found = walker.file(path)?;
            let target = found
                .map(|found| self.target_of(stack, &found))
                .transpose()?
                .flatten();
            let target = target.ok_or_else(|| Error::Corrupt {
                layer: layer.label().to_owned(),
                reason: format!(
                    "no layer below has the target of a hard link: /{}",
                    path.escape_ascii()
                ),
            })?;
            let names = self
                .shared
                .get(&target.ino)
                .map_or(0, |shared| shared.links);
            let shared = Shared {
                layer: position,
                header: link,
                links: names.saturating_add(layer.inode(link)?.nlink),
            };
            self.shared.insert(target.ino, shared);
            self.targets.insert((position, link), target);
        }
        Ok(())
    }

    fn target_of(&self, stack: &Stack, found: &Located) -> Result<Option<Target>> {
        let place = match found.kind {
            Kind::LowerLink(link) => return Ok(self.target(found.layer, link).cloned()),
            Kind::Packed(index, _) => Place::Packed(found.layer, index),
            Kind::Real(_) => Place::Real(found.layer, Arc::clone(&found.path)),
            _ => return Ok(None),
        };
        Ok(Some(Target {
            ino: stack.ino(&place)?,
            place,
        }))
    }
}

//! One directory of the view: its names, and where each comes from.

mod named;

pub(super) use named::Named;

use std::borrow::Cow;
use std::sync::Arc;

use super::stack::{Contributor, Found, Located, Names, Place, Stack, join};
use crate::layer::packed::InodeIndex;
use crate::layer::{Dentries, Kind};
use crate::merge::{self, MergedNames, Slot};
use crate::{Error, Ino, Result};

use rustix::io::Errno;

/// A directory of the view. A copy is cheap.
#[derive(Clone, Debug)]
pub(super) enum Directory {
    /// Only one packed layer contributes: everything is in its index.
    Packed {
        /// The position of the layer.
        layer: u32,
        /// The directory.
        index: InodeIndex,
        /// The inode number of the directory above.
        parent: Ino,
    },
    /// Any other.
    Merged(Arc<Merged>),
}

/// A directory whose names are kept in memory.
#[derive(Debug)]
pub(super) struct Merged {
    /// The inode number.
    pub(super) ino: Ino,
    /// The inode number of the directory above.
    pub(super) parent: Ino,
    /// Its path in the view; empty for the root.
    pub(super) path: Arc<[u8]>,
    /// Uppermost first.
    contributors: Arc<[Contributor]>,
    /// The position of the contributor whose attributes the directory has: the first
    /// that names it explicitly (rule 6).
    shown: u32,
    /// The merged names, or `None` where they are those of the only contributor.
    names: Option<MergedNames>,
    subdirectories: u32,
}

impl Directory {
    /// Makes the directory at a path of the view from its contributors. Of one that is
    /// only in a packed layer the path need not be known.
    pub(super) fn open(
        stack: &Stack,
        path: &[u8],
        parent: Ino,
        contributors: Arc<[Contributor]>,
    ) -> Result<Self> {
        let shown = shown(stack, &contributors)?;
        let first = contributors.first().ok_or(Error::Refused(Errno::NOENT))?;
        let is_alone = contributors.len() == 1 && *first.path == *path;
        if let (Names::Packed(index), true) = (&first.names, is_alone) {
            return Ok(Self::Packed {
                layer: first.layer,
                index: *index,
                parent,
            });
        }
        let ino = stack.ino(&first.place())?;
        let path = if *first.path == *path {
            Arc::clone(&first.path)
        } else {
            path.into()
        };
        let dentries = contributors
            .iter()
            .map(|contributor| contributor.dentries(stack));
        let dentries = dentries.collect::<Result<Vec<_>>>()?;
        let (names, subdirectories) = if let [only] = &dentries[..] {
            (None, merge::count_subdirectories(*only)?)
        } else {
            let names = merge::merge(&dentries)?;
            let subdirectories = names.subdirectories;
            (Some(names), subdirectories)
        };
        drop(dentries);
        Ok(Self::Merged(Arc::new(Merged {
            ino,
            parent,
            path,
            contributors,
            shown,
            names,
            subdirectories,
        })))
    }

    /// Returns the inode number.
    pub(super) fn ino(&self, stack: &Stack) -> Ino {
        match self {
            Self::Packed { layer, index, .. } => stack.identity.packed(*layer, *index),
            Self::Merged(merged) => merged.ino,
        }
    }

    /// Returns the inode number of the directory above.
    pub(super) fn parent(&self) -> Ino {
        match self {
            Self::Packed { parent, .. } => *parent,
            Self::Merged(merged) => merged.parent,
        }
    }

    /// Returns the path that the directory has in the view. It is only known, and only
    /// needed, where a directory layer may have something to do with what is below.
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::Packed { .. } => b"",
            Self::Merged(merged) => &merged.path,
        }
    }

    /// Returns where the attributes are that are shown (rule 6).
    pub(super) fn shown(&self) -> Result<Place> {
        match self {
            Self::Packed { layer, index, .. } => Ok(Place::Packed(*layer, *index)),
            Self::Merged(merged) => {
                let shown = merged.contributors.get(merged.shown as usize);
                Ok(shown.ok_or(Error::Refused(Errno::STALE))?.place())
            }
        }
    }

    /// Returns the directories of single layers that it is made of, uppermost first, or
    /// nothing where the index of one layer has all.
    pub(super) fn contributors(&self) -> &[Contributor] {
        match self {
            Self::Packed { .. } => &[],
            Self::Merged(merged) => &merged.contributors,
        }
    }

    /// Returns the number of links to the directory: its name, `.`, and the `..` of
    /// each subdirectory (rule 8).
    pub(super) fn nlink(&self, stack: &Stack) -> Result<u32> {
        match self {
            Self::Packed { layer, index, .. } => Ok(stack.packed(*layer)?.inode(*index)?.nlink),
            Self::Merged(merged) => Ok(merged.subdirectories.saturating_add(2)),
        }
    }

    /// Returns the number of names, whiteouts included.
    pub(super) fn len(&self, stack: &Stack) -> Result<usize> {
        Ok(match self {
            Self::Packed { layer, index, .. } => packed_dentries(stack, *layer, *index)?.len(),
            Self::Merged(merged) => match &merged.names {
                None => merged.only(stack)?.len(),
                Some(names) => names.slots.len(),
            },
        })
    }

    /// Returns the position of a name, or `None` where it is not there.
    pub(super) fn position(&self, stack: &Stack, name: &[u8]) -> Result<Option<u64>> {
        let position = match self {
            Self::Packed { layer, index, .. } => {
                packed_dentries(stack, *layer, *index)?.position(name)?
            }
            Self::Merged(merged) => match &merged.names {
                None => merged.only(stack)?.position(name)?,
                Some(names) => merged.search(stack, names, name)?,
            },
        };
        Ok(position.map(|position| position as u64))
    }

    /// Returns the first name at or after a position.
    pub(super) fn next<'v>(&self, stack: &'v Stack, position: u64) -> Result<Option<Named<'v>>> {
        for position in position.. {
            match self.at(stack, position)? {
                Some(named) if named.found.kind == Kind::Whiteout => {}
                named => return Ok(named),
            }
        }
        Ok(None)
    }

    /// Returns the name at a position, a whiteout too, or `None` past the last.
    pub(super) fn at<'v>(&self, stack: &'v Stack, position: u64) -> Result<Option<Named<'v>>> {
        let Ok(place) = usize::try_from(position) else {
            return Ok(None);
        };
        match self {
            Self::Packed { layer, index, .. } => {
                let dentries = packed_dentries(stack, *layer, *index)?;
                if place >= dentries.len() {
                    return Ok(None);
                }
                let (name, kind) = dentries.at(place)?;
                let layer = *layer;
                Ok(Some(Named {
                    position,
                    name: Cow::Borrowed(name),
                    slot: None,
                    found: Found { layer, kind },
                    listed: None,
                    above: None,
                    is_moved: false,
                }))
            }
            Self::Merged(merged) => merged.at(stack, position),
        }
    }

    /// Returns the same to keep, or `None` where the index of one layer has all.
    pub(super) fn shared_contributors(&self) -> Option<Arc<[Contributor]>> {
        match self {
            Self::Packed { .. } => None,
            Self::Merged(merged) => Some(Arc::clone(&merged.contributors)),
        }
    }

    /// Returns the contributors of a subdirectory.
    fn contributors_of(&self, stack: &Stack, child: &Named<'_>) -> Result<Arc<[Contributor]>> {
        let parts = match self {
            Self::Packed { .. } => vec![Located {
                layer: child.found.layer,
                kind: child.found.kind,
                // As far as it is known here, as in the view: the child is not elsewhere.
                path: child.name.as_ref().into(),
            }],
            Self::Merged(merged) => merged.parts(stack, child)?,
        };
        stack.contributors(parts, self.contributors(), &child.name)
    }

    /// Returns a subdirectory.
    pub(super) fn child(&self, stack: &Stack, child: &Named<'_>) -> Result<Self> {
        let contributors = self.contributors_of(stack, child)?;
        let path = join(self.path(), &child.name);
        Self::open(stack, &path, self.ino(stack), contributors)
    }

    /// Returns whether a subdirectory comes from one layer alone, as far as is known
    /// before it is read.
    pub(super) fn has_one_part(&self, child: &Named<'_>) -> bool {
        match self {
            Self::Packed { .. } => true,
            Self::Merged(merged) => merged.slots_of(child).is_empty(),
        }
    }
}

impl Merged {
    fn at<'v>(&self, stack: &'v Stack, position: u64) -> Result<Option<Named<'v>>> {
        let place = usize::try_from(position).unwrap_or(usize::MAX);
        let Some(slot) = self.slot(stack, place)? else {
            return Ok(None);
        };
        let (name, found) = self.dentry(stack, slot)?;
        let contributor = self.contributor(slot)?;
        let above = &contributor.path;
        Ok(Some(Named {
            position,
            name,
            slot: Some(slot),
            found,
            listed: contributor.listed(slot.dentry),
            is_moved: !Arc::ptr_eq(above, &self.path) && *above != self.path,
            above: Some(Arc::clone(above)),
        }))
    }

    /// Returns what the layers that may contribute to a subdirectory hold for it,
    /// uppermost first.
    fn parts(&self, stack: &Stack, child: &Named<'_>) -> Result<Vec<Located>> {
        let path: Arc<[u8]> = join(&self.path, &child.name).into();
        let first = self.slot(stack, usize::try_from(child.position).unwrap_or(usize::MAX))?;
        let slots = match self.slots_of(child) {
            [] => first.as_slice(),
            slots => slots,
        };
        let mut parts = Vec::with_capacity(slots.len());
        for slot in slots {
            let above = &self.contributor(*slot)?.path;
            let (_, Found { layer, kind }) = self.dentry(stack, *slot)?;
            let path = if *above == self.path {
                Arc::clone(&path)
            } else {
                join(above, &child.name).into()
            };
            parts.push(Located { layer, kind, path });
        }
        Ok(parts)
    }

    /// Returns the slots of the parts of a subdirectory, or nothing where it is one.
    fn slots_of(&self, child: &Named<'_>) -> &[Slot] {
        match (&self.names, u32::try_from(child.position)) {
            (Some(names), Ok(position)) => names.contributors(position),
            _ => &[],
        }
    }

    fn only<'a>(&'a self, stack: &'a Stack) -> Result<Dentries<'a>> {
        self.contributors
            .first()
            .ok_or(Error::Refused(Errno::STALE))?
            .dentries(stack)
    }

    fn slot(&self, stack: &Stack, index: usize) -> Result<Option<Slot>> {
        Ok(match &self.names {
            Some(names) => names.slots.get(index).copied(),
            None if index < self.only(stack)?.len() => Some(Slot {
                contributor: 0,
                dentry: u32::try_from(index).unwrap_or(u32::MAX),
            }),
            None => None,
        })
    }

    fn contributor(&self, slot: Slot) -> Result<&Contributor> {
        self.contributors
            .get(slot.contributor as usize)
            .ok_or(Error::Refused(Errno::STALE))
    }

    fn dentry<'v>(&self, stack: &'v Stack, slot: Slot) -> Result<(Cow<'v, [u8]>, Found)> {
        let contributor = self.contributor(slot)?;
        let layer = contributor.layer;
        Ok(match &contributor.names {
            Names::Packed(index) => {
                let dentries = packed_dentries(stack, layer, *index)?;
                let (name, kind) = dentries.at(slot.dentry as usize)?;
                (Cow::Borrowed(name), Found { layer, kind })
            }
            Names::Listing(listing) => {
                let (name, kind) = listing.at(slot.dentry as usize)?;
                (Cow::Owned(name.to_vec()), Found { layer, kind })
            }
        })
    }

    fn search(&self, stack: &Stack, names: &MergedNames, name: &[u8]) -> Result<Option<usize>> {
        for candidate in names.candidates(name) {
            let position = candidate as usize;
            let slot = names.slots.get(position).copied();
            let slot = slot.ok_or(Error::Refused(Errno::STALE))?;
            let dentries = self.contributor(slot)?.dentries(stack)?;
            if dentries.name(slot.dentry as usize)? == name {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }
}

fn packed_dentries(stack: &Stack, layer: u32, index: InodeIndex) -> Result<Dentries<'_>> {
    let layer = stack.packed(layer)?;
    Ok(Dentries::Packed(layer, layer.directory(index)?))
}

/// Returns the position of the first contributor that names the directory explicitly,
/// or the uppermost where none does (rule 6).
fn shown(stack: &Stack, contributors: &[Contributor]) -> Result<u32> {
    for (position, contributor) in (0..).zip(contributors) {
        match &contributor.names {
            Names::Packed(index) if stack.packed(contributor.layer)?.is_implied(*index)? => {}
            Names::Packed(_) | Names::Listing(_) => return Ok(position),
        }
    }
    Ok(0)
}

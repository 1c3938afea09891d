//! The merge of all names of one directory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::hash::{BuildHasher as _, RandomState};

use super::{Resolution, resolve};
use crate::layer::{Dentries, Kind};
use crate::{FileType, Result};

/// Where a name of a merged directory stands: 8 bytes for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The contributor that the name comes from, counted from the uppermost.
    pub(crate) contributor: u32,
    /// The position among the contributor's names.
    pub(crate) dentry: u32,
}

/// The names of a merged directory.
#[derive(Debug, Default)]
pub(crate) struct MergedNames {
    /// One for each name, sorted by name.
    pub(crate) slots: Box<[Slot]>,
    /// Their positions by the hash of the name, sorted: 8 bytes for each. A look-up reads
    /// no name of any layer but those with the same hash.
    by_hash: Box<[(u32, u32)]>,
    hasher: RandomState,
    /// How many of them are directories.
    pub(crate) subdirectories: u32,
    /// Where the contributors of the subdirectories to which more than one layer
    /// contributes start in `contributors`: (position of the name, start), by position.
    starts: Box<[(u32, u32)]>,
    /// The dentries of these subdirectories, uppermost first.
    contributors: Box<[Slot]>,
}

impl MergedNames {
    /// Returns the positions at which a name can stand; nearly always the one or none.
    pub(crate) fn candidates(&self, name: &[u8]) -> impl Iterator<Item = u32> {
        let hash = hash(&self.hasher, name);
        let start = self.by_hash.partition_point(|(known, _)| *known < hash);
        let rest = self.by_hash.get(start..).unwrap_or_default();
        rest.iter()
            .take_while(move |(known, _)| *known == hash)
            .map(|(_, position)| *position)
    }

    /// Returns the dentries that make up the subdirectory at a position, uppermost
    /// first, or nothing where only the one that its slot names does.
    pub(crate) fn contributors(&self, position: u32) -> &[Slot] {
        let Ok(found) = self
            .starts
            .binary_search_by_key(&position, |(position, _)| *position)
        else {
            return &[];
        };
        let start_of = |index: usize| self.starts.get(index).map(|(_, start)| *start as usize);
        let end = start_of(found + 1).unwrap_or(self.contributors.len());
        start_of(found)
            .and_then(|start| self.contributors.get(start..end))
            .unwrap_or_default()
    }
}

/// Merges the names that the contributors of a directory hold, uppermost first, in
/// time O(n log k) for n names of k contributors. Each name is resolved by the rules.
pub(crate) fn merge(contributors: &[Dentries<'_>]) -> Result<MergedNames> {
    let mut merged = Builder::default();
    let mut heap = BinaryHeap::with_capacity(contributors.len());
    for (contributor, dentries) in (0..).zip(contributors) {
        if dentries.len() > 0 {
            heap.push(Reverse(Cursor::at(
                *dentries,
                Slot {
                    contributor,
                    dentry: 0,
                },
            )?));
        }
    }
    let mut group: Vec<(Slot, Kind)> = Vec::new();
    let mut name: &[u8] = &[];
    while let Some(mut first) = heap.peek_mut() {
        let Reverse(cursor) = *first;
        if cursor.name != name {
            merged.push(name, &group);
            group.clear();
            name = cursor.name;
        }
        group.push((cursor.slot, cursor.kind));
        match cursor.next(contributors)? {
            Some(next) => *first = Reverse(next),
            None => {
                PeekMut::pop(first);
            }
        }
    }
    merged.push(name, &group);
    Ok(merged.finish())
}

/// The next name of one contributor, ordered by name, then uppermost first.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    name: &'a [u8],
    slot: Slot,
    kind: Kind,
}

impl<'a> Cursor<'a> {
    fn at(dentries: Dentries<'a>, slot: Slot) -> Result<Self> {
        let (name, kind) = dentries.at(slot.dentry as usize)?;
        Ok(Self { name, slot, kind })
    }

    fn next(self, contributors: &[Dentries<'a>]) -> Result<Option<Self>> {
        let slot = Slot {
            dentry: self.slot.dentry + 1,
            ..self.slot
        };
        match contributors.get(slot.contributor as usize) {
            Some(dentries) if (slot.dentry as usize) < dentries.len() => {
                Self::at(*dentries, slot).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn key(&self) -> (&'a [u8], u32) {
        (self.name, self.slot.contributor)
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Cursor<'_> {}

/// [`MergedNames`] while it grows.
#[derive(Debug, Default)]
struct Builder {
    slots: Vec<Slot>,
    by_hash: Vec<(u32, u32)>,
    hasher: RandomState,
    subdirectories: u32,
    starts: Vec<(u32, u32)>,
    contributors: Vec<Slot>,
}

impl Builder {
    /// Adds the name that all of a group have, unless it resolves to nothing.
    fn push(&mut self, name: &[u8], group: &[(Slot, Kind)]) {
        let position = length(&self.slots);
        match resolve(group.iter().map(|(slot, kind)| (*slot, kind.held()))) {
            Resolution::Absent => {}
            Resolution::NonDirectory(slot) => self.slots.push(slot),
            Resolution::Directory(contributors) => {
                self.subdirectories = self.subdirectories.saturating_add(1);
                if contributors.len() > 1 {
                    self.starts.push((position, length(&self.contributors)));
                    self.contributors.extend_from_slice(&contributors);
                }
                self.slots.extend(contributors.first());
            }
        }
        if length(&self.slots) > position {
            self.by_hash.push((hash(&self.hasher, name), position));
        }
    }

    fn finish(mut self) -> MergedNames {
        self.by_hash.sort_unstable();
        MergedNames {
            slots: self.slots.into(),
            by_hash: self.by_hash.into(),
            hasher: self.hasher,
            subdirectories: self.subdirectories,
            starts: self.starts.into(),
            contributors: self.contributors.into(),
        }
    }
}

/// Hashes a name with the keys of this process, so that no layer can hold names that
/// were chosen to collide.
#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn hash(hasher: &RandomState, name: &[u8]) -> u32 {
    hasher.hash_one(name) as u32
}

/// Positions are kept in 32 bits: an index holds fewer than 2^32 inodes, and a
/// listing fewer than 2^32 bytes of names.
fn length<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

/// Returns how many directories one layer holds in a directory by itself.
pub(crate) fn count_subdirectories(dentries: Dentries<'_>) -> Result<u32> {
    let mut count = 0;
    for position in 0..dentries.len() {
        if dentries.file_type(position)? == Some(FileType::Directory) {
            count += 1;
        }
    }
    Ok(count)
}

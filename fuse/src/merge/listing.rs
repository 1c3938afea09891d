//! The merge of all names of one directory.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::{Held, Standing};
use crate::layer::Dentries;
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

/// Merges the names that the contributors of a directory hold, uppermost first. Each name is
/// resolved by the rules.
///
/// A name that many layers have is found again by its hash and compared once with each, so
/// that the time grows with the number of names that are held, however many layers they are
/// in; only the names that differ are sorted, and those of one layer are sorted already.
pub(crate) fn merge(contributors: &[Dentries<'_>]) -> Result<MergedNames> {
    let longest = contributors.iter().map(|dentries| dentries.len()).max();
    let mut names = Names::with_capacity(longest.unwrap_or_default());
    for (contributor, dentries) in (0..).zip(contributors) {
        for dentry in 0..length_of(dentries.len()) {
            let (name, kind) = dentries.at(dentry as usize)?;
            let slot = Slot {
                contributor,
                dentry,
            };
            names.add(name, slot, kind.held());
        }
    }
    Ok(names.finish())
}

/// What one name has come to.
#[derive(Debug)]
struct Group<'a> {
    name: &'a [u8],
    standing: Standing,
    /// The uppermost part of what is shown, if there is any.
    first: Option<Slot>,
    /// How many directories make it up; 0 for anything else.
    directories: u32,
    /// Where the next of these goes among the contributors.
    next: u32,
}

/// [`MergedNames`] while it grows.
#[derive(Debug)]
struct Names<'a> {
    hasher: RandomState,
    /// Positions in `groups`.
    known: HashMap<&'a [u8], u32, RandomState>,
    groups: Vec<Group<'a>>,
    /// The dentries of directories with their groups, uppermost first.
    directories: Vec<(u32, Slot)>,
}

impl<'a> Names<'a> {
    fn with_capacity(names: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            known: HashMap::with_capacity_and_hasher(names, hasher.clone()),
            hasher,
            groups: Vec::with_capacity(names),
            directories: Vec::new(),
        }
    }

    /// Adds what the next lower contributor holds for a name.
    fn add(&mut self, name: &'a [u8], slot: Slot, held: Held) {
        let group = *self.known.entry(name).or_insert_with(|| {
            self.groups.push(Group {
                name,
                standing: Standing::default(),
                first: None,
                directories: 0,
                next: 0,
            });
            length_of(self.groups.len() - 1)
        });
        let Some(of) = self.groups.get_mut(group as usize) else {
            return;
        };
        if of.standing.take(held) {
            of.first = of.first.or(Some(slot));
            if matches!(held, Held::Directory { .. }) {
                of.directories += 1;
                self.directories.push((group, slot));
            }
        }
    }

    fn finish(mut self) -> MergedNames {
        let groups = &mut self.groups;
        let mut order: Vec<(&[u8], u32)> = (0..)
            .zip(groups.iter())
            .filter(|(_, group)| group.first.is_some())
            .map(|(index, group)| (group.name, index))
            .collect();
        order.sort();
        let mut slots = Vec::with_capacity(order.len());
        let mut by_hash = Vec::with_capacity(order.len());
        let mut starts = Vec::new();
        let (mut subdirectories, mut end) = (0, 0);
        for (position, (name, group)) in (0..).zip(order) {
            let Some(group) = groups.get_mut(group as usize) else {
                continue;
            };
            slots.extend(group.first);
            by_hash.push((hash(&self.hasher, name), position));
            subdirectories += u32::from(group.directories > 0);
            if group.directories > 1 {
                starts.push((position, end));
                group.next = end;
                end += group.directories;
            }
        }
        by_hash.sort_unstable();
        MergedNames {
            slots: slots.into(),
            by_hash: by_hash.into(),
            contributors: self.contributors(end),
            hasher: self.hasher,
            subdirectories,
            starts: starts.into(),
        }
    }

    /// Returns the dentries of the directories that more than one make up, those of one
    /// beside each other.
    fn contributors(&mut self, count: u32) -> Box<[Slot]> {
        let none = Slot {
            contributor: 0,
            dentry: 0,
        };
        let mut contributors = vec![none; count as usize];
        for (group, slot) in &self.directories {
            if let Some(group) = self.groups.get_mut(*group as usize)
                && group.directories > 1
                && let Some(place) = contributors.get_mut(group.next as usize)
            {
                *place = *slot;
                group.next += 1;
            }
        }
        contributors.into()
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
fn length_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
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

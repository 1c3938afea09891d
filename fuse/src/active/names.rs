//! The names that the upper has in one directory, each at a place that it keeps, so
//! that a listing can go on from a cookie whatever is made and removed meanwhile.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::FileType;

/// What the upper has for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It hides what the layers below have.
    Whiteout,
    /// An inode of its own.
    Entry(FileType),
}

/// A name of the upper.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) bytes: Box<[u8]>,
    pub(super) kind: Kind,
    /// The layers below have the name too, at whose place it is listed.
    pub(super) is_over_lower: bool,
}

/// The names of one directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By place.
    slots: BTreeMap<u64, Name>,
    /// The places, by name.
    places: HashTable<u64>,
    hasher: RandomState,
    next: u64,
    /// Some whiteouts are files `.wh.NAME`.
    pub(super) has_whiteout_files: bool,
}

impl Names {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Name> {
        self.slots.get(&self.place(name)?)
    }

    /// Returns whether there is a whiteout for a name.
    pub(super) fn is_whiteout(&self, name: &[u8]) -> bool {
        self.get(name)
            .is_some_and(|name| name.kind == Kind::Whiteout)
    }

    /// Sets what the upper has for a name; one that is there keeps its place.
    pub(super) fn set(&mut self, name: &[u8], kind: Kind, is_over_lower: bool) {
        let new = Name {
            bytes: name.into(),
            kind,
            is_over_lower,
        };
        if let Some(place) = self.place(name) {
            self.slots.insert(place, new);
            return;
        }
        let place = self.next;
        self.next += 1;
        self.slots.insert(place, new);
        let Self {
            slots,
            places,
            hasher,
            ..
        } = self;
        places.insert_unique(hasher.hash_one(name), place, |place| {
            let name = slots.get(place);
            name.map_or(0, |name| hasher.hash_one(&name.bytes[..]))
        });
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        let Self {
            slots,
            places,
            hasher,
            ..
        } = self;
        let is_it = |place: &u64| slots.get(place).is_some_and(|slot| *slot.bytes == *name);
        if let Ok(entry) = places.find_entry(hasher.hash_one(name), is_it) {
            let (place, _) = entry.remove();
            slots.remove(&place);
        }
    }

    /// Returns the first name at or after a place that the layers below do not have,
    /// with its place.
    pub(super) fn next_own(&self, place: u64) -> Option<(u64, &Name)> {
        let mut names = self.slots.range(place..);
        let (place, name) =
            names.find(|(_, name)| !name.is_over_lower && name.kind != Kind::Whiteout)?;
        Some((*place, name))
    }

    /// Iterates over all names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.slots.values()
    }

    fn place(&self, name: &[u8]) -> Option<u64> {
        let is_it = |place: &u64| {
            self.slots
                .get(place)
                .is_some_and(|slot| *slot.bytes == *name)
        };
        self.places.find(self.hasher.hash_one(name), is_it).copied()
    }
}

//! The bytes of names, link targets and attributes, each string kept once.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::tar::TarFault;

/// A string: where it lies in the section of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StringRef {
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl StringRef {
    /// The empty string, which takes no bytes.
    pub(super) const EMPTY: Self = Self {
        offset: 0,
        length: 0,
    };
}

/// All strings of a layer, in the order of their first use, so that the bytes
/// depend on nothing but that order.
#[derive(Debug, Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    known: HashTable<StringRef>,
    hasher: RandomState,
}

impl Strings {
    /// Returns the string for these bytes, adding them if they are new.
    pub(super) fn add(&mut self, string: &[u8]) -> Result<StringRef, TarFault> {
        if let Some(known) = self.find(string) {
            return Ok(known);
        }
        let offset = u32::try_from(self.bytes.len()).map_err(|_| TarFault::TooLarge)?;
        let length = u32::try_from(string.len()).map_err(|_| TarFault::TooLarge)?;
        offset.checked_add(length).ok_or(TarFault::TooLarge)?;
        let added = StringRef { offset, length };
        self.bytes.extend_from_slice(string);
        let (bytes, hasher) = (&self.bytes, &self.hasher);
        let hash = hasher.hash_one(string);
        self.known
            .insert_unique(hash, added, |known| hasher.hash_one(slice(bytes, *known)));
        Ok(added)
    }

    /// Returns the string for these bytes, if there is one.
    pub(super) fn find(&self, string: &[u8]) -> Option<StringRef> {
        if string.is_empty() {
            return Some(StringRef::EMPTY);
        }
        let hash = self.hasher.hash_one(string);
        self.known
            .find(hash, |known| slice(&self.bytes, *known) == string)
            .copied()
    }

    /// Returns the bytes of a string.
    pub(super) fn bytes_of(&self, string: StringRef) -> &[u8] {
        slice(&self.bytes, string)
    }

    /// Returns all bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn slice(bytes: &[u8], string: StringRef) -> &[u8] {
    let start = string.offset as usize;
    bytes
        .get(start..start + string.length as usize)
        .unwrap_or_default()
}

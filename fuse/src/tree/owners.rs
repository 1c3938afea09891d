//! The owners on disk of files that are shown as somebody else's, for who serves the tree.
//!
//! What the kernel knows of a file it has from a reply, and every reply is noted here before it is
//! sent: whose files the kernel can tell the attributes of, those are known. A reply that was
//! being made while the owner changed may be noted after that, until the next one.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::Ino;

/// A user and a group.
type Owner = (u32, u32);

/// The owners on disk of files that are shown as somebody else's.
#[derive(Debug, Default)]
pub struct Owners(RwLock<HashMap<Ino, Owner>>);

impl Owners {
    /// Returns the user and the group on disk of a file; `None` if they are those that are shown.
    pub fn of(&self, ino: Ino) -> Option<(u32, u32)> {
        let owners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        owners.get(&ino).copied()
    }

    pub(super) fn note(&self, ino: Ino, disk: Owner, shown: Owner) {
        let new = Some(disk).filter(|disk| *disk != shown);
        if self.of(ino) == new {
            return;
        }
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match new {
            Some(owner) => owners.insert(ino, owner),
            None => owners.remove(&ino),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owners_that_are_shown_as_others_are_kept() {
        let owners = Owners::default();
        let cases = [
            ("as it is", (0, 0), None),
            ("another user", (33, 0), Some((33, 0))),
            ("another group", (0, 42), Some((0, 42))),
            ("given back to root", (0, 0), None),
        ];
        for (why, disk, expected) in cases {
            owners.note(Ino(7), disk, (0, 0));
            assert_eq!(owners.of(Ino(7)), expected, "{why}");
            assert_eq!(owners.of(Ino(8)), None, "{why}");
        }
    }
}

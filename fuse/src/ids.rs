//! Owners as they are on disk and as a view shows them.
//!
//! One [`IdMap`] is for users or for groups. The rules are those of fuse-overlayfs: an id
//! outside all ranges is the overflow id; a squashed map shows one id, and what is written
//! still goes through the ranges. It is a value: who asks it, and when, is left to others.

use thiserror::Error;

/// The ids that a view shows for those on disk, and the way back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// Without one every id is shown as it is.
    ranges: Vec<IdRange>,
    squash: Option<u32>,
}

/// A run of ids on disk that is shown as another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id on disk.
    pub disk: u32,
    /// The id that it is shown as.
    pub shown: u32,
    /// How many ids follow one another, the first included.
    pub count: u32,
}

/// The ids that belong to one view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Of users.
    pub users: IdMap,
    /// Of groups.
    pub groups: IdMap,
}

/// Why ranges are no map.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IdMapError {
    /// A range goes beyond the greatest id. The greatest number itself is none: chown(2)
    /// takes it for "leave it as it is".
    #[error("ids from {first} on, {count} of them, are more than there are")]
    Beyond {
        /// The first id of the range.
        first: u32,
        /// How many there were to be.
        count: u32,
    },
}

impl IdMap {
    /// What stands for an id that has none on the other side (`/proc/sys/kernel/overflowuid`).
    pub const OVERFLOW: u32 = 65534;

    /// Makes a map of ranges; where they overlap, the later one holds.
    pub fn new(ranges: Vec<IdRange>) -> Result<Self, IdMapError> {
        for range in &ranges {
            for first in [range.disk, range.shown] {
                if range.count > u32::MAX - first {
                    let count = range.count;
                    return Err(IdMapError::Beyond { first, count });
                }
            }
        }
        Ok(Self {
            ranges,
            squash: None,
        })
    }

    /// Returns the map that shows `id` for every other, whatever the ranges say.
    #[must_use]
    pub fn squashed_to(self, id: u32) -> Self {
        Self {
            squash: Some(id),
            ..self
        }
    }

    /// Returns whether every id is shown as it is.
    pub fn is_identity(&self) -> bool {
        self.ranges.is_empty() && self.squash.is_none()
    }

    /// Returns whether one id is shown for all, so that a change of owner that is refused
    /// makes no difference.
    pub fn is_squashed(&self) -> bool {
        self.squash.is_some()
    }

    /// Returns the id that is shown for one on disk.
    pub fn shown(&self, disk: u32) -> u32 {
        match self.squash {
            Some(id) => id,
            None => self.through(disk, |range| (range.disk, range.shown)),
        }
    }

    /// Returns the id on disk for one that a caller has or gives.
    pub fn disk(&self, shown: u32) -> u32 {
        self.through(shown, |range| (range.shown, range.disk))
    }

    fn through(&self, id: u32, ends: impl Fn(&IdRange) -> (u32, u32)) -> u32 {
        if self.ranges.is_empty() {
            return id;
        }
        let mapped = self.ranges.iter().rev().find_map(|range| {
            let (from, to) = ends(range);
            let distance = id.checked_sub(from)?;
            (distance < range.count).then(|| to + distance)
        });
        mapped.unwrap_or(Self::OVERFLOW)
    }
}

impl IdMaps {
    /// Returns whether every id is shown as it is.
    pub fn is_identity(&self) -> bool {
        self.users.is_identity() && self.groups.is_identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(ranges: &[(u32, u32, u32)]) -> IdMap {
        let range = |&(disk, shown, count)| IdRange { disk, shown, count };
        IdMap::new(ranges.iter().map(range).collect()).unwrap()
    }

    #[test]
    fn ids_on_disk_and_as_they_are_shown() {
        let usual = map(&[(0, 1000, 1), (1, 100_000, 65536)]);
        let lost = IdMap::OVERFLOW;
        let cases = [
            ("no map", IdMap::default(), 7, 7, 7),
            ("first of a range", usual.clone(), 0, 1000, lost),
            ("within a range", usual.clone(), 5, 100_004, lost),
            ("last of a range", usual.clone(), 65536, 165_535, lost),
            ("after the last", usual.clone(), 65537, lost, lost),
            ("the way back", usual.clone(), 100_004, lost, 5),
            ("overlap", map(&[(0, 10, 9), (5, 50, 1)]), 5, 50, lost),
            ("squashed", IdMap::default().squashed_to(0), 7, 0, 7),
            ("squash wins over ranges", usual.squashed_to(5), 1000, 5, 0),
            ("an empty range", map(&[(3, 3, 0)]), 3, lost, lost),
        ];
        for (why, map, id, shown, disk) in cases {
            assert_eq!(map.shown(id), shown, "{why}: shown");
            assert_eq!(map.disk(id), disk, "{why}: on disk");
        }
    }

    #[test]
    fn a_range_ends_before_the_number_that_is_no_id() {
        assert!(IdMap::new(vec![]).unwrap().is_identity());
        let last = map(&[(u32::MAX - 1, 0, 1), (0, 0, u32::MAX)]);
        assert_eq!(last.shown(u32::MAX), IdMap::OVERFLOW);
        for (disk, shown, count) in [(u32::MAX, 0, 1), (1, 0, u32::MAX), (0, 7, u32::MAX)] {
            let range = IdRange { disk, shown, count };
            assert!(IdMap::new(vec![range]).is_err(), "{range:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(disk in 0_u32..1_000_000, shown in 0_u32..1_000_000, count in 1_u32..70_000, at: u32) {
            let map = map(&[(disk, shown, count)]);
            let id = disk + at % count;
            prop_assert_eq!(map.disk(map.shown(id)), id);
        }
    }
}

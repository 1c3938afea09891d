//! The body of a message, taken piece by piece from its start.
//!
//! It may lie in two places, one after the other, of which no piece has a share of both: a
//! ring has the structure of an operation apart from the names and bytes that follow.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What is left of the body. Each piece is `None` where less is left than it takes.
#[derive(Debug)]
pub(super) struct Body<'a> {
    left: &'a [u8],
    /// What comes after `left`.
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    pub(super) fn new(first: &'a [u8], rest: &'a [u8]) -> Self {
        Self { left: first, rest }
    }

    /// Takes a structure of the kernel.
    pub(super) fn structure<T: FromBytes + KnownLayout + Immutable>(&mut self) -> Option<T> {
        let (value, left) = T::read_from_prefix(self.here()).ok()?;
        self.left = left;
        Some(value)
    }

    /// Takes the name that ends at the next NUL.
    pub(super) fn name(&mut self) -> Option<&'a [u8]> {
        let here = self.here();
        let end = here.iter().position(|byte| *byte == 0)?;
        let (name, left) = here.split_at_checked(end)?;
        self.left = left.get(1..)?;
        Some(name)
    }

    /// Takes so many bytes.
    pub(super) fn bytes(&mut self, length: u32) -> Option<&'a [u8]> {
        let (bytes, left) = self.here().split_at_checked(length as usize)?;
        self.left = left;
        Some(bytes)
    }

    /// Returns what is left at the place of the next piece.
    fn here(&mut self) -> &'a [u8] {
        if self.left.is_empty() {
            self.left = std::mem::take(&mut self.rest);
        }
        self.left
    }
}

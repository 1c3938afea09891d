//! One frame of the journal: its bytes, and where its parts lie in them.
//!
//! ```text
//! frame   := header  body  trailer
//! header  := length of the body u64  sequence u64  sha256 of both and the body
//! body    := is it whole u8  entry*
//! entry   := length u32  key  length u32, or !0 for a removal  bytes
//! trailer := length of the body u64  sequence u64  first 8 bytes of sha256 of both
//! ```
//! Numbers are little-endian. A frame that is whole holds all records that there are, another
//! one what a transaction changes. The trailer tells where the last frame of a file begins.

use std::io;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

/// Bytes before the body of a frame.
pub(super) const HEADER: usize = 48;
/// Bytes behind it.
pub(super) const TRAILER: usize = 24;
/// Bytes of the two numbers with which both begin.
const NUMBERS: usize = 16;
/// The length that stands for a removal.
const REMOVED: u32 = u32::MAX;

/// A frame that lies in memory.
#[derive(Debug)]
pub(super) struct Frame<'b> {
    /// All that the frame is part of.
    bytes: &'b [u8],
    start: usize,
    body: Range<usize>,
    pub(super) sequence: u64,
}

/// Where an entry lies in the bytes that the frame was found in.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Range<usize>,
    /// `None` for a removal.
    pub(super) record: Option<Range<usize>>,
}

impl<'b> Frame<'b> {
    /// Finds the frame that begins at `start`; `None` if it is not all there. Whether it is as
    /// it was written is another question ([`Self::is_sound`]).
    pub(super) fn at(bytes: &'b [u8], start: usize) -> Option<Self> {
        let header = bytes.get(start..start.checked_add(HEADER)?)?;
        let (length, sequence) = numbers(header.first_chunk()?);
        let body = start + HEADER;
        let behind = body.checked_add(usize::try_from(length).ok()?)?;
        let end = behind.checked_add(TRAILER)?;
        (end <= bytes.len()).then_some(Self {
            bytes,
            start,
            body: body..behind,
            sequence,
        })
    }

    /// Returns where the next frame begins.
    pub(super) fn end(&self) -> usize {
        self.body.end + TRAILER
    }

    /// Says whether header, body and trailer are as they were written.
    pub(super) fn is_sound(&self) -> bool {
        let part = |range: Range<usize>| self.bytes.get(range).unwrap_or_default();
        let (numbers, hash) = part(self.start..self.body.start).split_at(NUMBERS);
        let (again, check) = part(self.body.end..self.end()).split_at(NUMBERS);
        hash_of(numbers, part(self.body.clone())) == hash
            && again == numbers
            && check == check_of(numbers)
    }

    /// Says whether the frame holds all records that there are; `None` if that cannot be read.
    pub(super) fn is_whole(&self) -> Option<bool> {
        self.bytes
            .get(self.body.clone())?
            .first()
            .map(|byte| *byte != 0)
    }

    /// Returns the entries in their order; `None` in place of the first that cannot be read, and
    /// nothing after it.
    pub(super) fn entries(&self) -> impl Iterator<Item = Option<Entry>> + use<'b> {
        let (bytes, end) = (self.bytes, self.body.end);
        let mut position = self.body.start + 1;
        std::iter::from_fn(move || {
            if position >= end {
                return None;
            }
            let entry = entry_at(bytes, position..end);
            position = entry.as_ref().map_or(end, |(_, next)| *next);
            Some(entry.map(|(entry, _)| entry))
        })
    }
}

/// Makes a frame of entries in the order of their keys. Refuses keys and records of 4 GiB.
pub(super) fn encode<'a>(
    is_whole: bool,
    sequence: u64,
    entries: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    frame.push(u8::from(is_whole));
    for (key, change) in entries {
        frame.extend(length_of(key)?.to_le_bytes());
        frame.extend(key);
        match change {
            Some(bytes) => {
                frame.extend(length_of(bytes)?.to_le_bytes());
                frame.extend(bytes);
            }
            None => frame.extend(REMOVED.to_le_bytes()),
        }
    }
    let length = (frame.len() - HEADER) as u64;
    let numbers = [length.to_le_bytes(), sequence.to_le_bytes()].concat();
    let hash = hash_of(&numbers, frame.get(HEADER..).unwrap_or_default());
    frame.splice(..HEADER, [numbers.as_slice(), &hash].concat());
    frame.extend(&numbers);
    frame.extend(check_of(&numbers));
    Ok(frame)
}

/// Returns the length of the body that a header tells of.
pub(super) fn body_length(header: &[u8; HEADER]) -> u64 {
    header.first_chunk().map_or(0, |chunk| numbers(chunk).0)
}

/// Returns the sequence of the frame that ends with a trailer; `None` if it is none.
pub(super) fn sequence_before(trailer: &[u8; TRAILER]) -> Option<u64> {
    let (words, check) = trailer.split_first_chunk::<NUMBERS>()?;
    (check_of(words) == check).then(|| numbers(words).1)
}

fn numbers(bytes: &[u8; NUMBERS]) -> (u64, u64) {
    let both = u128::from_le_bytes(*bytes);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let first = both as u64;
    (first, (both >> 64) as u64)
}

fn hash_of(numbers: &[u8], body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(numbers);
    hasher.update(body);
    hasher.finalize().into()
}

fn check_of(numbers: &[u8]) -> Vec<u8> {
    Sha256::digest(numbers).iter().take(8).copied().collect()
}

fn length_of(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len())
        .ok()
        .filter(|length| *length != REMOVED)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a record is too long"))
}

/// Returns the entry at the beginning of a range, and where it ends.
fn entry_at(bytes: &[u8], within: Range<usize>) -> Option<(Entry, usize)> {
    let (key, next) = field_at(bytes, within.clone())?;
    let (record, next) = field_at(bytes, next..within.end)?;
    Some((Entry { key: key?, record }, next))
}

/// Returns where a field lies, unless it stands for a removal, and what follows it.
fn field_at(bytes: &[u8], within: Range<usize>) -> Option<(Option<Range<usize>>, usize)> {
    let length = u32::from_le_bytes(*bytes.get(within.clone())?.first_chunk()?);
    let start = within.start + 4;
    if length == REMOVED {
        return Some((None, start));
    }
    let end = start.checked_add(length as usize)?;
    (end <= within.end).then_some((Some(start..end), end))
}

//! The journal read as a whole: all records at one moment.
//!
//! A journal only grows, until another one takes its name. So who has opened it under the lock of
//! the database, and knows its end, may read it after, when nobody waits for him; and one file
//! is read faster than sled's pages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::frame::{Entry, Frame};
use super::journal::{End, Journal};

/// A journal up to the end that it had at one moment.
#[derive(Debug)]
pub(super) struct Recording {
    file: File,
    length: u64,
}

/// Many keys and records in one piece of memory, in the order of the keys.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a key and its record lie.
#[derive(Debug)]
struct Place {
    key: Range<usize>,
    record: Range<usize>,
}

impl Journal {
    /// Opens the journal for who reads it up to its end as it is now.
    pub(super) fn recording(&self, end: End) -> io::Result<Recording> {
        Ok(Recording {
            file: File::open(self.path())?,
            length: end.length,
        })
    }
}

impl Recording {
    /// Reads all records; `InvalidData` if the journal is damaged. Damage within records
    /// is seen by [`Entries::is_sound`] alone.
    pub(super) fn read(&self) -> io::Result<Entries> {
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0)?;
        let places = places(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Entries { bytes, places })
    }
}

impl Entries {
    /// Adds a key and its record behind the others.
    pub(super) fn push(&mut self, key: &[u8], record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.places.push(Place {
            key: start..middle,
            record: middle..self.bytes.len(),
        });
    }

    /// Returns all keys and records.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        let places = self.places.iter();
        places.map(move |place| (part(&place.key), part(&place.record)))
    }

    /// Returns those whose keys begin with `prefix`.
    pub(super) fn under(&self, prefix: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        let key = |place: &Place| self.bytes.get(place.key.clone()).unwrap_or_default();
        let start = self.places.partition_point(|place| key(place) < prefix);
        self.iter()
            .skip(start)
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Says whether a journal is as it was written.
    pub(super) fn is_sound(&self) -> bool {
        let mut start = 0;
        while let Some(frame) = Frame::at(&self.bytes, start).filter(Frame::is_sound) {
            start = frame.end();
        }
        start == self.bytes.len()
    }
}

/// Returns where the records lie that a journal leaves; `None` if it is damaged.
fn places(bytes: &[u8]) -> Option<Vec<Place>> {
    let mut whole: Option<Vec<Place>> = None;
    let mut changes: BTreeMap<&[u8], Option<Place>> = BTreeMap::new();
    let (mut start, mut last) = (0, None);
    while start < bytes.len() {
        let frame = Frame::at(bytes, start)?;
        let is_whole = frame.is_whole()?;
        if !is_whole && last.map(|last: u64| last + 1) != Some(frame.sequence) {
            return None;
        }
        let mut all = Vec::new();
        for entry in frame.entries() {
            let Entry { key, record } = entry?;
            let name = bytes.get(key.clone())?;
            let place = record.map(|record| Place { key, record });
            if is_whole {
                all.extend(place);
            } else {
                changes.insert(name, place);
            }
        }
        if is_whole {
            whole = Some(all);
            changes.clear();
        }
        (start, last) = (frame.end(), Some(frame.sequence));
    }
    Some(merged(bytes, whole?, changes))
}

/// Puts changes into the records that they change; both are sorted.
fn merged(bytes: &[u8], whole: Vec<Place>, changes: BTreeMap<&[u8], Option<Place>>) -> Vec<Place> {
    let mut merged = Vec::with_capacity(whole.len() + changes.len());
    let mut changes = changes.into_iter().peekable();
    for place in whole {
        let key = bytes.get(place.key.clone()).unwrap_or_default();
        while let Some((_, change)) = changes.next_if(|(next, _)| *next < key) {
            merged.extend(change);
        }
        match changes.next_if(|(next, _)| *next == key) {
            Some((_, change)) => merged.extend(change),
            None => merged.push(place),
        }
    }
    merged.extend(changes.filter_map(|(_, change)| change));
    merged
}

#[cfg(test)]
mod tests {
    use super::super::journal::Records;
    use super::*;

    /// Makes a journal of some transactions; returns it with its end, and what it leaves.
    fn journal(dir: &tempfile::TempDir) -> (Journal, End, Records) {
        let journal = Journal::beside(&dir.path().join("meta.sled"));
        let key = |number: u32| format!("key-{number:02}").into_bytes();
        let mut all: Records = (0..20).map(|n| (key(2 * n), vec![1; n as usize])).collect();
        let mut end = journal.restart(7, &all).unwrap();
        for round in 0..9_u32 {
            let changes = (0..round).map(|n| {
                let number = (7 * n + round) % 45;
                let is_removal = (n + round) % 3 == 0;
                (key(number), (!is_removal).then(|| vec![2; round as usize]))
            });
            let changes: BTreeMap<_, _> = changes.collect();
            end = Journal::write(&journal.writable().unwrap(), end, &changes).unwrap();
            for (key, change) in changes {
                match change {
                    Some(bytes) => all.insert(key, bytes),
                    None => all.remove(&key),
                };
            }
        }
        (journal, end, all)
    }

    fn owned<'e>(entries: impl Iterator<Item = (&'e [u8], &'e [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
        entries.map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
    }

    #[test]
    fn a_recording_is_what_the_transactions_leave_whatever_follows() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, end, all) = journal(&dir);
        let recording = journal.recording(end).unwrap();
        let later = BTreeMap::from([(b"later".to_vec(), Some(Vec::new()))]);
        Journal::write(&journal.writable().unwrap(), end, &later).unwrap();
        journal.restart(90, &Records::new()).unwrap();
        let entries = recording.read().unwrap();
        assert!(entries.is_sound());
        let expected: Vec<_> = all.clone().into_iter().collect();
        assert_eq!(owned(entries.iter()), expected);
        for prefix in ["", "key-", "key-1", "key-39", "l", "a"] {
            let expected = expected
                .iter()
                .filter(|(k, _)| k.starts_with(prefix.as_bytes()));
            let expected: Vec<_> = expected.cloned().collect();
            assert_eq!(
                owned(entries.under(prefix.as_bytes())),
                expected,
                "{prefix}"
            );
        }
    }

    #[test]
    fn damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, end, _) = journal(&dir);
        let bytes = std::fs::read(journal.path()).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            std::fs::write(journal.path(), &damaged).unwrap();
            let read = journal.recording(end).unwrap().read();
            assert!(!read.is_ok_and(|entries| entries.is_sound()), "{place}");
        }
    }

    #[test]
    fn copied_entries_are_in_their_places() {
        let mut entries = Entries::default();
        let all = [("a", "1"), ("b", ""), ("c", "333")];
        for (key, record) in all {
            entries.push(key.as_bytes(), record.as_bytes());
        }
        let expected = all.map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()));
        assert_eq!(owned(entries.iter()), expected);
    }
}

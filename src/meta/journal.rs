//! The journal: all records once more, beside the database.
//!
//! `meta.journal` is a row of frames. The first holds all records that there were when it
//! was begun; each transaction appends its changes before the database takes them. So the
//! records survive the loss of the database, and changes that the database has lost (sled
//! cuts off what it cannot read at its end, and says nothing) are seen and made again: frames
//! and database count the transactions. A frame cut short at the end is of a transaction
//! that was never acknowledged.
//!
//! ```text
//! frame  := length of the body u64  sequence u64  sha256 of both and the body  body  trailer
//! body   := is it whole u8  entry*
//! entry  := length u32  key  length u32, or !0 for a removal  bytes
//! trailer := length of the body u64  sequence u64  first 8 bytes of sha256 of both
//! ```
//! Numbers are little-endian. The last frame is found from the end, so that to open the
//! database costs one small read more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::database::Change;
use crate::publish;

/// Bytes before the body of a frame, and behind it.
pub(super) const HEADER: usize = 48;
pub(super) const TRAILER: usize = 24;
/// Bytes of changes that are worth no new beginning.
const SLACK: u64 = 1 << 20;
/// The length that stands for a removal.
pub(super) const REMOVED: u32 = u32::MAX;

/// All records, by key.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The file beside the database.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
}

/// The end of a journal: the number of its last transaction, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) sequence: u64,
    pub(super) length: u64,
}

/// Which file the journal is, and how long: another after each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

/// One frame, read and checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) sequence: u64,
    /// Whether the frame holds all records that there are.
    pub(super) is_whole: bool,
    pub(super) changes: Vec<Change>,
}

impl Journal {
    /// Names the journal of the database at `database`.
    pub(super) fn beside(database: &Path) -> Self {
        Self {
            path: database.with_extension("journal"),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what tells whether something was appended; `None` where there is no journal.
    pub(super) fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(|metadata| {
                Some(Stamp {
                    inode: metadata.ino(),
                    length: metadata.len(),
                    modified: (metadata.mtime(), metadata.mtime_nsec()),
                })
            }),
        }
    }

    /// Returns where the journal ends; `None` where there is none, or nothing in it.
    pub(super) fn end(&self) -> io::Result<Option<End>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let length = file.metadata()?.len();
        let mut trailer = [0; TRAILER];
        if let Some(start) = length.checked_sub(TRAILER as u64) {
            file.read_exact_at(&mut trailer, start)?;
            if let Some((_, sequence)) = parse_trailer(&trailer) {
                return Ok(Some(End { sequence, length }));
            }
        }
        // Cut short by a crash: what is before the last frame counts.
        let mut end = None;
        let mut reader = Reader::new(file)?;
        while let Some(frame) = reader.next()? {
            end = Some(End {
                sequence: frame.sequence,
                length: reader.position,
            });
        }
        Ok(end)
    }

    /// Appends a frame behind the end; it is on the disk when this returns.
    pub(super) fn append(
        &self,
        end: End,
        changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    ) -> io::Result<()> {
        let file = self.writable()?;
        Self::write(&file, end, changes)?;
        let synced = file.sync_data();
        synced.inspect_err(|_| drop(file.set_len(end.length)))
    }

    /// Opens the journal for [`Self::write`].
    pub(super) fn writable(&self) -> io::Result<File> {
        File::options().write(true).open(&self.path)
    }

    /// Writes a frame behind the end; returns the new end. What brings it to the disk is left to
    /// the caller.
    pub(super) fn write(
        file: &File,
        end: End,
        changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    ) -> io::Result<End> {
        let entries = changes
            .iter()
            .map(|(key, change)| (key.as_slice(), change.as_deref()));
        let sequence = end.sequence + 1;
        let frame = encode(false, sequence, entries)?;
        file.set_len(end.length)
            .and_then(|()| file.write_all_at(&frame, end.length))
            .inspect_err(|_| drop(file.set_len(end.length)))?;
        Ok(End {
            sequence,
            length: end.length + frame.len() as u64,
        })
    }

    /// Takes back what was appended behind the end.
    pub(super) fn take_back(&self, end: End) -> io::Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(end.length)?;
        file.sync_data()
    }

    /// Begins the journal anew with all records; returns its end.
    pub(super) fn restart(&self, sequence: u64, all: &Records) -> io::Result<End> {
        let entries = all
            .iter()
            .map(|(key, bytes)| (key.as_slice(), Some(bytes.as_slice())));
        let frame = encode(true, sequence, entries)?;
        let fresh = self.path.with_extension("journal.new");
        let write = || {
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(&frame)?;
            publish::file(&file, &fresh, &self.path)?;
            publish::sync_directory(self.path.parent().unwrap_or(Path::new("/")))
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&fresh)))?;
        Ok(End {
            sequence,
            length: frame.len() as u64,
        })
    }

    /// Says whether most of the journal is changes that others have overtaken.
    pub(super) fn is_long(&self) -> io::Result<bool> {
        let file = File::open(&self.path)?;
        let mut length = [0; 8];
        file.read_exact_at(&mut length, 0)?;
        let first = u64::from_le_bytes(length);
        Ok(file.metadata()?.len() > first.saturating_mul(2).saturating_add(SLACK))
    }

    /// Returns the frames that lead from transaction `known` to the end: from the last whole
    /// one on, or those behind `known`. `InvalidData` if one of them is damaged or missing.
    pub(super) fn frames_after(&self, known: u64, end: End) -> io::Result<Vec<Frame>> {
        let mut reader = Reader::new(File::open(&self.path)?)?;
        let mut frames = Vec::new();
        let mut last = known;
        while let Some(frame) = reader.next()? {
            if frame.sequence <= known {
                continue;
            }
            if frame.is_whole {
                frames.clear();
            } else if frame.sequence != last + 1 {
                break;
            }
            last = frame.sequence;
            frames.push(frame);
        }
        if last == end.sequence {
            return Ok(frames);
        }
        let message = format!("no readable transaction follows number {last}");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }

    /// Returns all records as the journal has them, as far as it can be read, and the
    /// number of the last transaction; whether it could be read to its end.
    pub(super) fn fold(&self) -> io::Result<(Records, u64, bool)> {
        let mut reader = Reader::new(File::open(&self.path)?)?;
        let (mut records, mut sequence) = (Records::new(), 0);
        while let Some(frame) = reader.next()? {
            if frame.is_whole {
                records.clear();
            }
            for (key, change) in frame.changes {
                match change {
                    Some(bytes) => records.insert(key, bytes),
                    None => records.remove(&key),
                };
            }
            sequence = frame.sequence;
        }
        Ok((records, sequence, reader.position == reader.length))
    }
}

/// Reads frames from the start until one is not whole.
struct Reader {
    file: io::BufReader<File>,
    length: u64,
    position: u64,
}

impl Reader {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            length: file.metadata()?.len(),
            file: io::BufReader::new(file),
            position: 0,
        })
    }

    fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; HEADER];
        let rest = self.length - self.position;
        if rest < (HEADER + TRAILER) as u64 {
            return Ok(None);
        }
        self.file.read_exact(&mut header)?;
        let (numbers, hash) = header.split_at(16);
        let (length, sequence) = two_numbers(numbers);
        if length > rest - (HEADER + TRAILER) as u64 {
            return Ok(None);
        }
        let mut body = Vec::new();
        self.file.by_ref().take(length).read_to_end(&mut body)?;
        let mut trailer = [0; TRAILER];
        self.file.read_exact(&mut trailer)?;
        let mut hasher = Sha256::new();
        hasher.update(numbers);
        hasher.update(&body);
        if hasher.finalize().as_slice() != hash
            || parse_trailer(&trailer) != Some((length, sequence))
        {
            return Ok(None);
        }
        let Some((is_whole, changes)) = parse_body(&body) else {
            return Ok(None);
        };
        self.position += length + (HEADER + TRAILER) as u64;
        Ok(Some(Frame {
            sequence,
            is_whole,
            changes,
        }))
    }
}

fn encode<'a>(
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
    let mut hasher = Sha256::new();
    hasher.update(&numbers);
    hasher.update(frame.get(HEADER..).unwrap_or_default());
    let header = [numbers.as_slice(), hasher.finalize().as_slice()].concat();
    frame.splice(..HEADER, header);
    frame.extend(&numbers);
    frame.extend(check_of(&numbers));
    Ok(frame)
}

fn length_of(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len())
        .ok()
        .filter(|length| *length != REMOVED)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a record is too long"))
}

fn check_of(numbers: &[u8]) -> Vec<u8> {
    Sha256::digest(numbers).iter().take(8).copied().collect()
}

fn parse_trailer(trailer: &[u8; TRAILER]) -> Option<(u64, u64)> {
    let (numbers, check) = trailer.split_at(16);
    (check_of(numbers) == check).then(|| two_numbers(numbers))
}

pub(super) fn two_numbers(bytes: &[u8]) -> (u64, u64) {
    let number = |bytes: &[u8]| {
        bytes
            .first_chunk()
            .map_or(0, |chunk| u64::from_le_bytes(*chunk))
    };
    (number(bytes), number(bytes.get(8..).unwrap_or_default()))
}

fn parse_body(body: &[u8]) -> Option<(bool, Vec<Change>)> {
    let (is_whole, mut rest) = body.split_first()?;
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = split_u32(rest)?;
        let (key, tail) = tail.split_at_checked(length as usize)?;
        let (length, tail) = split_u32(tail)?;
        let (change, tail) = if length == REMOVED {
            (None, tail)
        } else {
            let (bytes, tail) = tail.split_at_checked(length as usize)?;
            (Some(bytes.to_vec()), tail)
        };
        changes.push((key.to_vec(), change));
        rest = tail;
    }
    Some((*is_whole != 0, changes))
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn changes(pairs: &[(&str, Option<&str>)]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let owned = |text: &str| text.as_bytes().to_vec();
        pairs
            .iter()
            .map(|(key, change)| (owned(key), change.map(owned)))
            .collect()
    }

    /// A journal of four transactions, the first of them whole.
    fn journal(dir: &tempfile::TempDir) -> (Journal, Vec<End>) {
        let journal = Journal::beside(&dir.path().join("meta.sled"));
        assert_eq!(journal.end().unwrap(), None);
        let all = Records::from([(b"a".to_vec(), b"1".to_vec())]);
        let mut ends = vec![journal.restart(7, &all).unwrap()];
        for pairs in [
            [("b", Some("2"))].as_slice(),
            &[("a", None), ("c", Some(""))],
            &[("b", Some("3"))],
        ] {
            let end = *ends.last().unwrap();
            journal.append(end, &changes(pairs)).unwrap();
            ends.push(journal.end().unwrap().unwrap());
        }
        (journal, ends)
    }

    #[test]
    fn transactions_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, ends) = journal(&dir);
        let end = ends[3];
        assert_eq!(end.sequence, 10);
        let expected = Records::from([(b"b".to_vec(), b"3".to_vec()), (b"c".to_vec(), Vec::new())]);
        assert_eq!(journal.fold().unwrap(), (expected, 10, true));
        for (known, count, first_is_whole) in
            [(0, 4, true), (7, 3, false), (9, 1, false), (10, 0, false)]
        {
            let frames = journal.frames_after(known, end).unwrap();
            assert_eq!(frames.len(), count, "behind {known}");
            let is_whole = frames.first().is_some_and(|frame| frame.is_whole);
            assert_eq!(is_whole, first_is_whole, "behind {known}");
        }
        journal.take_back(ends[2]).unwrap();
        assert_eq!(journal.end().unwrap(), Some(ends[2]));
    }

    #[test]
    fn a_frame_that_was_cut_short_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, ends) = journal(&dir);
        let bytes = fs::read(journal.path()).unwrap();
        for cut in 1..bytes.len() {
            fs::write(journal.path(), &bytes[..cut]).unwrap();
            let expected = ends.iter().rev().find(|end| end.length <= cut as u64);
            assert_eq!(journal.end().unwrap().as_ref(), expected, "{cut}");
            if let Some(end) = expected {
                journal.append(*end, &changes(&[("d", Some("4"))])).unwrap();
                let (records, sequence, is_whole) = journal.fold().unwrap();
                assert!(records.contains_key(b"d".as_slice()) && is_whole, "{cut}");
                assert_eq!(sequence, end.sequence + 1, "{cut}");
            }
        }
    }

    #[test]
    fn damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, ends) = journal(&dir);
        let bytes = fs::read(journal.path()).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            fs::write(journal.path(), &damaged).unwrap();
            assert!(!journal.fold().unwrap().2, "{place}");
            let error = journal.frames_after(0, ends[3]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{place}");
        }
    }
}

//! The journal: all records once more, beside the database.
//!
//! `meta.journal` is a row of frames. The first holds all records that there were when it
//! was begun; each transaction appends its changes before the database takes them. So the
//! records survive the loss of the database, and changes that the database has lost (sled
//! cuts off what it cannot read at its end, and says nothing) are seen and made again: frames
//! and database count the transactions. A frame cut short at the end is of a transaction
//! that was never acknowledged. The last frame is found from the end, so that to open the
//! database costs one small read more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::database::Change;
use super::frame::{self, Frame, HEADER, TRAILER};
use crate::publish;

/// Bytes of changes that are worth no new beginning.
const SLACK: u64 = 1 << 20;

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

/// What one frame holds, read and checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recorded {
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
            if let Some(sequence) = frame::sequence_before(&trailer) {
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
        let frame = frame::encode(false, sequence, entries)?;
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
        let frame = frame::encode(true, sequence, entries)?;
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
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let first = frame::body_length(&header);
        Ok(file.metadata()?.len() > first.saturating_mul(2).saturating_add(SLACK))
    }

    /// Returns the frames that lead from transaction `known` to the end: from the last whole
    /// one on, or those behind `known`. `InvalidData` if one of them is damaged or missing.
    pub(super) fn frames_after(&self, known: u64, end: End) -> io::Result<Vec<Recorded>> {
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

    fn next(&mut self) -> io::Result<Option<Recorded>> {
        let rest = self.length - self.position;
        if rest < (HEADER + TRAILER) as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.file.read_exact(&mut header)?;
        let length = frame::body_length(&header);
        if length > rest - (HEADER + TRAILER) as u64 {
            return Ok(None);
        }
        let mut bytes = header.to_vec();
        let behind = length + TRAILER as u64;
        self.file.by_ref().take(behind).read_to_end(&mut bytes)?;
        let recorded = Frame::at(&bytes, 0).filter(Frame::is_sound);
        let Some(recorded) = recorded.and_then(|frame| Recorded::of(&frame, &bytes)) else {
            return Ok(None);
        };
        self.position += bytes.len() as u64;
        Ok(Some(recorded))
    }
}

impl Recorded {
    /// Copies what a frame of `bytes` holds; `None` if it cannot be read.
    fn of(frame: &Frame<'_>, bytes: &[u8]) -> Option<Self> {
        let part = |range: Range<usize>| bytes.get(range).unwrap_or_default().to_vec();
        let changes = frame.entries().map(|entry| {
            let entry = entry?;
            Some((part(entry.key), entry.record.map(part)))
        });
        Some(Self {
            sequence: frame.sequence,
            is_whole: frame.is_whole()?,
            changes: changes.collect::<Option<_>>()?,
        })
    }
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

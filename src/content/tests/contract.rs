//! The contract of the content service, case by case as containerd's own suite has it.

mod resume;

use std::io::Read as _;

use jiff::Timestamp;

use super::*;
use crate::error_class::ErrorClass;
use crate::events::Event;
use crate::meta::{ContentRecord, Labels};

struct Stage {
    _dir: tempfile::TempDir,
    store: Store,
    blobs: Blobs,
}

impl Stage {
    fn new() -> Self {
        let (dir, store) = store();
        Self {
            blobs: Blobs::new(&store, Namespace::default()),
            store,
            _dir: dir,
        }
    }

    fn other(&self) -> Blobs {
        Blobs::new(&self.store, "other".parse().unwrap())
    }

    fn writer(&self, reference: &str) -> Writer {
        self.blobs.writer(reference, 0, None).unwrap()
    }

    /// Writes a blob.
    fn add(&self, bytes: &[u8]) -> Digest {
        let mut writer = self.writer("add");
        writer.write(bytes).unwrap();
        writer.commit(0, None, Labels::new()).unwrap().digest
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn class<T: std::fmt::Debug>(result: Result<T, ContentError>) -> ErrorClass {
    result.unwrap_err().class()
}

fn bytes_of(blobs: &Blobs, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = blobs.read(digest, 0, None).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn writer() {
    let stage = Stage::new();
    let before = Timestamp::now();
    let contents: Vec<Vec<u8>> = (1..=5).map(|number| noise(number * 1000)).collect();
    let mut writers = Vec::new();
    for (number, bytes) in contents.iter().enumerate() {
        let total = if number % 2 == 1 {
            bytes.len() as u64
        } else {
            0
        };
        let expected = (number >= 2).then(|| Digest::sha256(bytes));
        let reference = format!("ref-{number}");
        let writer = stage.blobs.writer(&reference, total, expected.as_ref());
        writers.push((writer.unwrap(), bytes));
    }
    for (mut writer, bytes) in writers {
        for piece in bytes.chunks(32) {
            writer.write(piece).unwrap();
        }
        assert_eq!(writer.digest(), Digest::sha256(bytes));
        let record = writer.commit(0, None, labels(&[("k", "v")])).unwrap();
        let info = stage.blobs.info(&Digest::sha256(bytes)).unwrap();
        assert_eq!(info, record);
        assert_eq!(info.size, bytes.len() as u64);
        assert_eq!(info.labels, labels(&[("k", "v")]));
        assert_eq!(info.created, info.updated);
        assert!(info.created >= before && info.created <= Timestamp::now());
        assert_eq!(bytes_of(&stage.blobs, &info.digest), *bytes);
    }
    assert!(stage.blobs.statuses(&Filter::all()).unwrap().is_empty());
}

#[test]
fn update_status() {
    let stage = Stage::new();
    let bytes = noise(300);
    let digest = Digest::sha256(&bytes);
    let mut writer = stage.blobs.writer("status", 300, Some(&digest)).unwrap();
    let mut last = writer.status().unwrap();
    assert_eq!((last.offset, last.total), (0, 300));
    assert_eq!(
        (&*last.reference, &last.expected),
        ("status", &Some(digest))
    );
    for (number, piece) in bytes.chunks(100).enumerate() {
        writer.write(piece).unwrap();
        let status = writer.status().unwrap();
        let written = (number + 1) * 100;
        assert_eq!(status.offset, written as u64);
        assert_eq!(status.started, last.started);
        assert!(status.updated >= last.updated);
        assert_eq!(writer.digest(), Digest::sha256(&bytes[..written]));
        assert_eq!(stage.blobs.status("status").unwrap(), status);
        last = status;
    }
    let filter = Filter::parse(&["ref==status"]).unwrap();
    assert_eq!(stage.blobs.statuses(&filter).unwrap(), [last]);
    let filter = Filter::parse(&["ref==other"]).unwrap();
    assert!(stage.blobs.statuses(&filter).unwrap().is_empty());
}

#[test]
fn commit_exists() {
    let stage = Stage::new();
    let bytes = noise(256);
    let digest = stage.add(&bytes);
    for expected in [None, Some(&digest)] {
        let mut writer = stage.writer("second");
        writer.write(&bytes).unwrap();
        let result = writer.commit(0, expected, labels(&[("new", "1")]));
        assert_eq!(class(result), ErrorClass::AlreadyExists);
        assert_eq!(class(stage.blobs.status("second")), ErrorClass::NotFound);
    }
    assert_eq!(stage.blobs.info(&digest).unwrap().labels, Labels::new());
    let result = stage.blobs.writer("third", 0, Some(&digest));
    assert_eq!(class(result), ErrorClass::AlreadyExists);
}

#[test]
fn small_blob() {
    let stage = Stage::new();
    let digest = stage.add(b"small");
    let table = [
        (0, None, "small"),
        (0, Some(100), "small"),
        (2, Some(2), "al"),
        (2, Some(100), "all"),
        (5, None, ""),
        (5, Some(1), ""),
    ];
    for (offset, length, expected) in table {
        let mut text = String::new();
        let mut reader = stage.blobs.read(&digest, offset, length).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, expected, "{offset} {length:?}");
    }
    assert_eq!(
        class(stage.blobs.read(&digest, 6, None)),
        ErrorClass::OutOfRange
    );
    let empty = stage.add(b"");
    assert_eq!(bytes_of(&stage.blobs, &empty), b"");
}

#[test]
fn labels_of_blobs() {
    let stage = Stage::new();
    let mut writer = stage.writer("labelled");
    writer.write(b"labelled").unwrap();
    let given = labels(&[("k1", "v1"), ("k2", "v2"), ("empty", "")]);
    let record = writer.commit(0, None, given).unwrap();
    let digest = record.digest;
    assert_eq!(record.labels, labels(&[("k1", "v1"), ("k2", "v2")]));
    let update = |new: &[(&str, &str)], mask: &[&str]| {
        let updated = stage.blobs.update(&digest, &labels(new), mask)?;
        assert_eq!(stage.blobs.info(&digest)?, updated);
        Ok::<ContentRecord, ContentError>(updated)
    };
    let replaced = update(&[("k2", "b"), ("k3", "c")], &[]).unwrap();
    assert_eq!(replaced.labels, labels(&[("k2", "b"), ("k3", "c")]));
    assert!(replaced.updated > replaced.created);
    let masked = update(&[("k1", "a"), ("k4", "d")], &["labels.k3", "labels.k1"]).unwrap();
    assert_eq!(masked.labels, labels(&[("k1", "a"), ("k2", "b")]));
    assert_eq!(masked.created, record.created);
    let error = update(&[], &["size"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot update \"size\" field on content \"{digest}\"")
    );
    let filter = Filter::parse(&["labels.k1==a", "size==8"]).unwrap();
    assert_eq!(stage.blobs.matching(&filter).unwrap(), [masked]);
    let long = labels(&[("k", &"v".repeat(4096))]);
    let result = stage.writer("long").commit(0, None, long);
    assert_eq!(class(result), ErrorClass::InvalidArgument);
}

#[test]
fn commit_error_state() {
    let stage = Stage::new();
    let bytes = noise(256);
    let (digest, other) = (Digest::sha256(&bytes), Digest::sha256(b"other"));
    let open = stage.writer("state");
    assert_eq!(
        class(stage.blobs.writer("state", 0, None)),
        ErrorClass::Unavailable
    );
    assert_eq!(class(stage.blobs.abort("state")), ErrorClass::Unavailable);
    drop(open);
    let mut writer = stage.writer("state");
    writer.write(&bytes).unwrap();
    for (size, expected) in [(256, Some(&other)), (255, None), (257, Some(&digest))] {
        let result = writer.commit(size, expected, Labels::new());
        assert_eq!(class(result), ErrorClass::FailedPrecondition);
        writer = stage.writer("state");
        assert_eq!((writer.offset(), writer.digest()), (256, digest.clone()));
    }
    writer.commit(256, Some(&digest), Labels::new()).unwrap();
    let mut writer = stage.writer("state");
    writer.write(&bytes).unwrap();
    let result = writer.commit(0, Some(&digest), Labels::new());
    assert_eq!(class(result), ErrorClass::AlreadyExists);
    let mut writer = stage.writer("state");
    assert_eq!(writer.offset(), 0, "the ingest was reset");
    writer.write(b"x").unwrap();
    writer.truncate().unwrap();
    drop(writer);
    assert_eq!(stage.writer("state").offset(), 0);
    stage.blobs.abort("state").unwrap();
    assert_eq!(class(stage.blobs.abort("state")), ErrorClass::NotFound);
    assert_eq!(
        class(stage.blobs.writer("", 0, None)),
        ErrorClass::InvalidArgument
    );
}

#[test]
fn cross_namespace_append() {
    let stage = Stage::new();
    let (bytes, more) = (noise(1000), b"more");
    let digest = stage.add(&bytes);
    let whole = [&bytes[..], more].concat();
    let other = stage.other();
    let mut writer = other.writer("append", 0, Some(&digest)).unwrap();
    assert_eq!((writer.offset(), writer.digest()), (1000, digest.clone()));
    writer.write(more).unwrap();
    assert_eq!(writer.offset(), 1004);
    drop(writer);
    let writer = other.writer("append", 0, None).unwrap();
    let appended = Digest::sha256(&whole);
    writer.commit(1004, Some(&appended), Labels::new()).unwrap();
    assert_eq!(bytes_of(&other, &appended), whole);
    assert_eq!(class(other.info(&digest)), ErrorClass::NotFound);
    assert_eq!(class(stage.blobs.info(&appended)), ErrorClass::NotFound);
    assert_eq!(bytes_of(&stage.blobs, &digest), bytes);
}

#[test]
fn cross_namespace_share() {
    let stage = Stage::new();
    let bytes = noise(1000);
    let digest = stage.add(&bytes);
    let other = stage.other();
    assert_eq!(class(other.read(&digest, 0, None)), ErrorClass::NotFound);
    assert_eq!(
        class(other.writer("share", 999, Some(&digest))),
        ErrorClass::FailedPrecondition
    );
    let writer = other.writer("share", 1000, Some(&digest)).unwrap();
    assert_eq!(writer.status().unwrap().offset, 1000);
    let given = labels(&[("mine", "1")]);
    writer.commit(1000, Some(&digest), given.clone()).unwrap();
    assert_eq!(other.info(&digest).unwrap().labels, given);
    assert_eq!(stage.blobs.info(&digest).unwrap().labels, Labels::new());
    stage.blobs.delete(&digest).unwrap();
    assert_eq!(class(stage.blobs.delete(&digest)), ErrorClass::NotFound);
    assert_eq!(
        bytes_of(&other, &digest),
        bytes,
        "a file for all namespaces"
    );
    let mut writer = stage.blobs.writer("again", 0, Some(&digest)).unwrap();
    writer.truncate().unwrap();
    assert_eq!(writer.offset(), 0, "what is shared need not be taken");
}

#[test]
fn other_algorithms() {
    let stage = Stage::new();
    let digest = crate::oci::Algorithm::Sha512.digest(b"long");
    for expected in [None, Some(&digest)] {
        let blobs = if expected.is_some() {
            stage.other()
        } else {
            stage.blobs.clone()
        };
        let mut writer = blobs.writer("long", 0, expected).unwrap();
        if writer.offset() == 0 {
            writer.write(b"long").unwrap();
        }
        writer.commit(4, Some(&digest), Labels::new()).unwrap();
        assert_eq!(bytes_of(&blobs, &digest), b"long");
    }
}

#[test]
fn changes_are_told() {
    let stage = Stage::new();
    let digest = stage.add(b"told");
    stage.blobs.delete(&digest).unwrap();
    let created = Event::ContentCreate {
        digest: digest.clone(),
        size: 4,
    };
    let mut follower = stage.store.events().from_oldest().unwrap();
    let envelopes = follower.read().unwrap();
    let events: Vec<Event> = envelopes
        .into_iter()
        .map(|envelope| envelope.event)
        .collect();
    assert_eq!(events, [created, Event::ContentDelete { digest }]);
}

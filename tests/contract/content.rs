//! The cases of the content service.

pub(crate) mod blobs;
mod resume;

use std::time::{Duration, SystemTime};

use mica::content::SharingPolicy;
use mica::namespaces::Namespaces;
use mica::oci::Digest;
use mica::store::Store;
use mica_proto::content::Info;
use tonic::Code;

use crate::client::{NAMESPACE, labels};
use crate::server::refused;
use crate::stage::Stage;
use blobs::Blobs;

pub(crate) use resume::{
    resume, resume_copy, resume_copy_reader_at, resume_copy_seeker, resume_discard, resume_truncate,
};

impl Stage {
    fn blobs(&self) -> Blobs {
        Blobs::on(self.way.clone(), NAMESPACE)
    }

    /// Has namespaces kept apart; returns the store.
    fn isolated(&self) -> Store {
        let store = Store::open(&self.store()).unwrap();
        let policy = SharingPolicy::Isolated;
        store.content().set_sharing_policy(policy).unwrap();
        store
    }

    /// The same store, for others.
    fn other(&self) -> Blobs {
        Blobs::on(self.way.clone(), "other")
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

fn digest(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap()
}

pub(crate) async fn writer(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let before = SystemTime::now() - Duration::from_secs(1);
    let mut contents: Vec<Vec<u8>> = (1..=4).map(|number| noise(number * 100)).collect();
    contents.push(noise(32 << 20));
    let mut writers = Vec::new();
    for (number, bytes) in contents.iter().enumerate() {
        let total = if number % 2 == 1 { length(bytes) } else { 0 };
        let expected = if number >= 2 {
            digest(bytes)
        } else {
            String::new()
        };
        let reference = format!("ref-{number}");
        let writer = blobs.writer(&reference, total, &expected).await.unwrap();
        writers.push((writer, bytes));
    }
    for (mut writer, bytes) in writers {
        // The large one is written as clients write such.
        let size = if bytes.len() > 1 << 20 { 8 << 20 } else { 32 };
        for piece in bytes.chunks(size) {
            writer.write(piece).await.unwrap();
        }
        assert_eq!(writer.last.digest, digest(bytes));
        let pairs = labels(&[("k", "v")]);
        let answer = writer.commit(0, "", pairs.clone()).await.unwrap();
        assert_eq!(answer.digest, digest(bytes));
        let info = blobs.info(&digest(bytes)).await.unwrap();
        assert_eq!((info.size, &info.labels), (length(bytes), &pairs));
        assert_eq!(info.created_at, info.updated_at);
        let created = SystemTime::try_from(info.created_at.unwrap()).unwrap();
        assert!(created > before && created < SystemTime::now() + Duration::from_secs(1));
        assert!(blobs.bytes(&info.digest, 0, 0).await.unwrap() == *bytes);
    }
    assert_eq!(blobs.statuses(&[]).await.unwrap(), []);
}

pub(crate) async fn update_status(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let bytes = noise(300);
    let opened = blobs.writer("status", 300, &digest(&bytes)).await;
    let mut writer = opened.unwrap();
    assert_eq!((writer.last.offset, writer.last.total), (0, 300));
    let mut last = blobs.status("status").await.unwrap();
    assert_eq!((last.offset, last.total, &*last.r#ref), (0, 300, "status"));
    assert_eq!(last.expected, digest(&bytes));
    for (number, piece) in bytes.chunks(100).enumerate() {
        writer.write(piece).await.unwrap();
        let written = (number + 1) * 100;
        assert_eq!(writer.last.digest, digest(&bytes[..written]));
        let status = blobs.status("status").await.unwrap();
        assert_eq!(status.offset, length(&bytes[..written]));
        assert_eq!(status.started_at, last.started_at);
        let updated = |status: &mica_proto::content::Status| {
            SystemTime::try_from(status.updated_at.unwrap()).unwrap()
        };
        assert!(updated(&status) >= updated(&last));
        last = status;
    }
    let found = blobs.statuses(&["ref==status"]).await.unwrap();
    assert_eq!(found, [last]);
    assert_eq!(blobs.statuses(&["ref==other"]).await.unwrap(), []);
}

pub(crate) async fn commit_exists(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let bytes = noise(256);
    let digest = blobs.add(&bytes).await;
    for expected in ["", &digest] {
        let mut writer = blobs.writer("second", 0, "").await.unwrap();
        writer.write(&bytes).await.unwrap();
        let pairs = labels(&[("new", "1")]);
        let committed = writer.commit(0, expected, pairs).await;
        refused(committed, Code::AlreadyExists, "already exists");
        let status = blobs.status("second").await;
        refused(status, Code::NotFound, "not found");
    }
    assert_eq!(blobs.info(&digest).await.unwrap().labels, labels(&[]));
    let third = blobs.writer("third", 0, &digest).await;
    refused(third, Code::AlreadyExists, "already exists");
}

pub(crate) async fn small_blob(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let digest = blobs.add(b"small").await;
    let table: [(i64, i64, &[u8]); 7] = [
        (0, 0, b"small"),
        (0, 100, b"small"),
        (0, -1, b"small"),
        (2, 2, b"al"),
        (2, 100, b"all"),
        (5, 0, b""),
        (5, 1, b""),
    ];
    for (offset, size, expected) in table {
        let bytes = blobs.bytes(&digest, offset, size).await.unwrap();
        assert_eq!(bytes, expected, "{offset}, {size}");
    }
    let beyond = blobs.bytes(&digest, 6, 0).await;
    refused(beyond, Code::OutOfRange, "out of range");
    let empty = blobs.add(b"").await;
    assert_eq!(blobs.bytes(&empty, 0, 0).await.unwrap(), b"");
}

pub(crate) async fn labels_of_blobs(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let mut writer = blobs.writer("labelled", 0, "").await.unwrap();
    writer.write(b"labelled").await.unwrap();
    let given = labels(&[("k1", "v1"), ("k2", "v2"), ("empty", "")]);
    let digest = writer.commit(0, "", given).await.unwrap().digest;
    let first = blobs.info(&digest).await.unwrap();
    assert_eq!(first.labels, labels(&[("k1", "v1"), ("k2", "v2")]));
    let info = |pairs: &[(&str, &str)]| Info {
        digest: digest.clone(),
        labels: labels(pairs),
        ..Info::default()
    };
    let new = [("k2", "b"), ("k3", "c")];
    let replaced = blobs.update(info(&new), &[]).await.unwrap();
    assert_eq!(replaced.labels, labels(&new));
    assert_ne!(replaced.updated_at, first.updated_at);
    let mask = ["labels.k3", "labels.k1"];
    let new = [("k1", "a"), ("k4", "d")];
    let masked = blobs.update(info(&new), &mask).await.unwrap();
    assert_eq!(masked.labels, labels(&[("k1", "a"), ("k2", "b")]));
    assert_eq!(masked.created_at, first.created_at);
    let refusal = blobs.update(info(&[]), &["size"]).await;
    let end = format!(r#"cannot update "size" field on content "{digest}": invalid argument"#);
    refused(refusal, Code::InvalidArgument, &end);
    let found = blobs.list(&["labels.k1==a"]).await.unwrap();
    assert_eq!(found, [masked]);
    let long = labels(&[("k", &"v".repeat(4096))]);
    let writer = blobs.writer("long", 0, "").await.unwrap();
    let committed = writer.commit(0, "", long).await;
    refused(committed, Code::InvalidArgument, "invalid argument");
}

pub(crate) async fn commit_error_state(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let bytes = noise(256);
    let (right, wrong) = (digest(&bytes), digest(b"other"));
    let open = blobs.writer("state", 0, "").await.unwrap();
    let second = blobs.writer("state", 0, "").await;
    refused(second, Code::Unavailable, "unavailable");
    let aborted = blobs.abort("state").await;
    refused(aborted, Code::Unavailable, "unavailable");
    open.close().await;
    let mut writer = blobs.writer("state", 0, "").await.unwrap();
    writer.write(&bytes).await.unwrap();
    for (size, expected) in [(256, &*wrong), (255, ""), (257, &right)] {
        let committed = writer.commit(size, expected, labels(&[])).await;
        refused(committed, Code::FailedPrecondition, "failed precondition");
        writer = blobs.writer("state", 0, "").await.unwrap();
        assert_eq!((writer.last.offset, &writer.last.digest), (256, &right));
    }
    writer.commit(256, &right, labels(&[])).await.unwrap();
    let mut writer = blobs.writer("state", 0, "").await.unwrap();
    writer.write(&bytes).await.unwrap();
    let committed = writer.commit(0, &right, labels(&[])).await;
    refused(committed, Code::AlreadyExists, "already exists");
    let mut writer = blobs.writer("state", 0, "").await.unwrap();
    assert_eq!(writer.last.offset, 0, "the ingest was reset");
    writer.write(b"x").await.unwrap();
    writer.write_at(0, b"y").await.unwrap();
    assert_eq!(writer.last.digest, digest(b"y"), "truncated");
    writer.close().await;
    blobs.abort("state").await.unwrap();
    let again = blobs.abort("state").await;
    refused(again, Code::NotFound, "not found");
    let nameless = blobs.writer("", 0, "").await;
    refused(nameless, Code::InvalidArgument, "invalid argument");
}

pub(crate) async fn cross_namespace_append(stage: &mut Stage) {
    let (mut blobs, mut other) = (stage.blobs(), stage.other());
    let (bytes, more) = (noise(1000), b"more");
    let first = blobs.add(&bytes).await;
    let mut writer = other.writer("append", 0, &first).await.unwrap();
    assert_eq!((writer.last.offset, &writer.last.digest), (1000, &first));
    writer.write(more).await.unwrap();
    assert_eq!(writer.last.offset, 1004);
    writer.close().await;
    let whole = [&bytes[..], more].concat();
    let appended = digest(&whole);
    let writer = other.writer("append", 0, "").await.unwrap();
    writer.commit(1004, &appended, labels(&[])).await.unwrap();
    assert_eq!(other.bytes(&appended, 0, 0).await.unwrap(), whole);
    refused(other.info(&first).await, Code::NotFound, "not found");
    refused(blobs.info(&appended).await, Code::NotFound, "not found");
    assert_eq!(blobs.bytes(&first, 0, 0).await.unwrap(), bytes);
}

pub(crate) async fn cross_namespace_share(stage: &mut Stage) {
    let (mut blobs, mut other) = (stage.blobs(), stage.other());
    let bytes = noise(1000);
    let digest = blobs.add(&bytes).await;
    let read = other.bytes(&digest, 0, 0).await;
    refused(read, Code::NotFound, "not found");
    let wrong = other.writer("share", 999, &digest).await;
    refused(wrong, Code::FailedPrecondition, "failed precondition");
    let writer = other.writer("share", 1000, &digest).await.unwrap();
    assert_eq!(writer.last.offset, 1000);
    let mine = labels(&[("mine", "1")]);
    writer.commit(1000, &digest, mine.clone()).await.unwrap();
    assert_eq!(other.info(&digest).await.unwrap().labels, mine);
    assert_eq!(blobs.info(&digest).await.unwrap().labels, labels(&[]));
    blobs.delete(&digest).await.unwrap();
    let again = blobs.delete(&digest).await;
    refused(again, Code::NotFound, "not found");
    let kept = other.bytes(&digest, 0, 0).await.unwrap();
    assert_eq!(kept, bytes, "a file for all namespaces");
    let mut writer = blobs.writer("again", 0, &digest).await.unwrap();
    writer.write_at(0, b"x").await.unwrap();
    assert_eq!(writer.last.offset, 1, "what is shared need not be taken");
}

pub(crate) async fn cross_namespace_isolate(stage: &mut Stage) {
    let (mut blobs, mut other) = (stage.blobs(), stage.other());
    drop(stage.isolated());
    let bytes = noise(1000);
    let digest = blobs.add(&bytes).await;
    let writer = other.writer("isolated", 1000, &digest).await.unwrap();
    assert_eq!(writer.last.offset, 0);
    let committed = writer.commit(1000, &digest, labels(&[])).await;
    refused(committed, Code::FailedPrecondition, "failed precondition");
    refused(other.info(&digest).await, Code::NotFound, "not found");
    let mut writer = other.writer("isolated", 1000, &digest).await.unwrap();
    writer.write(&bytes).await.unwrap();
    writer.commit(1000, &digest, labels(&[])).await.unwrap();
    assert_eq!(other.bytes(&digest, 0, 0).await.unwrap(), bytes);
}

pub(crate) async fn shared_namespace_isolate(stage: &mut Stage) {
    let (mut blobs, mut other) = (stage.blobs(), stage.other());
    let namespaces = Namespaces::new(&stage.isolated());
    let bytes = noise(1000);
    let digest = blobs.add(&bytes).await;
    for (value, offset) in [("false", 0), ("", 0), ("true", 1000)] {
        let shareable = labels(&[("containerd.io/namespace.shareable", value)]);
        let shareable = shareable.into_iter().collect();
        namespaces.update(NAMESPACE, &shareable, &[]).unwrap();
        let writer = other.writer("shared", 1000, &digest).await.unwrap();
        assert_eq!(writer.last.offset, offset, "{value:?}");
        writer.close().await;
    }
    let writer = other.writer("shared", 1000, &digest).await.unwrap();
    writer.commit(1000, &digest, labels(&[])).await.unwrap();
    assert_eq!(other.bytes(&digest, 0, 0).await.unwrap(), bytes);
}

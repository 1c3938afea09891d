//! The cases of writers that go on where another has ended.

use super::blobs::Writer;
use super::{Stage, digest, length, noise};
use crate::client::labels;
use crate::server::refused;
use tonic::Code;

pub(crate) async fn resume(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    let bytes = noise(512);
    let mut started = None;
    for (from, to) in [(0, 128), (128, 256), (256, 512)] {
        let mut writer = blobs.writer("resumed", 0, "").await.unwrap();
        assert_eq!(writer.last.offset, length(&bytes[..from]));
        let first = started.get_or_insert(writer.last.started_at);
        assert_eq!(*first, writer.last.started_at);
        assert_eq!(writer.last.digest, digest(&bytes[..from]));
        writer.write(&bytes[from..to]).await.unwrap();
        writer.close().await;
    }
    let writer = blobs.writer("resumed", 0, "").await.unwrap();
    let whole = digest(&bytes);
    writer.commit(512, &whole, labels(&[])).await.unwrap();
    assert_eq!(blobs.bytes(&whole, 0, 0).await.unwrap(), bytes);
}

/// Writes a part of a blob, goes on in a second writer, and checks the blob.
async fn resumed_by(stage: &mut Stage, go_on: impl AsyncFn(&mut Writer, &[u8])) {
    let mut blobs = stage.blobs();
    for size in [500, 5000, 50_000] {
        for percent in [0_u8, 10, 50, 90, 100] {
            let mut bytes = noise(size);
            bytes[0] = percent;
            let part = &bytes[..size * usize::from(percent) / 100];
            let mut writer = blobs.writer("part", 0, "").await.unwrap();
            writer.write(part).await.unwrap();
            writer.close().await;
            let mut writer = blobs.writer("part", 0, "").await.unwrap();
            assert_eq!(writer.last.offset, length(part));
            go_on(&mut writer, &bytes).await;
            let whole = digest(&bytes);
            let committed = writer.commit(length(&bytes), &whole, labels(&[])).await;
            committed.unwrap();
            let found = blobs.bytes(&whole, 0, 0).await.unwrap();
            assert!(found == bytes, "{size} {percent} %");
        }
    }
}

/// Returns what is to be written still.
fn rest<'b>(writer: &Writer, bytes: &'b [u8]) -> &'b [u8] {
    &bytes[usize::try_from(writer.last.offset).unwrap()..]
}

pub(crate) async fn resume_truncate(stage: &mut Stage) {
    let all_at_once = async |writer: &mut Writer, bytes: &[u8]| {
        writer.write_at(0, bytes).await.unwrap();
    };
    resumed_by(stage, all_at_once).await;
}

pub(crate) async fn resume_discard(stage: &mut Stage) {
    let from_the_start = async |writer: &mut Writer, bytes: &[u8]| {
        let (first, more) = bytes.split_at(1);
        writer.write_at(0, first).await.unwrap();
        assert_eq!(writer.last.digest, digest(first));
        writer.write(more).await.unwrap();
    };
    resumed_by(stage, from_the_start).await;
}

pub(crate) async fn resume_copy(stage: &mut Stage) {
    let in_pieces = async |writer: &mut Writer, bytes: &[u8]| {
        for piece in rest(writer, bytes).chunks(777) {
            writer.write(piece).await.unwrap();
        }
    };
    resumed_by(stage, in_pieces).await;
}

pub(crate) async fn resume_copy_seeker(stage: &mut Stage) {
    let mut blobs = stage.blobs();
    for wrong in [2, 4] {
        let mut writer = blobs.writer("wrong", 0, "").await.unwrap();
        writer.write_at(0, b"abc").await.unwrap();
        let sought = writer.write_at(wrong, b"d").await;
        refused(sought, Code::OutOfRange, "out of range");
    }
    let at_the_end = async |writer: &mut Writer, bytes: &[u8]| {
        let rest = rest(writer, bytes);
        writer.write(rest).await.unwrap();
    };
    resumed_by(stage, at_the_end).await;
}

pub(crate) async fn resume_copy_reader_at(stage: &mut Stage) {
    let by_offset = async |writer: &mut Writer, bytes: &[u8]| {
        while let Some(piece) = rest(writer, bytes).chunks(4096).next() {
            writer.write(piece).await.unwrap();
        }
    };
    resumed_by(stage, by_offset).await;
}

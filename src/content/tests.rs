//! Ingests of pulls: what is published, what is kept and what is thrown away. The contract of
//! the content service is in `tests/contract`.

use std::io::Read as _;

use super::*;
use crate::events::Event;
use crate::filter::Filter;
use crate::meta::{Labels, Namespace};
use crate::oci::MediaType;
use crate::store::Store;

fn blob() -> (Descriptor, Vec<u8>) {
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    (Descriptor::of(MediaType::OCI_LAYER, &bytes), bytes)
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    (dir, store)
}

fn ingests(store: &Store) -> Vec<IngestStatus> {
    let blobs = Blobs::new(store, Namespace::default());
    blobs.statuses(&Filter::all()).unwrap()
}

fn replay(ingest: &mut Ingest) -> u64 {
    let mut buffer = Vec::with_capacity(1000);
    let mut total = 0;
    loop {
        ingest.replay(&mut buffer).unwrap();
        if buffer.is_empty() {
            return total;
        }
        total += buffer.len() as u64;
    }
}

#[tokio::test]
async fn a_download_is_taken_up_where_it_broke_off() {
    let (_dir, store) = store();
    let (descriptor, bytes) = blob();
    let content = store.content();
    let mut ingest = content.ingest(&descriptor).await.unwrap();
    ingest.write(&bytes[..1000]).unwrap();
    drop(ingest);
    let status = ingests(&store);
    assert_eq!((status[0].offset, status[0].total), (1000, 400_000));
    assert_eq!(status[0].reference, format!("layer-{}", descriptor.digest));
    assert_eq!(content.size(&descriptor.digest).unwrap(), None);

    let mut ingest = content.ingest(&descriptor).await.unwrap();
    assert_eq!(ingest.resumed(), 1000);
    assert_eq!(replay(&mut ingest), 1000);
    ingest.write(&bytes[1000..]).unwrap();
    ingest.commit().unwrap();
    assert_eq!(content.read(&descriptor.digest, 1 << 20).unwrap(), bytes);
    assert!(ingests(&store).is_empty());
    assert_eq!(content.digests().unwrap(), [descriptor.digest]);
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_thrown_away() {
    let (_dir, store) = store();
    let (descriptor, mut bytes) = blob();
    bytes[7] ^= 1;
    let mut ingest = store.content().ingest(&descriptor).await.unwrap();
    ingest.write(&bytes).unwrap();
    assert!(matches!(ingest.commit(), Err(ContentError::Digest { .. })));
    assert!(ingests(&store).is_empty());
    assert_eq!(store.content().size(&descriptor.digest).unwrap(), None);
}

#[tokio::test]
async fn too_few_bytes_are_kept_and_too_many_refused() {
    let (_dir, store) = store();
    let (descriptor, bytes) = blob();
    let mut ingest = store.content().ingest(&descriptor).await.unwrap();
    ingest.write(&bytes[..1000]).unwrap();
    assert!(matches!(
        ingest.commit(),
        Err(ContentError::Size { found: 1000, .. })
    ));
    let mut ingest = store.content().ingest(&descriptor).await.unwrap();
    assert_eq!(replay(&mut ingest), 1000);
    ingest.write(&bytes[1000..]).unwrap();
    assert!(matches!(
        ingest.write(b"x"),
        Err(ContentError::Size { found: 400_001, .. })
    ));
}

#[test]
fn a_document_is_verified_on_both_ways() {
    let (_dir, store) = store();
    let (descriptor, bytes) = blob();
    let content = store.content();
    let other = Descriptor {
        size: 3,
        ..descriptor.clone()
    };
    assert!(matches!(
        content.write(&other, &bytes),
        Err(ContentError::Size { .. })
    ));
    assert!(matches!(
        content.write(&other, b"abc"),
        Err(ContentError::Digest { .. })
    ));
    assert!(matches!(
        content.read(&descriptor.digest, 9),
        Err(ContentError::NotFound(_))
    ));
    content.write(&descriptor, &bytes).unwrap();
    assert!(matches!(
        content.read(&descriptor.digest, 9),
        Err(ContentError::TooLarge { .. })
    ));
    fs::write(content.path(&descriptor.digest), b"damaged").unwrap();
    assert!(matches!(
        content.read(&descriptor.digest, 9),
        Err(ContentError::Digest { .. })
    ));
}

#[test]
fn other_algorithms() {
    let (_dir, store) = store();
    let digest = crate::oci::Algorithm::Sha512.digest(b"long");
    for (namespace, expected) in [("default", None), ("other", Some(&digest))] {
        let blobs = Blobs::new(&store, namespace.parse().unwrap());
        let mut writer = blobs.writer("long", 0, expected).unwrap();
        if writer.offset() == 0 {
            writer.write(b"long").unwrap();
        }
        writer.commit(4, Some(&digest), Labels::new()).unwrap();
        let mut text = String::new();
        let mut reader = blobs.read(&digest, 0, None).unwrap();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "long", "{namespace}");
    }
}

#[test]
fn changes_are_told() {
    let (_dir, store) = store();
    let blobs = Blobs::new(&store, Namespace::default());
    let mut writer = blobs.writer("told", 0, None).unwrap();
    writer.write(b"told").unwrap();
    let digest = writer.commit(0, None, Labels::new()).unwrap().digest;
    blobs.delete(&digest).unwrap();
    let created = Event::ContentCreate {
        digest: digest.clone(),
        size: 4,
    };
    let mut follower = store.events().from_oldest().unwrap();
    let envelopes = follower.read().unwrap();
    let events: Vec<Event> = envelopes
        .into_iter()
        .map(|envelope| envelope.event)
        .collect();
    assert_eq!(events, [created, Event::ContentDelete { digest }]);
}

//! Reading files: pieces, holes and the edges of both.

use super::*;
use crate::Whence;
use crate::tar::archive::Archive;

/// A file of 10,000 bytes with data at 1000..2000, 2000..2500 and 9000..9500.
fn sparse() -> (Built, InodeIndex, Vec<u8>) {
    let mut expected = vec![0; 10_000];
    expected[1000..2500].fill(b'a');
    expected[9000..9500].fill(b'b');
    let archive = Archive::new()
        .pax(&[
            (b"GNU.sparse.size", b"10000"),
            (b"GNU.sparse.map", b"1000,1000,2000,500,9000,500"),
        ])
        .file("f", &[&[b'a'; 1500][..], &[b'b'; 500]].concat())
        .end();
    let built = build(&archive).unwrap();
    let found = built
        .layer
        .directory(PackedLayer::ROOT)
        .unwrap()
        .find(b"f")
        .unwrap()
        .unwrap();
    let Target::Inode { index, .. } = found.target else {
        panic!()
    };
    (built, index, expected)
}

#[test]
fn every_range_reads_as_it_should() {
    let (built, index, expected) = sparse();
    for start in (0..11_000).step_by(250) {
        for size in [0, 1, 250, 1000, 3000, 20_000] {
            let read = bytes(built.layer.read(index, start as u64, size).unwrap());
            let start = start.min(expected.len());
            assert_eq!(
                read,
                expected[start..(start + size).min(expected.len())],
                "{size} at {start}"
            );
        }
    }
    assert!(
        built
            .layer
            .read(index, u64::MAX, usize::MAX)
            .unwrap()
            .is_empty()
    );
    built.layer.will_need(index).unwrap();
    built.layer.will_need(PackedLayer::ROOT).unwrap();
    assert_eq!(
        built
            .layer
            .read(PackedLayer::ROOT, 0, 1)
            .unwrap_err()
            .errno(),
        rustix::io::Errno::ISDIR
    );
}

#[test]
fn seeking_finds_data_and_holes() {
    let (built, index, _) = sparse();
    let cases: &[(u64, Whence, Option<u64>)] = &[
        (0, Whence::Hole, Some(0)),
        (0, Whence::Data, Some(1000)),
        (1000, Whence::Data, Some(1000)),
        (1500, Whence::Hole, Some(2500)),
        (2200, Whence::Data, Some(2200)),
        (2500, Whence::Hole, Some(2500)),
        (2500, Whence::Data, Some(9000)),
        (9499, Whence::Hole, Some(9500)),
        (9500, Whence::Data, None),
        (9999, Whence::Hole, Some(9999)),
        (10_000, Whence::Hole, None),
        (10_000, Whence::Data, None),
    ];
    for (offset, whence, expected) in cases {
        assert_eq!(
            built.layer.seek(index, *offset, *whence).ok(),
            *expected,
            "{whence:?} from {offset}"
        );
    }
}

#[test]
fn a_file_may_be_one_huge_hole() {
    let size = i64::MAX.to_string();
    let records: [(&[u8], &[u8]); 3] = [
        (b"GNU.sparse.size", size.as_bytes()),
        (b"GNU.sparse.numblocks", b"0"),
        (b"GNU.sparse.name", b"f"),
    ];
    let built = build(&Archive::new().pax(&records).file("x", b"").end()).unwrap();
    let found = built
        .layer
        .directory(PackedLayer::ROOT)
        .unwrap()
        .find(b"f")
        .unwrap()
        .unwrap();
    let Target::Inode { index, .. } = found.target else {
        panic!()
    };
    let end = i64::MAX.cast_unsigned();
    assert_eq!(
        built.layer.read(index, end - 5, 100).unwrap(),
        [Segment::Zeros(5)]
    );
    assert_eq!(built.layer.seek(index, 5, Whence::Hole).unwrap(), 5);
    assert!(built.layer.seek(index, 5, Whence::Data).is_err());
}

#[test]
fn long_runs_of_zeros_take_no_space() {
    use std::os::unix::fs::MetadataExt;
    let mut zeros = vec![0; 4 << 20];
    zeros[1 << 20] = 1;
    let archive = Archive::new()
        .file("f", &zeros)
        .file("g", &vec![0; 1 << 20])
        .end();
    let built = build(&archive).unwrap();
    let metadata = std::fs::metadata(built.dir.path().join(DATA)).unwrap();
    assert_eq!(metadata.len(), archive.len() as u64);
    assert!(
        metadata.blocks() * 512 < 1 << 20,
        "{} blocks",
        metadata.blocks()
    );
}

#[test]
fn missing_or_short_data_is_an_error_when_it_is_read() {
    let (built, index, _) = sparse();
    let path = built.dir.path().join(DATA);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(100).unwrap();
    let handle = File::open(built.dir.path()).unwrap();
    let layer = PackedLayer::open(handle.into(), "test").unwrap();
    assert!(matches!(
        layer.read(index, 1000, 10),
        Err(Error::Corrupt { .. })
    ));
    std::fs::remove_file(&path).unwrap();
    let error = layer.read(index, 1000, 10).unwrap_err();
    assert_eq!(error.errno(), rustix::io::Errno::IO, "{error}");
}

#[test]
fn a_layer_is_never_built_over_another() {
    let (built, ..) = sparse();
    let handle = File::open(built.dir.path()).unwrap();
    assert_eq!(
        Builder::new(handle.as_fd(), "test").unwrap_err().errno(),
        rustix::io::Errno::EXIST
    );
}

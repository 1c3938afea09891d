use proptest::prelude::*;

use super::archive::{Archive, Fields, header, seal};
use super::header::BLOCK;
use super::*;

mod broken;
mod extended;

/// Reads a whole archive in pieces of `chunk` bytes.
fn read(archive: &[u8], chunk: usize) -> Result<Vec<Entry>, TarError> {
    let mut parser = Parser::default();
    let mut entries = Vec::new();
    for piece in archive.chunks(chunk) {
        parser.push(piece, &mut |entry| {
            entries.push(entry);
            Ok(())
        })?;
    }
    parser.finish()?;
    Ok(entries)
}

fn fault(archive: &[u8]) -> Option<TarFault> {
    read(archive, 1000).err().map(|error| error.fault)
}

fn named(name: &[u8]) -> Fields<'_> {
    Fields {
        name,
        ..Fields::default()
    }
}

fn contents(archive: &[u8], entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(entry.size).unwrap()];
    for extent in &entry.extents {
        let [logical, offset, length] = [extent.logical, extent.offset, extent.length]
            .map(|value| usize::try_from(value).unwrap());
        bytes[logical..logical + length].copy_from_slice(&archive[offset..offset + length]);
    }
    bytes
}

#[test]
fn every_type_is_read_at_any_chunk_size() {
    let archive = Archive::new()
        .dir("d/", 0o755)
        .file("d/f", b"hello")
        .entry(
            &Fields {
                type_flag: 0,
                ..named(b"old")
            },
            b"x",
        )
        .entry(
            &Fields {
                type_flag: b'7',
                ..named(b"contiguous")
            },
            &[7; 513],
        )
        .entry(
            &Fields {
                type_flag: 0,
                magic: &[0; 8],
                ..named(b"v7dir/")
            },
            b"",
        )
        .symlink("target", "s")
        .link("d/f", "l")
        .entry(
            &Fields {
                type_flag: b'3',
                device: (1, 300),
                ..named(b"c")
            },
            b"",
        )
        .entry(
            &Fields {
                type_flag: b'4',
                device: (4095, 0xf_ffff),
                ..named(b"b")
            },
            b"",
        )
        .entry(
            &Fields {
                type_flag: b'6',
                ..named(b"p")
            },
            b"",
        )
        .end();
    let expected = read(&archive, archive.len()).unwrap();
    let kinds: Vec<_> = expected.iter().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::Directory,
            EntryKind::Regular,
            EntryKind::Regular,
            EntryKind::Regular,
            EntryKind::Directory,
            EntryKind::Symlink,
            EntryKind::HardLink,
            EntryKind::CharDevice,
            EntryKind::BlockDevice,
            EntryKind::Fifo
        ]
    );
    assert_eq!(contents(&archive, &expected[1]), b"hello");
    assert_eq!(contents(&archive, &expected[3]), [7; 513]);
    assert_eq!(expected[5].link, b"target");
    assert_eq!(
        (expected[7].device, expected[8].device),
        ((1, 300), (4095, 0xf_ffff))
    );
    for chunk in [1, 7, 511, 512, 513, 1024] {
        assert_eq!(
            read(&archive, chunk).unwrap(),
            expected,
            "chunks of {chunk}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..4096), chunk in 1usize..600) {
        // Whether it is an archive does not matter here, only that it ends.
        prop_assert!(read(&bytes, chunk).map_or(true, |entries| entries.len() < 10));
    }

    #[test]
    fn damaged_archives_do_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        chunk in 1usize..600,
        is_sealed: bool,
    ) {
        let mut archive = Archive::new()
            .pax(&[(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"5000")])
            .entry(&named(b"f"), b"1\n0\n10\n")
            .pax(&[(b"path", b"a/b"), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"b")])
            .file("f", b"hello")
            .long(b'K', b"target")
            .symlink("s", "t")
            .end();
        for (index, byte) in flips {
            let at = index.index(archive.len());
            archive[at] = byte;
            let block: &mut [u8; BLOCK] = (&mut archive[at / BLOCK * BLOCK..][..BLOCK]).try_into().unwrap();
            if is_sealed && block[156] != 0 {
                seal(block);
            }
        }
        for entry in read(&archive, chunk).unwrap_or_default() {
            let end = entry.extents.last().map_or(0, |extent| extent.offset + extent.length);
            prop_assert!(end <= archive.len() as u64);
        }
    }
}

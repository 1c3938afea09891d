use proptest::prelude::*;

use super::archive::{Archive, Fields, header, seal};
use super::header::BLOCK;
use super::*;

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

#[test]
fn archives_may_end_in_many_ways() {
    let whole = Archive::new().file("f", b"hello");
    let junk = whole
        .clone()
        .raw(&[0; 1024])
        .file("g", b"")
        .raw(b"junk")
        .unended();
    let cases: &[(&str, Vec<u8>, usize)] = &[
        ("nothing at all", Vec::new(), 0),
        ("zeros alone", vec![0; 10240], 0),
        ("odd number of zeros", vec![0; 512], 0),
        ("no end marker", whole.clone().unended(), 1),
        (
            "half an end marker",
            whole.clone().raw(&[0; 512]).unended(),
            1,
        ),
        ("no padding", whole.clone().unended()[..517].to_vec(), 1),
        ("junk and entries after the end", junk, 1),
        (
            "global header alone",
            Archive::new()
                .entry(
                    &Fields {
                        type_flag: b'g',
                        ..named(b"g")
                    },
                    b"garbage",
                )
                .end(),
            0,
        ),
    ];
    for (why, archive, entries) in cases {
        assert_eq!(
            read(archive, 100).map(|entries| entries.len()),
            Ok(*entries),
            "{why}"
        );
    }
}

#[test]
fn truncated_archives_are_refused() {
    let cases: &[(&str, Vec<u8>)] = &[
        (
            "cut header",
            Archive::new().file("f", b"").unended()[..300].to_vec(),
        ),
        (
            "cut contents",
            Archive::new().file("f", b"hello").unended()[..514].to_vec(),
        ),
        (
            "long name without an entry",
            Archive::new().long(b'L', b"name").unended(),
        ),
        (
            "cut long name",
            Archive::new().long(b'L', b"name").unended()[..514].to_vec(),
        ),
    ];
    for (why, archive) in cases {
        assert_eq!(fault(archive), Some(TarFault::Truncated), "{why}");
    }
}

#[test]
fn bad_archives_are_refused() {
    let mut flipped = Archive::new().file("f", b"").end();
    flipped[3] ^= 1;
    let with_type = |type_flag| {
        Archive::new()
            .entry(
                &Fields {
                    type_flag,
                    ..named(b"f")
                },
                b"",
            )
            .end()
    };
    let bad_size = |field: &[u8]| {
        let mut block = header(&named(b"f"), 0);
        block[124..124 + field.len()].copy_from_slice(field);
        seal(&mut block);
        block.to_vec()
    };
    let long = Fields {
        type_flag: b'x',
        size: Some(2 << 20),
        ..named(b"x")
    };
    let cases: &[(&str, Vec<u8>, TarFault)] = &[
        ("garbage", vec![b'x'; 2048], TarFault::Checksum),
        ("flipped bit", flipped, TarFault::Checksum),
        (
            "lone zeros",
            Archive::new().raw(&[0; 512]).file("f", b"").end(),
            TarFault::LoneZeroBlock,
        ),
        ("unknown type", with_type(b'Z'), TarFault::UnknownType(b'Z')),
        ("volume label", with_type(b'V'), TarFault::UnknownType(b'V')),
        (
            "negative size",
            bad_size(&[0xff; 12]),
            TarFault::Number { field: "size" },
        ),
        (
            "size is text",
            bad_size(b"abc"),
            TarFault::Number { field: "size" },
        ),
        (
            "sparse but not GNU",
            with_type(b'S'),
            TarFault::Sparse("not a GNU header"),
        ),
        (
            "hard link with data",
            Archive::new()
                .entry(
                    &Fields {
                        type_flag: b'1',
                        link: b"a",
                        ..named(b"l")
                    },
                    b"data",
                )
                .end(),
            TarFault::LinkData,
        ),
        (
            "huge extended header",
            Archive::new().entry(&long, b"").end(),
            TarFault::ExtendedTooLarge {
                size: 2 << 20,
                limit: 1 << 20,
            },
        ),
        (
            "NUL in a PAX path",
            Archive::new()
                .pax(&[(b"path", b"a\0b")])
                .file("f", b"")
                .end(),
            TarFault::NulInName,
        ),
    ];
    for (why, archive, expected) in cases {
        assert_eq!(fault(archive).as_ref(), Some(expected), "{why}");
    }
}

#[test]
fn errors_say_which_entry() {
    let archive = Archive::new()
        .file("first", b"")
        .file("second", b"x")
        .file("third", b"hello");
    let archive = archive.unended();
    let error = read(&archive[..archive.len() - 510], 512).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tar entry \"third\" at byte 1536: archive is truncated"
    );
}

#[test]
fn long_names_come_from_every_format() {
    let long = "d".repeat(100) + "/" + &"n".repeat(120);
    let mut prefixed = header(&named(&[b'n'; 100]), 0);
    prefixed[345..445].fill(b'd');
    seal(&mut prefixed);
    let mut gnu_times = header(
        &Fields {
            magic: b"ustar  \0",
            ..named(b"f")
        },
        0,
    );
    gnu_times[345..357].copy_from_slice(b"14000000000\0");
    gnu_times[357..369].copy_from_slice(b"14000000000\0");
    seal(&mut gnu_times);
    let mut gnu_prefix = header(
        &Fields {
            magic: b"ustar  \0",
            ..named(b"f")
        },
        0,
    );
    gnu_prefix[345..351].copy_from_slice(b"prefix");
    seal(&mut gnu_prefix);
    let pax = Archive::new().pax(&[(b"path", long.as_bytes()), (b"linkpath", b"target")]);
    let both = Archive::new()
        .pax(&[(b"path", b"pax")])
        .long(b'L', b"gnu")
        .file("f", b"");
    let cases: &[(&str, Vec<u8>, &[u8])] = &[
        (
            "GNU",
            Archive::new()
                .long(b'L', long.as_bytes())
                .file("f", b"")
                .end(),
            long.as_bytes(),
        ),
        ("PAX", pax.symlink("f", "f").end(), long.as_bytes()),
        (
            "ustar",
            prefixed.to_vec(),
            &[&[b'd'; 100][..], b"/", &[b'n'; 100]].concat(),
        ),
        ("times of GNU are no prefix", gnu_times.to_vec(), b"f"),
        (
            "a prefix where GNU has times",
            gnu_prefix.to_vec(),
            b"prefix/f",
        ),
        (
            "no prefix in v7",
            {
                let mut block = header(
                    &Fields {
                        magic: &[0; 8],
                        ..named(b"f")
                    },
                    0,
                );
                block[345..348].copy_from_slice(b"abc");
                seal(&mut block);
                block.to_vec()
            },
            b"f",
        ),
        ("GNU over PAX", both.end(), b"gnu"),
        (
            "empty PAX path",
            Archive::new().pax(&[(b"path", b"")]).file("f", b"").end(),
            b"f",
        ),
        (
            "the last extended header counts",
            Archive::new()
                .pax(&[(b"path", b"a")])
                .pax(&[(b"uid", b"1")])
                .file("f", b"")
                .end(),
            b"f",
        ),
    ];
    for (why, archive, expected) in cases {
        let entries = read(archive, 512).unwrap();
        assert_eq!(
            entries[0].name.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{why}"
        );
    }
}

#[test]
fn attributes_come_from_the_extended_header_first() {
    let archive = Archive::new()
        .pax(&[
            (b"uid", b"4000000000"),
            (b"gid", b"-2"),
            (b"mtime", b"12.5"),
            (b"size", b"5"),
        ])
        .entry(
            &Fields {
                mode: 0o6755,
                uid: 1,
                gid: 2,
                mtime: 3,
                size: Some(0),
                ..named(b"f")
            },
            b"hello",
        )
        .entry(
            &Fields {
                uid: 1,
                gid: 2,
                mtime: -3,
                ..named(b"g")
            },
            b"",
        )
        .end();
    let entries = read(&archive, 512).unwrap();
    let of = |entry: &Entry| {
        (
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime.seconds,
            entry.mtime.nanoseconds,
        )
    };
    assert_eq!(
        of(&entries[0]),
        (0o6755, 4_000_000_000, u32::MAX - 1, 12, 500_000_000)
    );
    assert_eq!(of(&entries[1]), (0o644, 1, 2, -3, 0));
    assert_eq!(contents(&archive, &entries[0]), b"hello");
}

#[test]
fn sparse_files_of_all_formats_are_laid_out() {
    let mut expected = vec![0u8; 5000];
    expected[1024..1536].fill(b'a');
    expected[4000..4500].fill(b'b');
    let stored = [&[b'a'; 512][..], &[b'b'; 500]].concat();
    let map_0 = b"1024,512,4000,500,5000,0";
    let parts: [(&[u8], &[u8]); 8] = [
        (b"GNU.sparse.size", b"5000"),
        (b"GNU.sparse.numblocks", b"3"),
        (b"GNU.sparse.offset", b"1024"),
        (b"GNU.sparse.numbytes", b"512"),
        (b"GNU.sparse.offset", b"4000"),
        (b"GNU.sparse.numbytes", b"500"),
        (b"GNU.sparse.offset", b"5000"),
        (b"GNU.sparse.numbytes", b"0"),
    ];
    let mut in_front = b"2\n1024\n512\n4000\n500\n".to_vec();
    in_front.resize(BLOCK, 0);
    let old = |cells: &[(u64, u64)], has_more: u8| {
        let fields = Fields {
            type_flag: b'S',
            magic: b"ustar  \0",
            ..named(b"f")
        };
        let mut block = header(&fields, stored.len());
        for (index, (offset, length)) in cells.iter().enumerate() {
            let cell = format!("{offset:011o}\0{length:011o}\0");
            block[386 + index * 24..][..24].copy_from_slice(cell.as_bytes());
        }
        block[482] = has_more;
        block[483..495].copy_from_slice(format!("{:011o}\0", 5000).as_bytes());
        seal(&mut block);
        Archive::new().raw(&block)
    };
    let mut extension = [0; BLOCK];
    extension[..24].copy_from_slice(format!("{:011o}\0{:011o}\0", 4000, 500).as_bytes());
    let cases = [
        (
            "PAX 0.0",
            Archive::new().pax(&parts).entry(&named(b"f"), &stored),
        ),
        (
            "PAX 0.1",
            Archive::new()
                .pax(&[
                    (b"GNU.sparse.size", b"5000"),
                    (b"GNU.sparse.numblocks", b"3"),
                    (b"GNU.sparse.map", map_0),
                    (b"GNU.sparse.name", b"f"),
                ])
                .entry(&named(b"GNUSparseFile.1/f"), &stored),
        ),
        (
            "PAX 1.0",
            Archive::new()
                .pax(&[
                    (b"GNU.sparse.major", b"1"),
                    (b"GNU.sparse.minor", b"0"),
                    (b"GNU.sparse.realsize", b"5000"),
                    (b"GNU.sparse.name", b"f"),
                ])
                .entry(
                    &named(b"GNUSparseFile.1/f"),
                    &[&in_front[..], &stored].concat(),
                ),
        ),
        (
            "old GNU",
            old(&[(1024, 512), (4000, 500), (5000, 0)], 0).padded(&stored),
        ),
        (
            "old GNU with an extension",
            old(&[(1024, 512)], 1).raw(&extension).padded(&stored),
        ),
    ];
    for (why, archive) in cases {
        let archive = archive.file("after", b"x").end();
        for chunk in [1, 512, 100_000] {
            let entries = read(&archive, chunk).unwrap();
            assert_eq!(
                (entries.len(), &entries[0].name[..]),
                (2, &b"f"[..]),
                "{why}"
            );
            assert_eq!(contents(&archive, &entries[0]), expected, "{why}");
        }
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

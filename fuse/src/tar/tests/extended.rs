//! What headers of later formats say.

use super::*;

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

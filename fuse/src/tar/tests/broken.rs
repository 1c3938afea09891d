//! How archives end, and what is wrong in them.

use super::*;

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

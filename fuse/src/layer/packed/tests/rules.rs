//! What entries mean. The case names are those of containerd's `TestBreakouts` and
//! of its appliers' behaviour on odd archives.

use super::*;
use crate::tar::archive::{Archive, Fields};

mod breakouts;
mod links;
mod refused;

fn new() -> Archive {
    Archive::new()
}

fn typed(type_flag: u8, name: &str) -> Fields<'_> {
    Fields {
        type_flag,
        name: name.as_bytes(),
        ..Fields::default()
    }
}

/// Runs a table of cases, three lines each: why, the entries (`file NAME CONTENTS`,
/// `dir NAME`, `symlink NAME TARGET`, `link NAME TARGET`), and what the layer lists.
fn assert_all(table: &str) {
    let lines: Vec<_> = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    for case in lines.chunks(3) {
        let &[why, entries, expected] = case else {
            panic!("{case:?}")
        };
        let archive = entries.split(", ").fold(new(), |archive, entry| {
            let words: Vec<_> = entry.split(' ').collect();
            match words[..] {
                ["file", name] => archive.file(name, b""),
                ["file", name, contents] => archive.file(name, contents.as_bytes()),
                ["dir", name] => archive.dir(name, 0o755),
                ["symlink", name, target] => archive.symlink(target, name),
                ["link", name, target] => archive.link(target, name),
                _ => panic!("{why}: {entry}"),
            }
        });
        let expected: Vec<_> = expected
            .split(", ")
            .filter_map(|listed| listed.split_once(": "))
            .collect();
        assert_listing(why, &archive.end(), &expected);
    }
}

#[test]
fn whiteouts_act_on_lower_layers_only() {
    assert_all(
        r"
plain
    file .wh.a
    a: whiteout
parents are made
    file d/.wh.a
    d: dir implied, d/a: whiteout
WhiteoutRootParent
    file ../.wh.a
    a: whiteout
WhiteoutParent
    file d/../.wh.a
    a: whiteout
WhiteoutSymlink
    symlink a e, file .wh.a
    a: link e
WhiteoutSymlinkPath
    dir e, symlink s e, file s/.wh.a
    e: dir, e/a: whiteout, s: link e
WhiteoutDirectoryName
    file .wh.d/f 1
    .wh.d: dir implied, .wh.d/f: file 1
WhiteoutDeadSymlinkParent
    symlink s e, file s/.wh.a
    s: link e, e: dir implied, e/a: whiteout
WhiteoutRelativePath
    file d/../../e/.wh.a
    e: dir implied, e/a: whiteout
of any type and with data
    dir .wh.a, symlink .wh.b x, file .wh.c data
    a: whiteout, b: whiteout, c: whiteout
before the file
    file .wh.a, file a 1
    a: file 1
after the file
    file a 1, file .wh.a
    a: file 1
before the directory
    file .wh.d, file d/f 1
    d: dir implied opaque, d/f: file 1
after the directory
    dir d, file .wh.d
    d: dir opaque
and a hard link
    file .wh.b, file a 1, link b a
    a: file 1 x2, b: file 1 x2
wh-opaque-before
    file d/.wh..wh..opq, file d/f 1
    d: dir implied opaque, d/f: file 1
wh-opaque-after
    file d/f 1, file d/.wh..wh..opq
    d: dir implied opaque, d/f: file 1
wh-opaque-after-sub
    file d/e/f 1, file d/.wh..wh..opq
    d: dir implied opaque, d/e: dir implied, d/e/f: file 1
directory entry after the opaque mark
    file d/.wh..wh..opq, dir d
    d: dir opaque
aufs
    file .wh..wh.aufs, file .wh..wh.plnk/1.2 1
    .wh.aufs: whiteout, .wh..wh.plnk: dir implied, .wh..wh.plnk/1.2: file 1
",
    );
    let built = build(&new().file(".wh..wh..opq", b"").end()).unwrap();
    assert!(
        built.layer.inode(PackedLayer::ROOT).unwrap().opaque,
        "the root can be opaque"
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    assert_all(
        r"
file over file
    file a 1, file a 2
    a: file 2
file over directory
    file d/e/f 1, file d 2
    d: file 2
and a directory again
    file d/f 1, file d 2, file .wh.x, dir d, file d/g 3
    d: dir, d/g: file 3, x: whiteout
directory over file
    file d 1, dir d
    d: dir
directory over directory
    dir d, file d/f 1, dir d
    d: dir, d/f: file 1
directory over an implied one
    file d/f 1, dir d/
    d: dir, d/f: file 1
dup-dir-then-symlink
    dir d, symlink d missing
    d: link missing
link over link
    symlink s a, symlink s b
    s: link b
",
    );
    let archive = new().file("d/f", b"1").entry(
        &Fields {
            uid: 5,
            mtime: 6,
            ..typed(b'5', "d")
        },
        b"",
    );
    let built = build(&archive.end()).unwrap();
    let Target::Inode { index, .. } = root(&built.layer, b"d").target else {
        panic!()
    };
    let inode = built.layer.inode(index).unwrap();
    assert_eq!(
        (inode.mode, inode.uid, inode.mtime.seconds),
        (0o40_644, 5, 6)
    );
}

#[test]
fn the_root_has_the_attributes_of_its_entry() {
    let implied = build(&new().file("a", b"").end()).unwrap();
    let inode = implied.layer.inode(PackedLayer::ROOT).unwrap();
    assert_eq!(
        (inode.mode, inode.implied, inode.nlink),
        (0o40_755, true, 2)
    );
    let archive = new()
        .entry(
            &Fields {
                uid: 5,
                mode: 0o1777,
                ..typed(b'5', "./")
            },
            b"",
        )
        .dir("d", 0o755);
    let built = build(&archive.end()).unwrap();
    let inode = built.layer.inode(PackedLayer::ROOT).unwrap();
    assert_eq!(
        (inode.mode, inode.uid, inode.implied, inode.nlink),
        (0o41_777, 5, false, 3)
    );
    assert_eq!(
        built.layer.parent(PackedLayer::ROOT).unwrap(),
        PackedLayer::ROOT
    );
}

#[test]
fn times_outside_of_64_bits_of_nanoseconds_are_0() {
    let cases: &[(&str, &[u8], (i64, u32))] = &[
        ("fraction", b"1.5", (1, 500_000_000)),
        ("negative", b"-1.5", (0, 0)),
        (
            "last",
            b"9223372036.854775807",
            (9_223_372_036, 854_775_807),
        ),
        ("too late", b"9223372036.854775808", (0, 0)),
    ];
    for (why, mtime, expected) in cases {
        let built = build(&new().pax(&[(b"mtime", mtime)]).file("a", b"").end()).unwrap();
        let Target::Inode { index, .. } = root(&built.layer, b"a").target else {
            panic!()
        };
        let mtime = built.layer.inode(index).unwrap().mtime;
        assert_eq!((mtime.seconds, mtime.nanoseconds), *expected, "{why}");
    }
}

#[test]
fn devices_have_the_number_of_the_kernel() {
    let archive = new()
        .entry(
            &Fields {
                device: (259, 0x1_2345),
                ..typed(b'4', "b")
            },
            b"",
        )
        .end();
    let built = build(&archive).unwrap();
    let Target::Inode { index, .. } = root(&built.layer, b"b").target else {
        panic!()
    };
    let rdev = built.layer.inode(index).unwrap().rdev;
    assert_eq!(rdev, 0x45 | 259 << 8 | 0x1_2300 << 12);
}

fn root<'a>(layer: &'a PackedLayer, name: &[u8]) -> Dentry<'a> {
    layer
        .directory(PackedLayer::ROOT)
        .unwrap()
        .find(name)
        .unwrap()
        .unwrap()
}

#[test]
fn the_longest_name_has_a_whiteout() {
    let name = "n".repeat(255);
    let archive = new()
        .long(b'L', format!(".wh.{name}").as_bytes())
        .file("f", b"");
    assert_listing("255 bytes", &archive.end(), &[(&name, "whiteout")]);
    let longer = format!(".wh.{name}/f");
    let archive = new().long(b'L', longer.as_bytes()).file("f", b"");
    assert_eq!(fault(&archive.end()), Some(TarFault::NameTooLong));
}

#[test]
fn names_are_bytes_and_devices_can_be_linked() {
    let odd = new().entry(
        &Fields {
            name: b"\xff\xfe",
            ..Fields::default()
        },
        b"1",
    );
    assert_listing("not UTF-8", &odd.end(), &[("\\xff\\xfe", "file 1")]);
    let device = new().entry(&typed(b'3', "a"), b"").link("a", "b");
    let expected = [("a", "chardevice x2"), ("b", "chardevice x2")];
    assert_listing("device", &device.end(), &expected);
}

//! What entries mean. The case names are those of containerd's `TestBreakouts` and
//! of its appliers' behaviour on odd archives.

use super::*;
use crate::tar::archive::{Archive, Fields};

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
fn breakouts_by_symlink_stay_inside() {
    assert_all(
        r"
SymlinkAbsolute
    symlink x /../../tmp, file x/f 1
    x: link /../../tmp, tmp: dir implied, tmp/f: file 1
SymlinkUpAndOut
    symlink x ../../../out, file x/f 1
    x: link ../../../out, out: dir implied, out/f: file 1
SymlinkMultipleAbsolute
    symlink x /a, symlink a /b, file x/f 1
    x: link /a, a: link /b, b: dir implied, b/f: file 1
SymlinkMultipleRelative
    dir d, symlink d/x ../a, symlink a ../b, file d/x/f 1
    d: dir, d/x: link ../a, a: link ../b, b: dir implied, b/f: file 1
SymlinkEmptyFile
    file e, symlink x /e, file x 1
    e: file, x: file 1
SymlinkParentDirectory
    symlink x .., file x/f 1
    x: link .., f: file 1
SymlinkParentRelative
    dir d, symlink x ../d, file x/../f 1
    d: dir, x: link ../d, f: file 1
SymlinkSlashEnded
    dir d, symlink x d/, file x/f 1
    d: dir, d/f: file 1, x: link d/
SymlinkOverrideDirectory
    dir d, file d/f 1, symlink d e, file d/g 2
    d: link e, e: dir implied, e/g: file 2
SymlinkOverrideDirectoryRelative
    dir a/d, symlink a/d ../e, file a/d/g 2
    a: dir implied, a/d: link ../e, e: dir implied, e/g: file 2
DirectoryOverrideSymlink
    dir e, symlink d e, dir d, file d/f 1
    e: dir, d: dir, d/f: file 1
DirectoryOverrideSymlinkAndHardlink
    symlink d e, link h d, dir d
    d: dir, h: link e
SymlinkOverridePath
    file e old, symlink x e, file x new
    e: file old, x: file new
long chain of a target
    symlink x a/b/../c, dir a/b, file x/f 1
    x: link a/b/../c, a: dir implied, a/b: dir, a/c: dir implied, a/c/f: file 1
",
    );
}

#[test]
fn breakouts_by_name_stay_inside() {
    assert_all(
        r"
DownAndOut
    file a/../../../f 1
    f: file 1
Absolute
    file /a/f 1
    a: dir implied, a/f: file 1
RelativeLong
    file ../../../../../../../f 1
    f: file 1
RelativeUpAndOut
    file a/../../f 1
    f: file 1
DirectRelative
    dir .., file ../f 1
    f: file 1
DirectAbsolute
    dir /, file /f 1
    f: file 1
the root is no file
    file ./ 1, symlink / x, link . x
    nothing
the root is no file
    file ./ 1, symlink / x
    nothing
",
    );
}

#[test]
fn hard_links_share_an_inode() {
    assert_all(
        r"
plain
    file a 1, link b a
    a: file 1 x2, b: file 1 x2
HardlinkRelative
    file a 1, link b ../../a
    a: file 1 x2, b: file 1 x2
absolute
    file a 1, link b /./a
    a: file 1 x2, b: file 1 x2
HardlinkSymlinkRelative
    symlink s a, link b s
    s: link a x2, b: link a x2
HardlinkSymlinkAbsolute
    symlink s /a, link b /s
    s: link /a x2, b: link /a x2
HardlinkSymlinkBeforeCreateTarget
    symlink s a, link b s, file a 1
    s: link a x2, b: link a x2, a: file 1
through a directory link
    file d/a 1, symlink s d, link b s/a
    d: dir implied, d/a: file 1 x2, s: link d, b: file 1 x2
forward
    link b a, file a 1
    a: file 1 x2, b: file 1 x2
forward, twice
    link c b, link b a, file a 1
    a: file 1 x3, b: file 1 x3, c: file 1 x3
lower
    link b d/./a
    b: lower d/a
lower, twice
    link b a, link c b
    b: lower a x2, c: lower a x2
lower through a link of this layer
    symlink d/s ../e, link b d/s/x/a
    d: dir implied, d/s: link ../e, b: lower e/x/a
hidden below and linked
    link b a, file .wh.a
    b: lower a, a: whiteout
source made anew keeps the old contents
    file a 1, link b a, file a 2
    a: file 2, b: file 1
link over a file
    file a 1, file b 2, link b a
    a: file 1 x2, b: file 1 x2
same link twice
    file a 1, link b a, link b a
    a: file 1 x2, b: file 1 x2
link in a directory that is replaced
    file d/a 1, link b d/a, file d 2
    d: file 2, b: file 1
",
    );
}

#[test]
fn attributes_of_a_hard_link_apply_to_the_inode() {
    let fields = Fields {
        link: b"a",
        mode: 0o600,
        uid: 7,
        gid: 8,
        mtime: 9,
        ..typed(b'1', "b")
    };
    let archive = new()
        .pax(&[
            (b"SCHILY.xattr.user.x", b"1"),
            (b"SCHILY.xattr.user.y", b"1"),
        ])
        .file("a", b"1")
        .pax(&[(b"SCHILY.xattr.user.y", b"2")])
        .entry(&fields, b"");
    let built = build(&archive.end()).unwrap();
    let Target::Inode { index, .. } = root(&built.layer, b"a").target else {
        panic!()
    };
    let inode = built.layer.inode(index).unwrap();
    assert_eq!(
        (inode.mode, inode.uid, inode.gid, inode.mtime.seconds),
        (0o100_600, 7, 8, 9)
    );
    let xattrs: Vec<_> = built
        .layer
        .xattrs(index)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(xattrs, [(&b"user.x"[..], &b"1"[..]), (b"user.y", b"2")]);
    assert_eq!(
        built.layer.xattr(index, b"user.y").unwrap(),
        Some(&b"2"[..])
    );
    assert_eq!(built.layer.xattr(index, b"user.z").unwrap(), None);
}

#[test]
fn hard_link_symlink_chmod_leaves_the_target_alone() {
    let fields = Fields {
        link: b"s",
        mode: 0o600,
        ..typed(b'1', "h")
    };
    let archive = new()
        .file("a", b"1")
        .symlink("a", "s")
        .entry(&fields, b"")
        .end();
    let built = build(&archive).unwrap();
    let mode = |name| match root(&built.layer, name).target {
        Target::Inode { index, .. } => built.layer.inode(index).unwrap().mode,
        _ => panic!(),
    };
    assert_eq!((mode(b"a"), mode(b"s")), (0o100_644, 0o120_777));
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

#[test]
fn bad_entries_are_refused() {
    let long = format!("d/{}", "n".repeat(256));
    let parent = |path: &str| TarFault::NotADirectory {
        parent: crate::tar::EntryName(path.into()),
    };
    let cases = vec![
        (
            "component too long",
            new().long(b'L', long.as_bytes()).file("f", b""),
            TarFault::NameTooLong,
        ),
        (
            "path too long",
            new().long(b'L', &b"d/".repeat(2100)).file("f", b""),
            TarFault::NameTooLong,
        ),
        (
            "target too long",
            new().long(b'K', &[b't'; 4096]).symlink("t", "s"),
            TarFault::NameTooLong,
        ),
        (
            "parent is a file",
            new().file("a/b", b"").file("a/b/c", b""),
            parent("a/b"),
        ),
        (
            "parent is a hard link",
            new().link("lower", "a").file("a/c", b""),
            parent("a"),
        ),
        (
            "symlink loop",
            new().symlink("b", "a").symlink("a", "b").file("a/f", b""),
            TarFault::TooManyLinks,
        ),
        (
            "symlink to itself",
            new().symlink("a", "a").file("a/f", b""),
            TarFault::TooManyLinks,
        ),
        (
            "SymlinkEmptyFilename",
            new().symlink("", "a"),
            TarFault::EmptyLink,
        ),
        (
            "hard link to nothing",
            new().link("", "a"),
            TarFault::EmptyLink,
        ),
        (
            "hard link to a directory",
            new().dir("d", 0o755).link("d", "a"),
            TarFault::LinkToDirectory,
        ),
        (
            "hard link to the root",
            new().link("/", "a"),
            TarFault::LinkToDirectory,
        ),
        (
            "hard link to a later directory",
            new().link("d", "a").dir("d", 0o755),
            TarFault::LinkToDirectory,
        ),
        (
            "hard link to itself",
            new().file("a", b"").link("./a", "a"),
            TarFault::LinkToItself,
        ),
        (
            "hard links to each other",
            new()
                .link("b", "a")
                .link("c", "b")
                .link("a", "d")
                .symlink("x", "c")
                .link("a", "c"),
            TarFault::LinkToItself,
        ),
        ("WhiteoutRoot", new().file(".wh.", b""), TarFault::Whiteout),
        (
            "WhiteoutCurrentDirectory",
            new().file("d/.wh..", b""),
            TarFault::Whiteout,
        ),
        (
            "whiteout of the parent",
            new().file("d/.wh...", b""),
            TarFault::Whiteout,
        ),
    ];
    for (why, archive, expected) in cases {
        assert_eq!(fault(&archive.end()), Some(expected), "{why}");
    }
}

#[test]
fn faults_found_at_the_end_name_the_link() {
    let archive = new()
        .file("f", b"")
        .link("later", "d/link")
        .dir("later", 0o755)
        .end();
    let error = build(&archive).err().unwrap().to_string();
    assert_eq!(
        error,
        "tar entry \"d/link\" at byte 512: hard link to a directory"
    );
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

//! Hard links.

use super::*;

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

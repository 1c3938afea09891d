//! Owners, modes and types in attributes (rule 17).

use mica_fuse::{FileType, NodeId, Operation, Reply};
use rustix::io::Errno;

use crate::on_disk::Stack;
use crate::on_disk::Step::{self, Directory, File, Symlink, Xattr};
use crate::rules::errno;
use crate::walked::{ask, find, list, walk_view};

const CONTAINERS: &str = "user.containers.override_stat";
const PRIVILEGED: &str = "security.fuseoverlayfs.override_stat";
const PLAIN: &str = "user.fuseoverlayfs.override_stat";

#[test]
fn rule_17_what_an_attribute_makes_of_regular_files_and_directories() {
    let stack = Stack::of(&[&[
        Xattr("", CONTAINERS, "1:2:0711:dir"),
        File("file", "contents"),
        Xattr("file", CONTAINERS, "3:4:4755:file"),
        Directory("dir", 0o755),
        Xattr("dir", CONTAINERS, "5:6:1777:dir"),
        File("link", "to/somewhere"),
        Xattr("link", CONTAINERS, "7:8:0777:symlink"),
        File("null", ""),
        Xattr("null", CONTAINERS, "0:0:0666:char-1-3"),
        File("disk", ""),
        Xattr("disk", CONTAINERS, "0:6:0660:block-8-1"),
        File("pipe", ""),
        Xattr("pipe", CONTAINERS, "0:0:0600:pipe"),
        File("socket", ""),
        Xattr("socket", CONTAINERS, "0:0:0600:socket"),
        File("without", ""),
        Symlink("real-link", "x"),
        Xattr("real-link", "trusted.a", "1"),
    ]]);
    let view = stack.view();
    let walked = walk_view(&view);
    for (path, mode, owner, rdev, bytes) in [
        ("", 0o4_0711, (1, 2), 0, ""),
        ("file", 0o10_4755, (3, 4), 0, "contents"),
        ("dir", 0o4_1777, (5, 6), 0, ""),
        ("link", 0o12_0777, (7, 8), 0, "to/somewhere"),
        ("null", 0o2_0666, (0, 0), 0x103, ""),
        ("disk", 0o6_0660, (0, 6), 0x801, ""),
        ("pipe", 0o1_0600, (0, 0), 0, ""),
        ("socket", 0o14_0600, (0, 0), 0, ""),
        ("without", 0o10_0644, (0, 0), 0, ""),
        ("real-link", 0o12_0777, (0, 0), 0, "x"),
    ] {
        let seen = &walked[path.as_bytes()];
        assert_eq!(
            (seen.mode, seen.owner, seen.rdev),
            (mode, owner, rdev),
            "{path}"
        );
        assert_eq!(seen.bytes, bytes.as_bytes(), "{path}");
    }
    let is_listed = |name: &[u8], file_type| {
        let listed = list(&view, NodeId::ROOT, Operation::ReadDir { offset: 0 });
        listed
            .iter()
            .any(|entry| entry.name == name && entry.file_type == file_type)
    };
    assert!(is_listed(b"null", FileType::CharDevice));
    let read = Operation::Read { offset: 0, size: 1 };
    let node = find(&view, "null").unwrap().node;
    assert_eq!(errno(&view, node, read), Errno::INVAL, "a device");
    let node = find(&view, "file").unwrap().node;
    assert_eq!(errno(&view, node, Operation::ReadLink), Errno::INVAL);
}

#[test]
fn rule_17_each_layer_uses_the_name_that_its_root_has() {
    let file: &[Step] = &[
        File("d/f", ""),
        Xattr("d/f", PRIVILEGED, "1:0:0644"),
        Xattr("d/f", CONTAINERS, "2:0:0644"),
        Xattr("d/f", PLAIN, "3:0:0644"),
    ];
    for (root, uid) in [
        (&[][..], 0),
        (&[PRIVILEGED][..], 1),
        (&[PRIVILEGED, CONTAINERS], 1),
        (&[CONTAINERS, PLAIN], 2),
        (&[PLAIN], 3),
    ] {
        let marks = root.iter().map(|name| Xattr("", name, "9:9:0555"));
        let layer: Vec<Step> = file.iter().copied().chain(marks).collect();
        let upper: &[Step] = &[Directory("d", 0o755), Xattr("d", CONTAINERS, "8:8:0700")];
        let stack = Stack::of(&[upper, &layer]);
        let view = stack.view();
        assert_eq!(find(&view, "d/f").unwrap().attr.uid, uid, "{root:?}");
        let directory = find(&view, "d").unwrap();
        assert_eq!(directory.attr.uid, 0, "the upper layer has no such name");
    }
}

#[test]
fn rule_17_attributes_of_security_modules_have_another_name() {
    const STORED: &str = "user.containers.override_security.capability";
    let file = [
        File("f", ""),
        Xattr("f", CONTAINERS, "0:0:0755:file"),
        Xattr("f", STORED, "value"),
        Xattr("f", "user.a", "1"),
    ];
    let root = Xattr("", CONTAINERS, "0:0:0755:dir");
    let with = Stack::of(&[&[file[0], file[1], file[2], file[3], root]]);
    let seen = |stack: &Stack| {
        let walked = walk_view(&stack.view());
        let names = walked[&b"f"[..]].xattrs.keys();
        let mut names: Vec<_> = names.map(|name| name.escape_ascii().to_string()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(seen(&with), ["security.capability", "user.a"]);
    let view = with.view();
    let node = find(&view, "f").unwrap().node;
    let value = |name: &'static str| Operation::GetXattr {
        name: name.as_bytes(),
        size: 99,
    };
    let reply = ask(&view, node, value("security.capability"));
    assert!(matches!(reply, Reply::Bytes(bytes) if *bytes == *b"value"));
    assert_eq!(errno(&view, node, value(STORED)), Errno::NODATA);

    let without = Stack::of(&[&file]);
    assert_eq!(seen(&without), ["user.a", STORED, CONTAINERS]);
}

#[test]
fn rule_17_what_makes_no_sense_is_an_error() {
    for value in ["", "0:0", "0:0:755:door", "0:0:755:dir"] {
        let stack = Stack::of(&[&[
            Xattr("", CONTAINERS, "0:0:0755:dir"),
            File("d/f", ""),
            Xattr("d/f", CONTAINERS, value),
        ]]);
        let view = stack.view();
        let listing = Operation::ReadDir { offset: 0 };
        let node = find(&view, "d").unwrap().node;
        assert_eq!(errno(&view, node, listing), Errno::IO, "{value:?}");
    }
}

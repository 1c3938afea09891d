//! What one layer says by itself, with its marks as names (rule 38).

use std::collections::BTreeMap;

use mica_fuse::{
    Caller, DiffView, Layer, NodeId, Operation, Reply, Request, Result, Segment, ViewOptions,
};
use rustix::io::Errno;

use crate::on_disk::Step::{Directory, File, Whiteout, Xattr};
use crate::on_disk::{self, Stack};
use crate::packing::Tar;

fn ask<'d>(diff: &'d DiffView, node: NodeId, operation: Operation<'_>) -> Result<Reply<'d>> {
    diff.answer(&Request {
        node,
        caller: Caller::default(),
        operation,
    })
}

fn names(diff: &DiffView, node: NodeId, offset: u64) -> Vec<(String, u64)> {
    let Reply::Listing(listing) = ask(diff, node, Operation::ReadDirPlus { offset }).unwrap()
    else {
        panic!("no listing")
    };
    let entry = |entry: Result<mica_fuse::DirEntry<'_>>| {
        let entry = entry.unwrap();
        let name = String::from_utf8(entry.name.into_owned()).unwrap();
        (name, entry.next)
    };
    listing.entries.map(entry).collect()
}

/// Walks the tree: directories as `/`, files as their contents. Each listing is taken from
/// each of its cookies too.
fn walk(diff: &DiffView, node: NodeId, path: &str, seen: &mut BTreeMap<String, String>) {
    let listed = names(diff, node, 0);
    for (position, (name, next)) in listed.iter().enumerate() {
        assert_eq!(names(diff, node, *next), listed[position + 1..], "{path}");
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{path}{name}");
        let look_up = Operation::Lookup {
            name: name.as_bytes(),
        };
        let Reply::Entry(entry) = ask(diff, node, look_up).unwrap() else {
            panic!("{path} is listed and not found")
        };
        if entry.attr.mode & libc::S_IFMT == libc::S_IFDIR {
            seen.insert(format!("{path}/"), String::new());
            walk(diff, entry.node, &format!("{path}/"), seen);
            continue;
        }
        let read = Operation::Read {
            offset: 0,
            size: 4096,
        };
        let bytes: Vec<u8> = match ask(diff, entry.node, read).unwrap() {
            Reply::Data(segments) => segments
                .iter()
                .flat_map(|segment| match segment {
                    Segment::Mapped(bytes) => bytes.to_vec(),
                    Segment::Owned(bytes) => bytes.clone(),
                    Segment::Zeros(length) => vec![0; *length],
                })
                .collect(),
            reply => panic!("{reply:?}"),
        };
        assert_eq!(bytes.len() as u64, entry.attr.size, "{path}");
        seen.insert(path, String::from_utf8(bytes).unwrap());
    }
}

fn assert_shows(layers: Vec<Layer>, expected: &[(&str, &str)]) {
    let diff = DiffView::open(layers, ViewOptions::default()).unwrap();
    let mut seen = BTreeMap::new();
    walk(&diff, NodeId::ROOT, "", &mut seen);
    let seen: Vec<_> = seen
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_str()))
        .collect();
    assert_eq!(seen, expected);
    for absent in ["kept", ".wh.kept", ".wh.", ".wh..wh..opq"] {
        let name = absent.as_bytes();
        let reply = ask(&diff, NodeId::ROOT, Operation::Lookup { name }).unwrap();
        assert!(matches!(reply, Reply::Absent), "{absent}");
    }
}

fn lower(stack: &Stack) -> Layer {
    Tar::default()
        .file("kept", "kept")
        .file("changed", "old")
        .file("gone", "gone")
        .file("dir/kept", "kept")
        .file("dir/gone", "gone")
        .file("opaque/old", "old")
        .pack(stack.directory(), "lower")
}

#[test]
fn rule_38_a_packed_layer_shows_what_its_archive_has() {
    let stack = Stack::new();
    let layers = || {
        Tar::default()
            .file("added", "added")
            .file("changed", "new")
            .file(".wh.gone", "")
            .file("dir/.wh.gone", "")
            .hard_link("dir/link", "kept", 0o644)
            .file("opaque/.wh..wh..opq", "")
            .file("opaque/new", "new")
            .pack(stack.directory(), "upper")
    };
    assert_shows(
        vec![layers(), lower(&stack)],
        &[
            (".wh.gone", ""),
            ("added", "added"),
            ("changed", "new"),
            ("dir/", ""),
            ("dir/.wh.gone", ""),
            ("dir/link", "kept"),
            ("opaque/", ""),
            ("opaque/.wh..wh..opq", ""),
            ("opaque/new", "new"),
        ],
    );
}

#[test]
fn rule_38_a_directory_layer_shows_the_same() {
    let stack = Stack::of(&[&[
        File("added", "added"),
        Whiteout("gone"),
        Whiteout("dir/gone"),
        Directory("opaque", 0o755),
        Xattr("opaque", "trusted.overlay.opaque", "y"),
        File("opaque/new", "new"),
        File("beside/new", "new"),
        File(".wh.beside", ""),
        // A copy of the attributes alone.
        File("changed", "\0\0\0"),
        Xattr("changed", "trusted.overlay.metacopy", ""),
    ]]);
    assert_shows(
        vec![on_disk::open(&stack.layers()[0]), lower(&stack)],
        &[
            (".wh.gone", ""),
            ("added", "added"),
            ("beside/", ""),
            ("beside/.wh..wh..opq", ""),
            ("beside/new", "new"),
            ("changed", "old"),
            ("dir/", ""),
            ("dir/.wh.gone", ""),
            ("opaque/", ""),
            ("opaque/.wh..wh..opq", ""),
            ("opaque/new", "new"),
        ],
    );
}

#[test]
fn rule_38_a_mark_is_an_empty_file_that_takes_no_changes() {
    let stack = Stack::new();
    let upper = Tar::default()
        .file(".wh.gone", "")
        .pack(stack.directory(), "upper");
    let diff = DiffView::open(vec![upper], ViewOptions::default()).unwrap();
    let look_up = Operation::Lookup { name: b".wh.gone" };
    let Reply::Entry(mark) = ask(&diff, NodeId::ROOT, look_up).unwrap() else {
        panic!("no mark")
    };
    let attr = ask(&diff, mark.node, Operation::GetAttr).unwrap();
    assert!(matches!(attr, Reply::Attr(attr) if attr == mark.attr));
    let refused = [
        (Operation::Unlink { name: b"x" }, Errno::ROFS),
        (Operation::Lookup { name: b"x" }, Errno::NOTDIR),
        (Operation::ReadLink, Errno::INVAL),
        (
            Operation::GetXattr {
                name: b"user.x",
                size: 0,
            },
            Errno::NODATA,
        ),
    ];
    for (operation, errno) in refused {
        let answer = ask(&diff, mark.node, operation);
        assert_eq!(answer.unwrap_err().errno(), errno, "{operation:?}");
    }
}

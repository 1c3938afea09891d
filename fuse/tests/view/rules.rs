//! Rules of `semantics.md` in which a view differs from the kernel's overlayfs, or
//! that only packed layers have.

use std::collections::BTreeSet;

use mica_fuse::{
    Access, FileType, Layer, NodeId, Operation, Reply, Request, View, ViewOptions, Whence,
};
use rustix::io::Errno;

use crate::on_disk::Step::{Directory, File, Whiteout, Xattr};
use crate::on_disk::{self, Stack};
use crate::packing::Tar;
use crate::walked::{ask, find, list, walk_view};

pub(crate) fn view(layers: Vec<Layer>) -> View {
    View::open(layers, ViewOptions::default()).unwrap()
}

pub(crate) fn names(view: &View) -> Vec<String> {
    walk_view(view)
        .keys()
        .map(|path| path.escape_ascii().to_string())
        .collect()
}

pub(crate) fn errno(view: &View, node: NodeId, operation: Operation<'_>) -> Errno {
    view.answer(&Request {
        node,
        caller: mica_fuse::Caller::default(),
        operation,
    })
    .map(|reply| format!("{reply:?}"))
    .unwrap_err()
    .errno()
}

#[test]
fn rules_2_and_4_mark_files() {
    /// Why, the steps of each layer, and what is there.
    type Case<'a> = (&'a str, &'a [&'a [on_disk::Step]], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            "hides a name",
            &[&[File(".wh.a", "")], &[File("a", ""), File("b", "")]],
            &["", "b"],
        ),
        (
            "of the root hides nothing in a subdirectory",
            &[&[File(".wh.a", "")], &[File("d/a", ""), File("a/x", "")]],
            &["", "d", "d/a"],
        ),
        (
            "beside the name hides only below",
            &[&[File(".wh.a", ""), File("a", "")], &[File("a/x", "")]],
            &["", "a"],
        ),
        (
            "beside a directory makes it opaque",
            &[
                &[File("e/.wh.d", ""), File("e/d/new", "")],
                &[File("e/d/old", "")],
            ],
            &["", "e", "e/d", "e/d/new"],
        ),
        (
            "opaque file",
            &[
                &[File("d/.wh..wh..opq", ""), File("d/new", "")],
                &[File("d/old", "")],
                &[File("d/older", "")],
            ],
            &["", "d", "d/new"],
        ),
        (
            "opaque file at the root",
            &[
                &[File(".wh..wh..opq", ""), File("new", "")],
                &[File("old", "")],
            ],
            &["", "new"],
        ),
        (
            "fuse-overlayfs's attribute",
            &[
                &[
                    Directory("d", 0o755),
                    Xattr("d", "user.fuseoverlayfs.opaque", "y"),
                ],
                &[File("d/old", "")],
            ],
            &["", "d"],
        ),
        (
            "an attribute that says no",
            &[
                &[
                    Directory("d", 0o755),
                    Xattr("d", "user.overlay.opaque", "n"),
                ],
                &[File("d/old", "")],
            ],
            &["", "d", "d/old"],
        ),
        (
            "user.overlay.whiteout",
            &[
                &[
                    Directory("d", 0o755),
                    Xattr("d", "user.overlay.opaque", "x"),
                    File("d/a", ""),
                    Xattr("d/a", "user.overlay.whiteout", ""),
                    File("d/b", "full"),
                    Xattr("d/b", "user.overlay.whiteout", ""),
                ],
                &[File("d/a", ""), File("d/c", "")],
            ],
            &["", "d", "d/b", "d/c"],
        ),
        (
            "an attribute in a directory that does not say it may hold such",
            &[
                &[
                    File("d/a", ""),
                    Xattr("d/a", "trusted.overlay.whiteout", "y"),
                ],
                &[File("d/a", "old")],
            ],
            &["", "d", "d/a"],
        ),
        ("a whiteout alone", &[&[Whiteout("a")]], &[""]),
    ];
    for (why, layers, expected) in cases {
        assert_eq!(names(&Stack::of(layers).view()), *expected, "{why}");
    }
}

#[test]
fn rule_6_implied_directories() {
    let directory = tempfile::TempDir::new().unwrap();
    let pack = |tar: Tar, label: &str| tar.pack(directory.path(), label);
    let layers = vec![
        pack(Tar::default().file("d/e/top", ""), "2"),
        pack(
            Tar::default()
                .xattr("user.a", "b")
                .directory("d", 0o750)
                .file("f/only", ""),
            "1",
        ),
        pack(
            Tar::default().directory("d", 0o700).directory("d/e", 0o711),
            "0",
        ),
    ];
    let top = find(&view(layers[..1].to_vec()), "d").unwrap().attr.ino;
    let view = view(layers);
    let mode = |path| find(&view, path).unwrap().attr.mode & 0o7777;
    assert_eq!((mode("d"), mode("d/e"), mode("f")), (0o750, 0o711, 0o755));
    let entry = find(&view, "d").unwrap();
    assert_eq!(entry.attr.ino, top, "the number of the uppermost");
    let value = ask(
        &view,
        entry.node,
        Operation::GetXattr {
            name: b"user.a",
            size: 10,
        },
    );
    assert!(matches!(value, Reply::Bytes(value) if *value == *b"b"));
}

#[test]
fn rule_7_hard_links_across_layers() {
    let directory = tempfile::TempDir::new().unwrap();
    let pack = |tar: Tar, label: &str| tar.pack(directory.path(), label);
    let layers = vec![
        pack(
            Tar::default()
                .xattr("user.top", "1")
                .hard_link("c", "b", 0o600),
            "3",
        ),
        pack(
            Tar::default()
                .hard_link("b", "dir/a", 0o640)
                .file(".wh.gone", ""),
            "2",
        ),
        pack(
            Tar::default()
                .symlink("dir", "real")
                .hard_link("also", "gone", 0o644),
            "1",
        ),
        pack(
            Tar::default()
                .file("real/a", "same")
                .hard_link("real/z", "real/a", 0o644)
                .file("gone", "kept"),
            "0",
        ),
    ];
    let view = view(layers);
    let walked = walk_view(&view);
    let group: Vec<_> = ["b", "c", "real/a", "real/z"]
        .iter()
        .map(|path| &walked[path.as_bytes()])
        .collect();
    for seen in group {
        assert_eq!(
            (seen.same_as.as_slice(), seen.nlink),
            (&b"b"[..], 4),
            "one file, two names and two links"
        );
        assert_eq!(
            (seen.mode & 0o7777, seen.bytes.as_slice()),
            (0o600, &b"same"[..]),
            "the uppermost header"
        );
        assert_eq!(seen.xattrs[&b"user.top"[..]], b"1");
    }
    assert_eq!(
        walked[&b"also"[..]].bytes,
        b"kept",
        "a hidden target is still a target"
    );
    assert!(!walked.contains_key(&b"gone"[..]));
}

#[test]
fn rule_7_a_link_into_a_directory_layer() {
    let directory = tempfile::TempDir::new().unwrap();
    let stack = Stack::of(&[&[File("d/a", "real")]]);
    let upper = Tar::default()
        .hard_link("b", "d/a", 0o600)
        .pack(directory.path(), "1");
    let view = view(vec![upper, on_disk::open(&stack.layers()[0])]);
    let walked = walk_view(&view);
    assert_eq!(walked[&b"d/a"[..]].same_as, b"b");
    assert_eq!(
        (walked[&b"b"[..]].nlink, walked[&b"b"[..]].mode),
        (2, 0o100_600)
    );
}

#[test]
fn rule_7_a_link_without_target_is_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    for (number, target) in ["nowhere", "d", "file/below", "loop/x"]
        .into_iter()
        .enumerate()
    {
        let pack = |tar: Tar, name: &str| tar.pack(directory.path(), &format!("{number}-{name}"));
        let lower = Tar::default()
            .directory("d", 0o755)
            .file("file", "")
            .symlink("loop", "loop");
        let layers = vec![
            pack(Tar::default().hard_link("a", target, 0o644), "upper"),
            pack(lower, "lower"),
        ];
        let error = View::open(layers, ViewOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("upper") && error.to_string().contains(target),
            "{error}"
        );
    }
}

#[test]
fn rule_9_numbers_are_the_same_after_a_remount_and_unique() {
    let directory = tempfile::TempDir::new().unwrap();
    let tar = || Tar::default().file("a", "1").file("d/b", "2");
    let layers = vec![
        tar().pack(directory.path(), "x"),
        Tar::default().file("c", "").pack(directory.path(), "y"),
    ];
    let inos = |layers: &[Layer]| {
        let view = view(layers.to_vec());
        ["a", "d", "d/b", "c"].map(|path| find(&view, path).unwrap().attr.ino)
    };
    let first = inos(&layers);
    assert_eq!(first, inos(&layers), "the same");
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4, "unique");
    let twice = [layers.clone(), layers].concat();
    assert_eq!(
        names(&view(twice)),
        ["", "a", "c", "d", "d/b"],
        "one layer at two places of a chain"
    );
}

#[test]
fn rule_10_attributes_of_packed_layers() {
    let directory = tempfile::TempDir::new().unwrap();
    let with = Tar::default()
        .xattr("user.a", "value")
        .file("a", "")
        .file("b", "");
    let with = view(vec![with.pack(directory.path(), "with")]);
    let node = find(&with, "a").unwrap().node;
    let get = |size| {
        with.answer(&Request {
            node,
            caller: mica_fuse::Caller::default(),
            operation: Operation::GetXattr {
                name: b"user.a",
                size,
            },
        })
    };
    assert!(matches!(get(0), Ok(Reply::Length(5))));
    assert!(matches!(get(5), Ok(Reply::Bytes(value)) if *value == *b"value"));
    assert_eq!(get(4).unwrap_err().errno(), Errno::RANGE);
    assert!(matches!(
        ask(&with, node, Operation::ListXattr { size: 0 }),
        Reply::Length(7)
    ));
    assert_eq!(
        errno(&with, node, Operation::ListXattr { size: 6 }),
        Errno::RANGE
    );
    let other = find(&with, "b").unwrap().node;
    assert_eq!(
        errno(
            &with,
            other,
            Operation::GetXattr {
                name: b"user.a",
                size: 0
            }
        ),
        Errno::NODATA
    );

    let without = view(vec![
        Tar::default()
            .file("a", "")
            .pack(directory.path(), "without"),
    ]);
    assert!(!without.has_xattrs());
    assert_eq!(
        errno(&without, NodeId::ROOT, Operation::ListXattr { size: 0 }),
        Errno::NOSYS
    );
}

#[test]
fn a_view_without_holes_is_never_asked_for_one_again() {
    let directory = tempfile::tempdir().unwrap();
    let view = view(vec![
        Tar::default()
            .file("a", "abc")
            .pack(directory.path(), "without"),
    ]);
    let node = find(&view, "a").unwrap().node;
    let seek = Operation::Seek {
        offset: 0,
        whence: Whence::Hole,
    };
    assert!(!view.has_holes());
    assert_eq!(errno(&view, node, seek), Errno::NOSYS);
}

#[test]
fn what_a_view_refuses() {
    let stack = Stack::of(&[&[File("a", "abc"), Directory("d", 0o755)]]);
    let view = stack.view();
    let (file, directory) = (
        find(&view, "a").unwrap().node,
        find(&view, "d").unwrap().node,
    );
    let unknown = Operation::Unknown { opcode: 999 };
    let read = Operation::Read { offset: 0, size: 1 };
    let open = Operation::Open {
        flags: 0,
        kill_privileges: false,
    };
    let long = Operation::Lookup { name: &[b'n'; 256] };
    let past = Operation::Seek {
        offset: 9,
        whence: Whence::Data,
    };
    let below = Operation::Lookup { name: b"x" };
    let listing = Operation::ReadDir { offset: 0 };
    for (why, node, operation, expected) in [
        (
            "a change",
            file,
            Operation::Unlink { name: b"x" },
            Errno::ROFS,
        ),
        ("an open", file, open, Errno::NOSYS),
        ("a flush", file, Operation::Nothing, Errno::NOSYS),
        ("what nobody knows", file, unknown, Errno::NOSYS),
        ("a listing of a file", file, listing, Errno::NOTDIR),
        ("a look-up in a file", file, below, Errno::NOTDIR),
        (
            "the target of a file",
            file,
            Operation::ReadLink,
            Errno::INVAL,
        ),
        ("reading a directory", directory, read, Errno::ISDIR),
        ("too long a name", directory, long, Errno::NAMETOOLONG),
        ("data past the end", file, past, Errno::NXIO),
        (
            "a node that never was",
            NodeId(7 << 55 | 9),
            Operation::GetAttr,
            Errno::STALE,
        ),
        (
            "of no packed layer",
            NodeId(1 << 63 | 9),
            Operation::GetAttr,
            Errno::STALE,
        ),
    ] {
        assert_eq!(errno(&view, node, operation), expected, "{why}");
    }
    let empty = View::open(Vec::new(), ViewOptions::default()).unwrap_err();
    assert_eq!(empty.errno(), Errno::INVAL, "no layers");
}

#[test]
fn rule_11_statfs() {
    let view = Stack::of(&[&[]]).view();
    let Reply::StatFs(statfs) = ask(&view, NodeId::ROOT, Operation::StatFs) else {
        panic!("no statfs")
    };
    assert!(statfs.blocks > 0 && statfs.blocks_free == 0);
    assert_eq!(statfs.name_length, 255);
}

#[test]
fn rule_12_access() {
    let stack = Stack::of(&[&[File("a", "abc"), Directory("d", 0o700)]]);
    let owner = stack.view();
    let (file, directory) = (
        find(&owner, "a").unwrap().node,
        find(&owner, "d").unwrap().node,
    );
    for (mask, expected) in [(1, Errno::ACCESS), (2, Errno::ROFS), (3, Errno::ROFS)] {
        assert_eq!(
            errno(&owner, file, Operation::Access { mask }),
            expected,
            "{mask}"
        );
    }
    assert!(matches!(
        ask(&owner, file, Operation::Access { mask: 4 }),
        Reply::Done
    ));
    assert!(matches!(
        ask(&owner, directory, Operation::Access { mask: 5 }),
        Reply::Done
    ));
    let options = ViewOptions {
        access: Access::Enforce,
    };
    let enforcing = View::open(vec![on_disk::open(&stack.layers()[0])], options).unwrap();
    assert_eq!(
        errno(&enforcing, NodeId::ROOT, Operation::Access { mask: 2 }),
        Errno::NOSYS
    );
}

#[test]
fn rule_14_a_listing_goes_on_from_any_cookie() {
    let stack = Stack::of(&[
        &[Whiteout("b"), File("a", ""), File("d", "")],
        &[File("b", ""), File("c", ""), File("e", "")],
    ]);
    let lowest = view(vec![on_disk::open(&stack.layers()[0])]);
    for (view, count) in [(stack.view(), 6), (lowest, 4)] {
        let all = list(&view, NodeId::ROOT, Operation::ReadDir { offset: 0 });
        assert_eq!(all.len(), count);
        for (taken, entry) in all.iter().enumerate() {
            let rest = list(
                &view,
                NodeId::ROOT,
                Operation::ReadDir { offset: entry.next },
            );
            assert_eq!(
                rest,
                all[taken + 1..],
                "after {}",
                entry.name.escape_ascii()
            );
        }
    }
}

#[test]
fn rule_15_nothing_is_followed_out_of_a_layer() {
    let outside = tempfile::TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let stack = Stack::of(&[&[File("d/a", "")]]);
    let link = stack.layers()[0].join("link");
    std::os::unix::fs::symlink(outside.path(), &link).unwrap();
    let view = stack.view();
    let entry = find(&view, "link").unwrap();
    assert_eq!(FileType::of_mode(entry.attr.mode), Some(FileType::Symlink));
    assert_eq!(
        errno(&view, entry.node, Operation::Lookup { name: b"secret" }),
        Errno::NOTDIR
    );

    // A directory that is replaced by a link after it was looked up.
    let directory = find(&view, "d").unwrap();
    std::fs::remove_dir_all(stack.layers()[0].join("d")).unwrap();
    std::os::unix::fs::symlink(outside.path(), stack.layers()[0].join("d")).unwrap();
    let refused = errno(&view, directory.node, Operation::Lookup { name: b"secret" });
    assert!(
        matches!(refused, Errno::LOOP | Errno::NOTDIR | Errno::STALE),
        "{refused:?}"
    );
}

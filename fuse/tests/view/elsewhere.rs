//! Redirects and metadata-only copies (rules 13, 16): layers that the kernel's overlayfs
//! wrote, seen through it and through a view, and layers that it would never write.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use mica_fuse::{NodeId, Operation};
use proptest::prelude::*;
use rustix::io::Errno;

use crate::on_disk::Step::{self, Directory, File, Whiteout, Xattr};
use crate::on_disk::{self, Stack};
use crate::oracle::{assert_same, overlay, path_of};
use crate::packing::Tar;
use crate::rules::{errno, names, view};
use crate::walked::{ask, find, list, walk_view};

const FEATURES: [(&str, &str); 2] = [("redirect_dir", "on"), ("metacopy", "on")];
const REDIRECT: &str = "trusted.overlay.redirect";
const METACOPY: &str = "trusted.overlay.metacopy";
const OPAQUE: &str = "trusted.overlay.opaque";

/// A change that somebody makes in a mounted tree.
#[derive(Clone, Debug)]
enum Change {
    Rename(String, String),
    Link(String, String),
    Symlink(String),
    Mode(String, u32),
    Write(String),
    MakeDirectory(String),
    Remove(String),
}

impl Change {
    /// Makes the change, where it can be made.
    fn make(&self, root: &Path) -> std::io::Result<()> {
        let at = |path: &String| root.join(path);
        match self {
            Self::Rename(from, to) => fs::rename(at(from), at(to)),
            Self::Link(from, to) => fs::hard_link(at(from), at(to)),
            Self::Symlink(path) => symlink("target", at(path)),
            Self::Mode(path, mode) => {
                fs::set_permissions(at(path), fs::Permissions::from_mode(*mode))
            }
            Self::Write(path) => fs::write(at(path), format!("written to {path}")),
            Self::MakeDirectory(path) => fs::create_dir(at(path)),
            Self::Remove(path) => match fs::remove_file(at(path)) {
                Ok(()) => Ok(()),
                Err(_) => fs::remove_dir_all(at(path)),
            },
        }
    }
}

/// Makes changes in a stack through the kernel, and puts what it wrote on top.
fn change(stack: &mut Stack, changes: &[Change]) -> Vec<std::io::Result<()>> {
    let name = format!("upper-{}", stack.layers().len());
    let [upper, work] = ["upper", "work"].map(|part| {
        let path = stack.directory().join(&name).join(part);
        fs::create_dir_all(&path).unwrap();
        path
    });
    let options = [
        FEATURES[0],
        FEATURES[1],
        ("upperdir", upper.to_str().unwrap()),
        ("workdir", work.to_str().unwrap()),
    ];
    let mount = overlay(stack, &options);
    let root = path_of(&mount);
    let made = changes.iter().map(|change| change.make(&root)).collect();
    drop(mount);
    stack.put(upper);
    made
}

fn has_mark(path: &PathBuf, mark: &str) -> bool {
    rustix::fs::lgetxattr(path, mark, &mut [0; 256][..]).is_ok()
}

#[test]
fn what_the_kernel_wrote_is_what_it_shows() {
    let mut stack = Stack::of(&[
        &[File("d/e/f", "first"), File("top", "top"), File("d/x", "")],
        &[File("d/e/g", "second"), File("d/y/z", "deep")],
    ]);
    let rounds = [
        // A move within a directory is relative, one to another absolute.
        vec![
            Change::Rename("d/e".into(), "d/moved".into()),
            Change::Mode("top".into(), 0o600),
            Change::Mode("d/moved/g".into(), 0o640),
        ],
        vec![
            Change::Rename("d/moved".into(), "out".into()),
            Change::MakeDirectory("d/e".into()),
            Change::Write("d/e/new".into()),
            Change::Rename("top".into(), "renamed".into()),
            Change::Mode("out/f".into(), 0o700),
            Change::Rename("out/g".into(), "d/g".into()),
        ],
        vec![
            Change::Rename("out".into(), "again".into()),
            Change::Rename("d".into(), "again/d".into()),
            Change::Mode("renamed".into(), 0o604),
            Change::Link("renamed".into(), "again/linked".into()),
            Change::Mode("again/d/g".into(), 0o604),
        ],
        vec![
            Change::Rename("again".into(), "last".into()),
            Change::Mode("last/d/g".into(), 0o640),
            Change::Mode("last/linked".into(), 0o606),
        ],
    ];
    for (round, changes) in rounds.iter().enumerate() {
        for made in change(&mut stack, changes) {
            made.unwrap();
        }
        assert_same(&format!("round {round}"), &stack, &FEATURES);
    }
    let layers = stack.layers();
    assert!(has_mark(&layers[0].join("last"), REDIRECT), "a real one");
    assert!(
        has_mark(&layers[0].join("last/d/g"), METACOPY),
        "a real one"
    );
    assert_eq!(walk_view(&stack.view())[&b"last/d/g"[..]].bytes, b"second");
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn changes() -> impl Strategy<Value = Change> {
    let mode = prop::sample::select(vec![0o600, 0o640, 0o755]);
    prop_oneof![
        4 => (paths(), paths()).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => (paths(), paths()).prop_map(|(from, to)| Change::Link(from, to)),
        1 => paths().prop_map(Change::Symlink),
        3 => (paths(), mode).prop_map(|(path, mode)| Change::Mode(path, mode)),
        2 => paths().prop_map(Change::Write),
        3 => paths().prop_map(Change::MakeDirectory),
        1 => paths().prop_map(Change::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_the_kernel_wrote_is_what_it_shows(
        rounds in prop::collection::vec(prop::collection::vec(changes(), 1..8), 1..5),
    ) {
        let mut stack = Stack::of(&[
            &[File("a/b/c", "1"), File("a/a", "2"), File("b/c", "3")],
            &[File("a/b/a", "4"), File("b/a/a", "5"), File("c/a/b", "6"), File("c/b", "7")],
        ]);
        for changes in &rounds {
            change(&mut stack, changes);
        }
        assert_same(&format!("{rounds:?}"), &stack, &FEATURES);
    }
}

/// Why, and the steps of each layer, uppermost first.
type Case = (&'static str, &'static [&'static [Step]]);

const BY_HAND: &[Case] = &[
    (
        "a directory on an absolute path leads elsewhere in the layers below",
        &[
            &[
                Directory("new", 0o700),
                Xattr("new", REDIRECT, "/a/b"),
                Whiteout("a"),
            ],
            &[File("a/b/1", "1"), Xattr("a", REDIRECT, "/p/q")],
            &[File("p/q/b/2", "2"), File("a/b/hidden", "")],
        ],
    ),
    (
        "a relative redirect at the end of an absolute path",
        &[
            &[
                Directory("new", 0o700),
                Xattr("new", REDIRECT, "/a/b"),
                Whiteout("a"),
            ],
            &[File("a/b/1", "1"), Xattr("a/b", REDIRECT, "c")],
            &[File("a/c/2", "2"), File("a/b/hidden", "")],
        ],
    ),
    (
        "what is opaque on the path cuts",
        &[
            &[
                Directory("new", 0o700),
                Xattr("new", REDIRECT, "/a/b"),
                Whiteout("a"),
            ],
            &[File("a/b/1", "1"), Xattr("a", OPAQUE, "y")],
            &[File("a/b/2", "2")],
        ],
    ),
    (
        "but not a way from the root at its end",
        &[
            &[
                Directory("new", 0o700),
                Xattr("new", REDIRECT, "/a/b"),
                Whiteout("a"),
            ],
            &[
                File("a/b/1", "1"),
                Xattr("a", OPAQUE, "y"),
                Xattr("a/b", REDIRECT, "/c"),
            ],
            &[File("c/2", "2")],
        ],
    ),
    (
        "what is no directory on the path cuts, and so does a whiteout",
        &[
            &[
                Directory("x", 0o700),
                Xattr("x", REDIRECT, "/a/b"),
                Whiteout("a"),
                Directory("y", 0o700),
                Xattr("y", REDIRECT, "/c/d"),
                Whiteout("c"),
            ],
            &[File("a", ""), Whiteout("c")],
            &[File("a/b/2", "2"), File("c/d/2", "2")],
        ],
    ),
    (
        "a layer without it is passed over",
        &[
            &[
                Directory("new", 0o700),
                Xattr("new", REDIRECT, "/a/b"),
                Whiteout("a"),
            ],
            &[File("other", "")],
            &[Directory("a", 0o755)],
            &[File("a/b/2", "2")],
        ],
    ),
    (
        "opaque goes first",
        &[
            &[
                File("new/1", ""),
                Xattr("new", REDIRECT, "/a"),
                Xattr("new", OPAQUE, "y"),
            ],
            &[File("a/2", "2"), File("new/3", "3")],
        ],
    ),
    (
        "what has the same name below is not part of it",
        &[
            &[
                Directory("new", 0o700),
                Xattr("new", REDIRECT, "old"),
                Whiteout("old"),
            ],
            &[File("new/hidden", ""), File("old/shown", "")],
        ],
    ),
    (
        "a mark in the lowest layer leads nowhere",
        &[&[File("a/b", ""), Xattr("a", REDIRECT, "/c")], &[]],
    ),
    (
        "the root leads nowhere",
        &[
            &[File("a/b", ""), Xattr("", REDIRECT, "/c")],
            &[File("c/d", "")],
        ],
    ),
    (
        "a chain of metadata-only copies",
        &[
            &[
                File("new", "\0\0\0\0"),
                Xattr("new", METACOPY, ""),
                Xattr("new", REDIRECT, "/d/old"),
                Whiteout("d"),
            ],
            &[
                File("d/old", "\0\0\0\0"),
                Xattr("d/old", METACOPY, ""),
                Xattr("d/old", REDIRECT, "older"),
                Xattr("d/old", "user.of", "the middle"),
            ],
            &[Directory("d", 0o755)],
            &[
                File("d/older", "data"),
                Xattr("d/older", "user.of", "the lowest"),
            ],
        ],
    ),
    (
        "a file that was copied with its contents keeps a redirect that means nothing",
        &[
            &[File("a", "upper"), Xattr("a", REDIRECT, "/b")],
            &[File("b", "lower"), File("a", "lower")],
        ],
    ),
    (
        "in a directory that was moved",
        &[
            &[
                File("new/f", "\0\0\0\0"),
                Xattr("new", REDIRECT, "/old"),
                Xattr("new/f", METACOPY, ""),
                Whiteout("old"),
            ],
            &[File("old/f", "\0\0\0\0"), Xattr("old/f", METACOPY, "")],
            &[File("old/f", "data")],
        ],
    ),
];

const READ: Operation<'_> = Operation::Read { offset: 0, size: 9 };

#[test]
fn what_the_kernel_would_never_write_is_what_it_shows() {
    for (why, layers) in BY_HAND {
        let mut steps: Vec<Vec<Step>> = layers.iter().map(|layer| layer.to_vec()).collect();
        for layer in &mut steps {
            // The kernel lists only what it can find; so every layer has something.
            layer.push(Directory("everywhere", 0o755));
        }
        let steps: Vec<&[Step]> = steps.iter().map(Vec::as_slice).collect();
        assert_same(why, &Stack::of(&steps), &FEATURES);
    }
}

#[test]
fn rule_13_into_packed_layers_and_on_from_there() {
    let directory = tempfile::TempDir::new().unwrap();
    let stack = Stack::of(&[
        &[
            File("new/top", ""),
            Xattr("new", "user.overlay.redirect", "/d/old"),
            Whiteout("d"),
        ],
        &[File("other", "")],
    ]);
    let pack = |tar: Tar, label: &str| tar.pack(directory.path(), label);
    let layers = vec![
        on_disk::open(&stack.layers()[0]),
        pack(
            Tar::default()
                .file("d/old/e/middle", "1")
                .file("d/old/.wh.hidden", ""),
            "1",
        ),
        on_disk::open(&stack.layers()[1]),
        pack(
            Tar::default()
                .file("d/old/e/low", "2")
                .file("d/old/e/f/deep", "3")
                .file("d/old/hidden", ""),
            "0",
        ),
    ];
    let seen = view(layers.clone());
    assert_eq!(
        names(&seen),
        [
            "",
            "new",
            "new/e",
            "new/e/f",
            "new/e/f/deep",
            "new/e/low",
            "new/e/middle",
            "new/top",
            "other"
        ]
    );
    let ino = |path| find(&view(layers.clone()), path).unwrap().attr.ino;
    assert_eq!(ino("new/e/f"), ino("new/e/f"), "rule 9: after a remount");

    let view = view(layers.clone());
    for path in ["new/e", "new/e/f"] {
        let node = find(&view, path).unwrap().node;
        ask(&view, node, Operation::Forget { lookups: 9 });
        assert_eq!(errno(&view, node, Operation::GetAttr), Errno::STALE);
        assert_eq!(find(&view, path).unwrap().attr.ino, ino(path));
    }
}

#[test]
fn rule_13_a_directory_under_two_names_is_two_nodes() {
    let directory = tempfile::TempDir::new().unwrap();
    let stack = Stack::of(&[
        &[Directory("new", 0o755), Xattr("new", REDIRECT, "/old")],
        &[File("old/e/f/a", "")],
    ]);
    let packed = Tar::default().file("old/e/f/a", "");
    let packed = packed.pack(directory.path(), "0");
    let upper = || on_disk::open(&stack.layers()[0]);
    for lower in [on_disk::open(&stack.layers()[1]), packed] {
        let view = view(vec![upper(), lower]);
        let node = |path| find(&view, path).unwrap();
        for [one, other] in [["new/e", "old/e"], ["old/e/f", "new/e/f"]].map(|pair| pair.map(node))
        {
            assert_ne!(one.node, other.node);
            assert_eq!(one.attr.ino, other.attr.ino);
            for entry in [one, other] {
                let listing = Operation::ReadDir { offset: 0 };
                assert_eq!(list(&view, entry.node, listing).len(), 3);
            }
        }
        assert_eq!(node("new/e/f/a"), node("old/e/f/a"), "one file");
        walk_view(&view);
    }
}

#[test]
fn rule_13_what_makes_no_sense_is_an_error() {
    for value in ["", "/", "a/b", "/a//b", "/a/", "..", "/../a"] {
        let stack = Stack::of(&[
            &[File("d/x", ""), Xattr("d", REDIRECT, value)],
            &[File("a/b", "")],
        ]);
        let view = stack.view();
        let lookup = Operation::Lookup { name: b"x" };
        let error = match find_error(&view, "d") {
            Ok(node) => errno(&view, node, lookup),
            Err(error) => error,
        };
        assert_eq!(error, Errno::IO, "{value:?}");
    }
}

fn find_error(view: &mica_fuse::View, name: &str) -> Result<NodeId, Errno> {
    let name = name.as_bytes();
    let request = mica_fuse::Request {
        node: NodeId::ROOT,
        caller: mica_fuse::Caller::default(),
        operation: Operation::Lookup { name },
    };
    match view.answer(&request) {
        Ok(mica_fuse::Reply::Entry(entry)) => Ok(entry.node),
        Ok(reply) => panic!("{reply:?}"),
        Err(error) => Err(error.errno()),
    }
}

#[test]
fn rule_16_contents_of_packed_layers() {
    let directory = tempfile::TempDir::new().unwrap();
    let upper = Stack::of(&[
        &[
            File("a", "\0\0\0\0"),
            Xattr("a", "user.overlay.metacopy", ""),
            Xattr("a", "user.of", "the upper"),
            File("link", "\0\0\0\0"),
            Xattr("link", METACOPY, ""),
            File("moved", "\0\0\0\0"),
            Xattr("moved", METACOPY, ""),
            Xattr("moved", REDIRECT, "/d/to-metacopy"),
        ],
        &[File("real", "\0\0\0\0"), Xattr("real", METACOPY, "")],
    ]);
    let pack = |tar: Tar, label: &str| tar.pack(directory.path(), label);
    let layers = vec![
        on_disk::open(&upper.layers()[0]),
        pack(
            Tar::default()
                .hard_link("link", "a", 0o600)
                .hard_link("d/to-metacopy", "real", 0o600),
            "1",
        ),
        on_disk::open(&upper.layers()[1]),
        pack(Tar::default().file("a", "data").file("real", "REAL"), "0"),
    ];
    let walked = walk_view(&view(layers));
    let bytes = |path: &str| walked[path.as_bytes()].bytes.escape_ascii().to_string();
    assert_eq!(["a", "link"].map(bytes), ["data", "data"]);
    assert_eq!(["moved", "real"].map(bytes), ["REAL", "REAL"]);
    assert_eq!(walked[&b"a"[..]].xattrs[&b"user.of"[..]], b"the upper");
}

#[test]
fn rule_16_without_contents_it_is_an_error() {
    let copy: &[Step] = &[File("a", "\0\0\0\0"), Xattr("a", METACOPY, "")];
    let elsewhere = &[copy[0], copy[1], Xattr("a", REDIRECT, "/b")];
    let nonsense = &[copy[0], copy[1], Xattr("a", REDIRECT, "b/c")];
    let cases: &[(&str, &[&[Step]])] = &[
        ("nothing below", &[copy]),
        ("only another copy below", &[copy, copy]),
        (
            "a whiteout",
            &[copy, &[Whiteout("a")], &[File("a", "data")]],
        ),
        ("a directory", &[copy, &[File("a/b", "")]]),
        ("a link", &[copy, &[Step::Symlink("a", "data")]]),
        ("nothing elsewhere", &[elsewhere, &[File("a", "data")]]),
        ("fewer bytes", &[copy, &[File("a", "dat")]]),
        ("more bytes", &[copy, &[File("a", "data!")]]),
        (
            "a redirect without sense",
            &[nonsense, &[File("a", "data")]],
        ),
    ];
    for (why, layers) in cases {
        let stack = Stack::of(layers);
        let view = stack.view();
        let entry = find(&view, "a").unwrap();
        assert_eq!(entry.attr.size, 4, "{why}: the attributes are there");
        assert_eq!(errno(&view, entry.node, READ), Errno::IO, "{why}");
    }
}

#[test]
fn rule_16_a_copy_has_as_many_blocks_as_its_size_takes() {
    let stack = Stack::of(&[&[File("a", ""), Xattr("a", METACOPY, "")], &[]]);
    let [upper, lower] = [0, 1].map(|layer| stack.layers()[layer].join("a"));
    let upper = fs::OpenOptions::new().write(true).open(upper).unwrap();
    upper.set_len(100_000).unwrap();
    fs::write(lower, vec![7; 100_000]).unwrap();
    let view = stack.view();
    let attr = find(&view, "a").unwrap().attr;
    assert_eq!((attr.size, attr.blocks), (100_000, 196));
    assert_eq!(walk_view(&view)[&b"a"[..]].bytes, vec![7; 100_000]);
}

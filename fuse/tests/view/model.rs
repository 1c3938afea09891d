//! Random stacks in every form against a model that applies one layer after the other,
//! the lowest first, to a flat tree, as an unpacking engine does.

use std::collections::BTreeMap;

use mica_fuse::{Layer, View, ViewOptions};
use proptest::prelude::*;

use crate::on_disk::{self, Step};
use crate::packing::{Member, Tar};
use crate::walked::{Walked, walk_view};

/// One layer: its entries by path, the parents of every entry among them.
type Tree = BTreeMap<String, Entry>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File(u32),
    /// Another name of the file at a path of the same layer.
    Link(String),
    Symlink,
    Directory {
        mode: Option<u32>,
        opaque: bool,
    },
    Whiteout,
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug)]
enum Form {
    Packed { reversed: bool },
    Devices,
    MarkFiles,
}

/// What the model says of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    mode: u32,
    bytes: Vec<u8>,
    nlink: u32,
    /// The layer and the path that the inode comes from, for anything but a directory.
    inode: Option<(usize, String)>,
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn entries() -> impl Strategy<Value = Entry> {
    let mode = prop::sample::select(vec![0o644, 0o600, 0o4755]);
    let directory_mode = prop::sample::select(vec![0o700, 0o1777]);
    prop_oneof![
        3 => mode.prop_map(Entry::File),
        1 => paths().prop_map(Entry::Link),
        1 => Just(Entry::Symlink),
        2 => (directory_mode.prop_map(Some), prop::bool::weighted(0.3))
            .prop_map(|(mode, opaque)| Entry::Directory { mode, opaque }),
        2 => Just(Entry::Whiteout),
    ]
}

/// Makes a layer of steps: later ones win, and what has names below it is a directory.
fn layer(steps: Vec<(String, Entry)>) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in steps {
        let below = format!("{path}/");
        if !matches!(entry, Entry::Directory { .. }) {
            tree.retain(|other, _| !other.starts_with(&below));
        }
        for (end, _) in path.match_indices('/') {
            let parent = tree.entry(path[..end].to_owned());
            let implied = Entry::Directory {
                mode: None,
                opaque: false,
            };
            let parent = parent.or_insert(implied.clone());
            if !matches!(parent, Entry::Directory { .. }) {
                *parent = implied;
            }
        }
        tree.insert(path, entry);
    }
    let is_file = |path: &String| matches!(tree.get(path), Some(Entry::File(_)));
    let dangling = |entry: &Entry| matches!(entry, Entry::Link(target) if !is_file(target));
    let dangling: Vec<String> = tree
        .iter()
        .filter(|(_, entry)| dangling(entry))
        .map(|(path, _)| path.clone())
        .collect();
    tree.retain(|path, _| !dangling.contains(path));
    // What nothing is below any more is implied by nothing.
    for path in tree.keys().rev().cloned().collect::<Vec<_>>() {
        let below = format!("{path}/");
        let is_bare = !tree.keys().any(|other| other.starts_with(&below));
        if is_bare && matches!(tree[&path], Entry::Directory { mode: None, .. }) {
            tree.remove(&path);
        }
    }
    tree
}

fn layers() -> impl Strategy<Value = Vec<Tree>> {
    let steps = prop::collection::vec((paths(), entries()), 0..8);
    prop::collection::vec(steps.prop_map(layer), 1..6)
}

fn forms() -> impl Strategy<Value = Vec<Form>> {
    let form = prop_oneof![
        any::<bool>().prop_map(|reversed| Form::Packed { reversed }),
        Just(Form::Devices),
        Just(Form::MarkFiles),
    ];
    prop::collection::vec(form, 6)
}

fn contents(layer: usize, path: &str) -> String {
    format!("layer {layer}: {path}")
}

/// Unpacks the layers, uppermost first, onto each other, the lowest first.
fn expected(layers: &[Tree], forms: &[Form]) -> BTreeMap<String, Expected> {
    let mut flat: BTreeMap<String, Expected> = BTreeMap::new();
    for (number, tree) in layers.iter().enumerate().rev() {
        for (path, entry) in tree {
            let is_merged = match (entry, flat.get(path)) {
                (Entry::Directory { opaque, .. }, Some(found)) => !opaque && found.inode.is_none(),
                _ => false,
            };
            if !is_merged {
                let below = format!("{path}/");
                flat.retain(|other, _| other != path && !other.starts_with(&below));
            }
        }
        for (path, entry) in tree {
            let file = |of: &String, mode: u32| {
                let links = tree
                    .values()
                    .filter(|entry| matches!(entry, Entry::Link(to) if to == of));
                let nlink = 1 + u32::try_from(links.count()).unwrap();
                let bytes = contents(number, of).into_bytes();
                Expected {
                    mode: libc_mode(b'0') | mode,
                    bytes,
                    nlink,
                    inode: Some((number, of.clone())),
                }
            };
            let new = match entry {
                Entry::File(mode) => file(path, *mode),
                Entry::Link(target) => match &tree[target] {
                    Entry::File(mode) => file(target, *mode),
                    other => panic!("link to {other:?}"),
                },
                Entry::Symlink => Expected {
                    mode: libc_mode(b'2') | 0o777,
                    bytes: b"no/where".to_vec(),
                    nlink: 1,
                    inode: Some((number, path.clone())),
                },
                Entry::Directory { mode, .. } => {
                    let is_implied = mode.is_none() && matches!(forms[number], Form::Packed { .. });
                    if is_implied && flat.contains_key(path) {
                        continue;
                    }
                    let mode = libc_mode(b'5') | mode.unwrap_or(0o755);
                    Expected {
                        mode,
                        bytes: Vec::new(),
                        nlink: 0,
                        inode: None,
                    }
                }
                Entry::Whiteout => continue,
            };
            flat.insert(path.clone(), new);
        }
    }
    flat
}

fn libc_mode(kind: u8) -> u32 {
    match kind {
        b'0' => 0o100_000,
        b'2' => 0o120_000,
        _ => 0o040_000,
    }
}

/// Stores a layer in a form.
fn store(directory: &std::path::Path, number: usize, tree: &Tree, form: Form) -> Layer {
    match form {
        Form::Packed { reversed } => {
            pack(number, tree, reversed).pack(directory, &number.to_string())
        }
        Form::Devices | Form::MarkFiles => {
            let path = directory.join(number.to_string());
            std::fs::create_dir(&path).unwrap();
            write(&path, number, tree, matches!(form, Form::MarkFiles));
            on_disk::open(&path)
        }
    }
}

fn pack(number: usize, tree: &Tree, reversed: bool) -> Tar {
    let mut members: Vec<_> = tree.iter().collect();
    if reversed {
        members.reverse();
    }
    let mut tar = Tar::default();
    for (path, entry) in members {
        let contents = contents(number, path);
        let mark = format!(".wh.{}", path.rsplit('/').next().unwrap());
        let beside = path
            .rsplit_once('/')
            .map_or(mark.clone(), |(parent, _)| format!("{parent}/{mark}"));
        tar = match entry {
            Entry::File(mode) => tar.member(Member {
                path,
                kind: b'0',
                mode: *mode,
                link: "",
                contents: contents.as_bytes(),
            }),
            Entry::Link(target) => match &tree[target] {
                Entry::File(mode) => tar.hard_link(path, target, *mode),
                other => panic!("link to {other:?}"),
            },
            Entry::Symlink => tar.symlink(path, "no/where"),
            Entry::Directory { mode, opaque } => {
                let tar = match mode {
                    Some(mode) => tar.directory(path, *mode),
                    None => tar,
                };
                if *opaque {
                    tar.file(&format!("{path}/.wh..wh..opq"), "")
                } else {
                    tar
                }
            }
            Entry::Whiteout => tar.file(&beside, ""),
        };
    }
    tar
}

fn write(layer: &std::path::Path, number: usize, tree: &Tree, with_mark_files: bool) {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let mut links = Vec::new();
    for (path, entry) in tree {
        let at = leak(path.clone());
        match entry {
            Entry::File(mode) => {
                on_disk::take(layer, Step::File(at, leak(contents(number, path))));
                let mode = std::os::unix::fs::PermissionsExt::from_mode(*mode);
                std::fs::set_permissions(layer.join(at), mode).unwrap();
            }
            Entry::Link(target) => links.push(Step::HardLink(at, leak(target.clone()))),
            Entry::Symlink => on_disk::take(layer, Step::Symlink(at, "no/where")),
            Entry::Directory { mode, opaque } => {
                on_disk::take(layer, Step::Directory(at, mode.unwrap_or(0o755)));
                if *opaque && with_mark_files {
                    on_disk::take(layer, Step::File(leak(format!("{path}/.wh..wh..opq")), ""));
                } else if *opaque {
                    on_disk::take(layer, Step::Xattr(at, "user.overlay.opaque", "y"));
                }
            }
            Entry::Whiteout if with_mark_files => {
                let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
                on_disk::take(layer, Step::File(leak(format!("{parent}/.wh.{name}")), ""));
            }
            Entry::Whiteout => on_disk::take(layer, Step::Whiteout(at)),
        }
    }
    for link in links {
        on_disk::take(layer, link);
    }
}

/// Compares, the first path of each inode included.
fn check(walked: &Walked, expected: &BTreeMap<String, Expected>) {
    let paths = walked.keys().filter(|path| !path.is_empty());
    let paths: Vec<_> = paths
        .map(|path| String::from_utf8(path.clone()).unwrap())
        .collect();
    assert_eq!(paths, expected.keys().cloned().collect::<Vec<_>>());
    let mut first = BTreeMap::new();
    for (path, expected) in expected {
        let seen = &walked[path.as_bytes()];
        assert_eq!(
            (seen.mode, &seen.bytes),
            (expected.mode, &expected.bytes),
            "{path}"
        );
        assert_eq!(seen.nlink, expected.nlink, "rule 8: {path}");
        if let Some(inode) = &expected.inode {
            let first = first.entry(inode).or_insert(path);
            assert_eq!(seen.same_as, first.as_bytes(), "rule 9: {path}");
        }
    }
}

fn run(layers: &[Tree], forms: &[Form]) {
    let directory = tempfile::TempDir::new().unwrap();
    let stored = layers.iter().zip(forms).enumerate();
    let stored = stored.map(|(number, (tree, form))| store(directory.path(), number, tree, *form));
    let view = View::open(stored.collect(), ViewOptions::default()).unwrap();
    check(&walk_view(&view), &expected(layers, forms));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_stacks_look_as_unpacked(layers in layers(), forms in forms()) {
        run(&layers, &forms);
    }

    #[test]
    fn random_packed_stacks_look_as_unpacked(layers in layers(), reversed: bool) {
        run(&layers, &[Form::Packed { reversed }; 6]);
    }
}

/// Directories of the same relative paths in directories that one packed layer has alone.
#[test]
fn directories_of_one_packed_layer_are_not_taken_for_each_other() {
    let directory = |path: &str| {
        let entry = Entry::Directory {
            mode: None,
            opaque: false,
        };
        (path.to_owned(), entry)
    };
    let file = |path: &str| (path.to_owned(), Entry::File(0o644));
    let above = Tree::from([file("f")]);
    let below = ["a", "a/c", "a/c/d", "b", "b/c", "b/c/d"].map(directory);
    let below = below.into_iter().chain(["a/c/d/1", "b/c/d/2"].map(file));
    let layers = [above, below.collect()];
    run(&layers, &[Form::Packed { reversed: false }; 6]);
}

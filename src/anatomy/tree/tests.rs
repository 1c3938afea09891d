//! Trees of small layers.

use std::fs::File;
use std::os::fd::AsFd as _;

use mica_fuse::Builder;

use super::*;

/// What a member of a layer is: `path` of a directory ends with `/`, `a>b` is a hard link
/// `a` to `b`; other members are files of so many bytes.
fn layer(members: &[(&str, usize)]) -> PackedLayer {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, size) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some((path, target)) = path.split_once('>') {
            header.set_entry_type(tar::EntryType::Link);
            header.set_size(0);
            tar.append_link(&mut header, path, target).unwrap();
            continue;
        }
        header.set_size(*size as u64);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        tar.append_data(&mut header, path, &vec![b'x'; *size][..])
            .unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let file = File::open(directory.path()).unwrap();
    let mut builder = Builder::new(file.as_fd(), "layer").unwrap();
    builder.push(&tar.into_inner().unwrap()).unwrap();
    builder.finish().unwrap();
    PackedLayer::open(file.into(), "layer").unwrap()
}

#[test]
fn what_layers_do_to_each_other() {
    type Layer = &'static [(&'static str, usize)];
    const LOWER: Layer = &[("a", 10), ("d/x", 20), ("d/y", 40), ("d/e/z", 80)];
    let counts = |size, added, changed, deleted| Counts {
        size,
        added,
        changed,
        deleted,
    };
    let cases: [(&str, Layer, Counts, u64); 12] = [
        ("nothing", &[], counts(0, 0, 0, 0), 0),
        ("added", &[("b", 1), ("d/w", 2)], counts(3, 2, 0, 0), 0),
        ("changed", &[("a", 1), ("d/x", 1)], counts(2, 0, 2, 0), 30),
        ("removed", &[(".wh.a", 0)], counts(0, 0, 0, 1), 10),
        ("what is not there", &[(".wh.b", 0)], counts(0, 0, 0, 0), 0),
        ("a directory", &[(".wh.d", 0)], counts(0, 0, 0, 3), 140),
        (
            "an opaque directory",
            &[("d/.wh..wh..opq", 0), ("d/x", 1)],
            counts(1, 0, 1, 2),
            140,
        ),
        (
            "opaque further down too",
            &[("d/.wh..wh..opq", 0), ("d/e/w", 1)],
            counts(1, 1, 0, 3),
            140,
        ),
        (
            "a directory that is there already",
            &[("d/", 0), ("d/e/", 0)],
            counts(0, 0, 0, 0),
            0,
        ),
        (
            "a file for a directory",
            &[("d", 1)],
            counts(1, 1, 0, 3),
            140,
        ),
        (
            "a directory for a file",
            &[("a/b", 1)],
            counts(1, 1, 0, 1),
            10,
        ),
        ("two names", &[("b", 5), ("c>b", 0)], counts(5, 2, 0, 0), 0),
    ];
    for (why, upper, expected, hidden) in cases {
        for keeps in [false, true] {
            let mut tree = Tree::default();
            assert_eq!(tree.apply(&layer(LOWER)).unwrap(), counts(150, 4, 0, 0));
            let counts = tree.pass(&layer(upper), keeps).unwrap();
            assert_eq!(counts, expected, "{why}");
            assert_eq!(tree.hidden(), [hidden, 0], "{why}");
        }
    }
}

#[test]
fn a_file_is_hidden_with_its_last_name() {
    let mut tree = Tree::default();
    tree.apply(&layer(&[("a", 10), ("b>a", 0)])).unwrap();
    tree.apply(&layer(&[("c>b", 0), (".wh.a", 0)])).unwrap();
    assert_eq!(tree.hidden(), [0, 0]);
    tree.apply(&layer(&[(".wh.b", 0)])).unwrap();
    assert_eq!(tree.hidden(), [0, 0, 0]);
    tree.apply(&layer(&[(".wh.c", 0)])).unwrap();
    assert_eq!(tree.hidden(), [10, 0, 0, 0]);
}

#[test]
fn what_the_last_layer_removes_is_marked() {
    let mut tree = Tree::default();
    tree.apply(&layer(&[("a", 1), ("d/x", 1), ("kept", 1)]))
        .unwrap();
    tree.apply_last(&layer(&[(".wh.d", 0), ("a", 1), ("new", 1)]))
        .unwrap();
    let states: Vec<_> = tree
        .root()
        .iter()
        .map(|(name, node)| (str::from_utf8(name).unwrap(), node.state_in(1)))
        .collect();
    assert_eq!(
        states,
        [
            ("a", State::Changed),
            ("d", State::Removed),
            ("kept", State::Kept),
            ("new", State::Added)
        ]
    );
    let Body::Directory(below) = &tree.root()[&b"d"[..]].body else {
        panic!("no directory")
    };
    assert_eq!(below[&b"x"[..]].state_in(1), State::Removed);
}

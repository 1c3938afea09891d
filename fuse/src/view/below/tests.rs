use std::io::Read as _;

use rustix::io::Errno;

use super::Data;
use crate::{Entry, NodeId, Operation, Request, View, ViewOptions};
use on_disk::Stack;
use on_disk::Step::{Directory, File, HardLink, Whiteout, Xattr};
use packing::Tar;

#[path = "../../../tests/view/on_disk.rs"]
#[expect(dead_code, reason = "shared with the tests from outside")]
mod on_disk;
#[path = "../../../tests/view/packing.rs"]
#[expect(dead_code, reason = "shared with the tests from outside")]
mod packing;

/// A directory layer over a packed one.
fn view(stack: &Stack, packed: &tempfile::TempDir) -> View {
    let lower = Tar::default()
        .file("d/e/packed", "contents")
        .xattr("user.p", "3")
        .file("d/first", "")
        .hard_link("d/second", "d/first", 0o644);
    let layers = vec![
        on_disk::open(&stack.layers()[0]),
        lower.pack(packed.path(), "lower"),
    ];
    View::open(layers, ViewOptions::default()).unwrap()
}

fn stack() -> Stack {
    Stack::of(&[&[
        File("d/e/real", "of a directory layer"),
        Xattr("d/e/real", "user.a", "1"),
        Xattr("d/e/real", "trusted.overlay.origin", "hidden"),
        HardLink("d/link", "d/e/real"),
        Whiteout("d/second"),
    ]])
}

fn at(view: &View, path: &str) -> Entry {
    view.node_at(path.as_bytes()).unwrap().unwrap()
}

fn references(view: &View, entry: Entry) -> u64 {
    let is_known = || {
        let operation = Operation::GetAttr;
        let caller = crate::Caller::default();
        let node = entry.node;
        view.answer(&Request {
            node,
            caller,
            operation,
        })
        .is_ok()
    };
    let mut references = 0;
    while is_known() {
        view.forget(entry.node, 1);
        references += 1;
    }
    references
}

#[test]
fn a_path_leads_to_one_more_reference() {
    let (stack, packed) = (stack(), tempfile::tempdir().unwrap());
    let view = view(&stack, &packed);
    assert_eq!(at(&view, "").node, NodeId::ROOT);
    assert_eq!(at(&view, "/d/e/packed"), at(&view, "d/e//packed"));
    for absent in ["nowhere", "d/second", "d/e/real/below", "d/e/.."] {
        assert_eq!(view.node_at(absent.as_bytes()).unwrap(), None, "{absent}");
    }
    let (real, link) = (at(&view, "d/e/real"), at(&view, "d/link"));
    assert_eq!(real, link);
    assert_eq!(references(&view, real), 2);
    let directory = at(&view, "d/e");
    assert_eq!(references(&view, directory), 1, "none was left on the way");
}

#[test]
fn a_node_has_a_path() {
    let (stack, packed) = (stack(), tempfile::tempdir().unwrap());
    let view = view(&stack, &packed);
    for path in ["", "d", "d/e", "d/e/real", "d/e/packed", "d/first"] {
        let node = at(&view, path).node;
        assert_eq!(view.path_of(node).unwrap(), path.as_bytes());
    }
}

#[test]
fn a_hidden_name_is_no_path() {
    let packed = tempfile::tempdir().unwrap();
    for hidden in ["a", "d/b", "c"] {
        let stack = Stack::of(&[&[Whiteout(hidden)]]);
        let lower = Tar::default().file("a", "").hard_link("d/b", "a", 0o644);
        let lower = lower.hard_link("c", "a", 0o644);
        let layers = vec![
            on_disk::open(&stack.layers()[0]),
            lower.pack(packed.path(), &hidden.replace('/', "-")),
        ];
        let view = View::open(layers, ViewOptions::default()).unwrap();
        let shown = if hidden == "a" { "c" } else { "a" };
        let path = view.path_of(at(&view, shown).node).unwrap();
        assert_ne!(path, hidden.as_bytes());
        assert_eq!(view.node_at(&path).unwrap(), Some(at(&view, shown)));
    }
}

#[test]
fn a_moved_node_has_the_path_that_the_view_shows() {
    let packed = tempfile::tempdir().unwrap();
    let stack = Stack::of(&[
        &[
            Directory("new", 0o755),
            Xattr("new", "trusted.overlay.redirect", "/d"),
            Whiteout("d"),
        ],
        &[File("d/real/f", "contents")],
    ]);
    let lower = Tar::default().file("d/packed/f", "");
    let layers = vec![
        on_disk::open(&stack.layers()[0]),
        on_disk::open(&stack.layers()[1]),
        lower.pack(packed.path(), "lower"),
    ];
    let view = View::open(layers, ViewOptions::default()).unwrap();
    for path in ["new", "new/real", "new/real/f", "new/packed"] {
        let node = at(&view, path).node;
        assert_eq!(view.path_of(node).unwrap(), path.as_bytes());
    }
    let file = at(&view, "new/packed/f").node;
    let refused = view.path_of(file).unwrap_err();
    assert_eq!(refused.errno(), Errno::NOENT, "nobody has kept it");
}

#[test]
fn contents_of_a_metadata_only_copy_can_be_copied() {
    let packed = tempfile::tempdir().unwrap();
    let copy = |path| {
        [
            File(path, "\0\0\0"),
            Xattr(path, "user.overlay.metacopy", ""),
        ]
    };
    let upper = [copy("a"), copy("b"), copy("c")].concat();
    let stack = Stack::of(&[&upper, &[File("a", "abc")]]);
    let lower = Tar::default().file("b", "abc");
    let layers = vec![
        on_disk::open(&stack.layers()[0]),
        on_disk::open(&stack.layers()[1]),
        lower.pack(packed.path(), "lower"),
    ];
    let view = View::open(layers, ViewOptions::default()).unwrap();
    let data = |path| view.open_data(at(&view, path).node);
    assert!(matches!(data("a"), Ok(Data::File(_))));
    assert!(matches!(data("b"), Ok(Data::Extents { extents, .. }) if extents.len() == 1));
    assert_eq!(data("c").unwrap_err().errno(), Errno::IO);
}

#[test]
fn contents_can_be_copied() {
    let (stack, packed) = (stack(), tempfile::tempdir().unwrap());
    let view = view(&stack, &packed);
    let Data::File(file) = view.open_data(at(&view, "d/e/real").node).unwrap() else {
        panic!("not a file of its own")
    };
    let mut contents = String::new();
    std::fs::File::from(file.try_clone().unwrap())
        .read_to_string(&mut contents)
        .unwrap();
    assert_eq!(contents, "of a directory layer");

    let packed = view.open_data(at(&view, "d/e/packed").node).unwrap();
    let Data::Extents { file, extents } = packed else {
        panic!("not in extents")
    };
    let mut contents = [0; 8];
    let [extent] = extents[..] else {
        panic!("{extents:?}")
    };
    assert_eq!((extent.logical, extent.length), (0, 8));
    rustix::io::pread(&file, &mut contents, extent.offset).unwrap();
    assert_eq!(&contents, b"contents");

    let Data::Extents { extents, .. } = view.open_data(at(&view, "d/first").node).unwrap() else {
        panic!("not in extents")
    };
    assert_eq!(extents, [], "an empty file");
    let refused = view.open_data(at(&view, "d").node).unwrap_err();
    assert_eq!(refused.errno(), Errno::ISDIR);
}

#[test]
fn shown_attributes_come_with_their_values() {
    let (stack, packed) = (stack(), tempfile::tempdir().unwrap());
    let view = view(&stack, &packed);
    let xattrs = |path| view.xattrs(at(&view, path).node).unwrap();
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    assert_eq!(xattrs("d/e/real"), [pair("user.a", "1")]);
    assert_eq!(xattrs("d/first"), [pair("user.p", "3")]);
    assert_eq!(xattrs("d/e"), []);
}

use std::io::Read as _;

use rustix::io::Errno;

use super::Data;
use crate::{Entry, NodeId, Operation, Request, View, ViewOptions};
use on_disk::Stack;
use on_disk::Step::{File, HardLink, Whiteout, Xattr};
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
fn contents_can_be_copied() {
    let (stack, packed) = (stack(), tempfile::tempdir().unwrap());
    let view = view(&stack, &packed);
    let Data::File(file) = view.open_data(at(&view, "d/e/real").node).unwrap() else {
        panic!("not a file of its own")
    };
    let mut contents = String::new();
    std::fs::File::from(file)
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

//! Nodes and layers over the life of a view: look-ups and forgets, threads, what the
//! names of layers come to mean later.

use mica_fuse::{Caller, Entry, FileType, NodeId, Operation, Reply, Request, View};
use rustix::io::Errno;

use crate::on_disk::Step::File;
use crate::on_disk::{self, Stack};
use crate::packing::Tar;
use crate::rules::{errno, names, view};
use crate::walked::{ask, contents, find, list, timeless, walk_view};

#[test]
fn a_layer_given_by_a_link_is_resolved_when_opened() {
    let stack = Stack::of(&[&[File("a", "1")], &[File("a", "2")]]);
    let link = stack.layers()[0].parent().unwrap().join("link");
    std::os::unix::fs::symlink(&stack.layers()[0], &link).unwrap();
    let view = view(vec![on_disk::open(&link)]);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&stack.layers()[1], &link).unwrap();
    assert_eq!(contents(&view, find(&view, "a").unwrap().node, 1), b"1");
}

#[test]
fn a_forgotten_node_is_stale_and_a_directory_comes_back() {
    let stack = Stack::of(&[&[File("d/e/a", "")], &[File("d/e/b", "")]]);
    let view = stack.view();
    let node = find(&view, "d/e").unwrap().node;
    let again = find(&view, "d/e").unwrap().node;
    assert_eq!(node, again);
    ask(&view, node, Operation::Forget { lookups: 1 });
    assert_eq!(
        list(&view, node, Operation::ReadDir { offset: 0 }).len(),
        4,
        "one reference is left"
    );
    ask(&view, node, Operation::Forget { lookups: 1 });
    assert_eq!(errno(&view, node, Operation::GetAttr), Errno::STALE);
    assert_eq!(
        list(
            &view,
            find(&view, "d/e").unwrap().node,
            Operation::ReadDir { offset: 0 }
        )
        .len(),
        4
    );
}

#[test]
fn an_entry_of_a_listing_can_be_given_back() {
    let stack = Stack::of(&[&[File("a", "")]]);
    let view = stack.view();
    let Reply::Listing(listing) = ask(&view, NodeId::ROOT, Operation::ReadDirPlus { offset: 2 })
    else {
        panic!("no listing")
    };
    let mut entries = listing.entries;
    let entry = entries.next().unwrap().unwrap().entry.unwrap();
    (listing.give_back)(&entry);
    assert_eq!(errno(&view, entry.node, Operation::GetAttr), Errno::STALE);
}

#[test]
fn a_caller_that_only_wants_names_gets_nodes_of_directories_only() {
    let directory = tempfile::TempDir::new().unwrap();
    let stack = Stack::of(&[&[File("d/a", ""), File("d/e/b", "")]]);
    let packed = Tar::default().file("d/a", "").file("d/e/b", "");
    only_names_are_wanted(&stack.view());
    only_names_are_wanted(&view(vec![packed.pack(directory.path(), "0")]));
}

fn only_names_are_wanted(view: &View) {
    let directory = find(view, "d").unwrap().node;
    let asked = |node, operation| Request {
        node,
        caller: Caller {
            pid: 7,
            ..Caller::default()
        },
        operation,
    };
    let nodes = || {
        let plus = Operation::ReadDirPlus { offset: 2 };
        let Reply::Listing(listing) = view.answer(&asked(directory, plus)).unwrap() else {
            panic!("no listing")
        };
        let entries = listing.entries.map(Result::unwrap);
        let has_node = |entry: mica_fuse::DirEntry<'_>| (entry.file_type, entry.entry.is_some());
        entries.map(has_node).collect::<Vec<_>>()
    };
    let [file, directory_too] = [FileType::Regular, FileType::Directory];
    let spared = [(file, false), (directory_too, true)];
    let all = [(file, true), (directory_too, true)];
    assert_eq!(nodes(), all, "the first listing");
    assert_eq!(nodes(), spared);
    assert_eq!(nodes(), spared, "nothing was looked up");
    let name = Operation::Lookup { name: b"e" };
    view.answer(&asked(directory, name)).unwrap();
    assert_eq!(nodes(), spared, "only a directory was looked up");
    let name = Operation::Lookup { name: b"a" };
    view.answer(&asked(directory, name)).unwrap();
    assert_eq!(nodes(), all);
}

#[test]
fn packed_nodes_need_no_memory() {
    let directory = tempfile::TempDir::new().unwrap();
    let layers = vec![
        Tar::default().file("d/e/a", "").pack(directory.path(), "1"),
        Tar::default()
            .file("d/e/b", "")
            .file("d/f/c", "")
            .pack(directory.path(), "0"),
    ];
    let nodes = {
        let view = view(layers.clone());
        ["d/e", "d/f", "d/e/a"].map(|path| find(&view, path).unwrap())
    };
    let fresh = view(layers);
    assert_eq!(
        list(&fresh, nodes[0].node, Operation::ReadDir { offset: 0 }).len(),
        4
    );
    assert_eq!(
        list(&fresh, nodes[1].node, Operation::ReadDir { offset: 0 }).len(),
        3
    );
    for entry in nodes {
        let Reply::Attr(attr) = ask(&fresh, entry.node, Operation::GetAttr) else {
            panic!("no attr")
        };
        assert_eq!(timeless(Entry { attr, ..entry }), entry);
    }
}

#[test]
fn one_directory_under_two_names_is_two_nodes() {
    let stack = Stack::of(&[&[File("d/a", "")]]);
    let path = &stack.layers()[0];
    let view = view(vec![on_disk::open(path), on_disk::open(path)]);
    assert_eq!(
        names(&view),
        ["", "d", "d/a"],
        "trap 29: the same layer twice"
    );
}

#[test]
fn many_threads_see_the_same() {
    let stack = Stack::of(&[
        &[File("d/a", "1"), File("d/e/b", "2")],
        &[File("d/c", "3"), File("d/e/f/g", "4")],
        &[File("d/e/f/h", "5")],
    ]);
    let view = stack.view();
    let expected = walk_view(&stack.view());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(walk_view(&view), expected));
        }
    });
}

#[test]
fn rule_15_what_is_mounted_in_a_layer_later_is_not_entered() {
    let stack = Stack::of(&[&[File("d/e/below", "")], &[]]);
    let covered = stack.layers()[0].join("d/e");
    let view = stack.view();
    let _mounted = Mounted::tmpfs(covered);
    assert_eq!(names(&view), ["", "d", "d/e", "d/e/below"]);
}

/// A file system that is unmounted whatever happens.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(at: std::path::PathBuf) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &at, "tmpfs", flags, None).unwrap();
        Self(at)
    }
}

impl Drop for Mounted {
    #[expect(clippy::let_underscore_must_use, reason = "nobody is left to be told")]
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

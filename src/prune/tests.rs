//! What is offered, and what goes.

use super::*;
use crate::meta::{Labels, Transaction};
use crate::oci::{Descriptor, MediaType};
use crate::{images, labels};

const ALL: Selection = Selection {
    images: true,
    active: true,
    others: true,
};

struct Stage {
    store: Store,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let stage = Self { store, _dir: dir };
        stage.image("image");
        let snapshots = stage.snapshots();
        let make = |key: &str, parent: Option<&str>| {
            snapshots.prepare(key, parent, root()).unwrap();
        };
        make("preparing", None);
        snapshots.commit("base", "preparing", root()).unwrap();
        make("preparing", None);
        snapshots.commit("leaf", "preparing", root()).unwrap();
        make("active", Some("base"));
        make("mounted", Some("base"));
        snapshots.view("view", Some("base"), root()).unwrap();
        stage
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(&self.store, Namespace::default())
    }

    fn image(&self, name: &str) {
        let target = Descriptor::of(MediaType::OCI_MANIFEST, name.as_bytes());
        let record = |t: &Transaction| images::record(t, &Namespace::default(), name, &target);
        self.store.meta().write(record).unwrap();
    }
}

fn root() -> Labels {
    Labels::from([(labels::ROOT.to_owned(), "now".to_owned())])
}

fn names(unused: &[Unused]) -> Vec<&str> {
    unused
        .iter()
        .map(|unused| unused.node.id.as_str())
        .collect()
}

#[test]
fn what_is_used_is_not_offered() {
    let stage = Stage::new();
    let snapshots = stage.snapshots();
    let mounted = snapshots.mounts("mounted").unwrap().upper.unwrap().owner;
    let _hold = snapshots.hold_active(&mounted).unwrap();
    let prune = Prune::new(&stage.store, Namespace::default());
    let none = Selection {
        images: false,
        active: false,
        others: false,
    };
    let table: [(Selection, &[&str]); 4] = [
        (none, &[]),
        (
            Selection {
                images: true,
                ..none
            },
            &["image"],
        ),
        (
            Selection {
                active: true,
                ..none
            },
            &["active"],
        ),
        (ALL, &["image", "active", "leaf", "view"]),
    ];
    for (selection, expected) in table {
        let unused = prune.unused(selection).unwrap();
        assert_eq!(names(&unused), expected, "{selection:?}");
    }
}

#[test]
fn what_was_listed_goes_unless_it_is_used_by_now() {
    let stage = Stage::new();
    let prune = Prune::new(&stage.store, Namespace::default());
    let unused = prune.unused(ALL).unwrap();
    assert!(prune.would_free(&unused).unwrap() > 0);
    let snapshots = stage.snapshots();
    let active = snapshots.mounts("active").unwrap().upper.unwrap().owner;
    let _hold = snapshots.hold_active(&active).unwrap();
    snapshots.remove("view").unwrap();
    let gone = prune.remove(&unused).unwrap();
    let gone: Vec<&str> = gone.iter().map(|unused| unused.node.id.as_str()).collect();
    assert_eq!(gone, ["image", "leaf", "mounted"]);
    let left: Vec<String> = snapshots
        .list()
        .unwrap()
        .into_iter()
        .map(|s| s.name)
        .collect();
    assert_eq!(left, ["active", "base"]);
}

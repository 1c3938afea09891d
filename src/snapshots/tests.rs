//! The contract, in containerd's terms, and what a crash may leave.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;

use super::*;
use crate::error_class::ErrorClass;
use crate::layers::LayerPlan;
use crate::oci::{ChainId, DiffId, Digest};

mod applied;
mod leftovers;
mod life;

struct Stage {
    _dir: tempfile::TempDir,
    store: Store,
    snapshots: Snapshots,
}

impl Stage {
    /// Returns a store with `base` and `top` on it committed, `active` and `view` on `top`.
    fn new() -> Self {
        let stage = Self::empty();
        stage.commit("base", None);
        stage.commit("top", Some("base"));
        let snapshots = &stage.snapshots;
        for make in [Snapshots::prepare, Snapshots::view] {
            let key = if snapshots.stat("active").is_err() {
                "active"
            } else {
                "view"
            };
            make(snapshots, key, Some("top"), Labels::new()).unwrap();
        }
        stage
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self {
            snapshots: Snapshots::new(&store, Namespace::default()),
            store,
            _dir: dir,
        }
    }

    fn commit(&self, name: &str, parent: Option<&str>) {
        self.prepare("preparing", parent);
        self.snapshots
            .commit(name, "preparing", Labels::new())
            .unwrap();
    }

    fn prepare(&self, key: &str, parent: Option<&str>) -> SnapshotMounts {
        self.snapshots.prepare(key, parent, Labels::new()).unwrap()
    }

    fn directory(&self, key: &str) -> PathBuf {
        let id = self.snapshots.stat(key).unwrap().id.unwrap();
        self.store.root().join("snapshots").join(id.to_string())
    }

    fn directories(&self) -> Vec<String> {
        crate::store::entries(&self.store.root().join("snapshots")).unwrap()
    }

    fn put(&self, record: &SnapshotRecord) {
        let put = |t: &Transaction| t.put(&Namespace::default(), &record.name, record);
        self.store.meta().write(put).unwrap();
    }

    /// Labels all snapshots as roots.
    fn keep_all(&self) {
        for snapshot in self.snapshots.list().unwrap() {
            let root = labels_of(&[(labels::ROOT, "now")]);
            self.snapshots.update(&snapshot.name, &root, &[]).unwrap();
        }
    }

    /// Puts a layer with one file into the layer store.
    fn layer(&self, mode: u32, uid: u64) -> DiffId {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_size(0);
        builder.append_data(&mut header, "./", &b""[..]).unwrap();
        let tar = builder.into_inner().unwrap();
        let diff_id = DiffId(Digest::sha256(&tar));
        let mut unpacking = self.store.layers().unpack(&diff_id).unwrap();
        unpacking.push(&tar).unwrap();
        unpacking.finish().unwrap();
        diff_id
    }

    fn pulled(&self, diff_ids: &[DiffId]) -> String {
        let commit = |t: &Transaction| commit_chain(t, &Namespace::default(), diff_ids);
        self.store.meta().write(commit).unwrap();
        ChainId::chain(diff_ids).pop().unwrap().to_string()
    }
}

fn labels_of(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Why, the call, and what comes of it.
type Refusal = (
    &'static str,
    fn(&Snapshots) -> Result<(), SnapshotError>,
    ErrorClass,
    &'static str,
);

fn assert_refused(table: &[Refusal]) {
    let stage = Stage::new();
    let before = stage.snapshots.list().unwrap();
    for (why, call, class, message) in table {
        let error = call(&stage.snapshots).unwrap_err();
        assert_eq!(error.class(), *class, "{why}");
        assert_eq!(error.to_string(), *message, "{why}");
    }
    assert_eq!(stage.snapshots.list().unwrap(), before);
    assert_eq!(stage.directories().len(), 4, "nothing was made");
}

#[test]
fn new_snapshots_are_refused_in_containerds_words() {
    use ErrorClass::{AlreadyExists, InvalidArgument, NotFound};
    assert_refused(&[
        (
            "prepare over an active",
            |s| s.prepare("active", None, Labels::new()).map(drop),
            AlreadyExists,
            r#"snapshot "active": already exists"#,
        ),
        (
            "prepare over a view",
            |s| s.prepare("view", None, Labels::new()).map(drop),
            AlreadyExists,
            r#"snapshot "view": already exists"#,
        ),
        (
            "prepare over a committed",
            |s| s.prepare("base", None, Labels::new()).map(drop),
            AlreadyExists,
            r#"snapshot "base": already exists"#,
        ),
        (
            "view over an active",
            |s| s.view("active", None, Labels::new()).map(drop),
            AlreadyExists,
            r#"snapshot "active": already exists"#,
        ),
        (
            "prepare on nobody",
            |s| s.prepare("k", Some("nope"), Labels::new()).map(drop),
            NotFound,
            "parent snapshot nope does not exist",
        ),
        (
            "view on nobody",
            |s| s.view("k", Some("nope"), Labels::new()).map(drop),
            NotFound,
            "parent snapshot nope does not exist",
        ),
        (
            "prepare on an active",
            |s| s.prepare("k", Some("active"), Labels::new()).map(drop),
            InvalidArgument,
            r#"parent "active" is not committed snapshot"#,
        ),
        (
            "view on a view",
            |s| s.view("k", Some("view"), Labels::new()).map(drop),
            InvalidArgument,
            r#"parent "view" is not committed snapshot"#,
        ),
        (
            "prepare without a key",
            |s| s.prepare("", None, Labels::new()).map(drop),
            InvalidArgument,
            r#"snapshot key "" is empty or holds a NUL byte"#,
        ),
        (
            "a target that is there",
            |s| {
                s.prepare("k", None, labels_of(&[(TARGET, "base")]))
                    .map(drop)
            },
            AlreadyExists,
            r#"target snapshot "base": already exists"#,
        ),
    ]);
}

#[test]
fn changes_are_refused_in_containerds_words() {
    use ErrorClass::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};
    assert_refused(&[
        (
            "mounts of a committed",
            |s| s.mounts("base").map(drop),
            FailedPrecondition,
            "requested snapshot base not active or view",
        ),
        (
            "mounts of nobody",
            |s| s.mounts("nope").map(drop),
            NotFound,
            "snapshot nope does not exist",
        ),
        (
            "commit to a name that is taken",
            |s| s.commit("base", "active", Labels::new()).map(drop),
            AlreadyExists,
            r#"snapshot "base": already exists"#,
        ),
        (
            "commit to its own key",
            |s| s.commit("active", "active", Labels::new()).map(drop),
            AlreadyExists,
            r#"snapshot "active": already exists"#,
        ),
        (
            "commit of nobody",
            |s| s.commit("n", "nope", Labels::new()).map(drop),
            NotFound,
            "snapshot nope does not exist",
        ),
        (
            "commit of a view",
            |s| s.commit("n", "view", Labels::new()).map(drop),
            FailedPrecondition,
            r#"snapshot "view" is not active"#,
        ),
        (
            "commit of a committed",
            |s| s.commit("n", "base", Labels::new()).map(drop),
            FailedPrecondition,
            r#"snapshot "base" is not active"#,
        ),
        (
            "commit without a name",
            |s| s.commit("", "active", Labels::new()).map(drop),
            InvalidArgument,
            r#"snapshot key "" is empty or holds a NUL byte"#,
        ),
        (
            "removal below a committed",
            |s| s.remove("base"),
            FailedPrecondition,
            "cannot remove snapshot with child",
        ),
        (
            "removal below an active",
            |s| s.remove("top"),
            FailedPrecondition,
            "cannot remove snapshot with child",
        ),
        (
            "removal of nobody",
            |s| s.remove("nope"),
            NotFound,
            "snapshot nope does not exist",
        ),
        (
            "stat of nobody",
            |s| s.stat("nope").map(drop),
            NotFound,
            "snapshot nope does not exist",
        ),
        (
            "usage of nobody",
            |s| s.usage("nope").map(drop),
            NotFound,
            "snapshot nope does not exist",
        ),
        (
            "update of a parent",
            |s| s.update("top", &Labels::new(), &["parent"]).map(drop),
            InvalidArgument,
            r#"cannot update "parent" field on snapshot "top""#,
        ),
    ]);
}

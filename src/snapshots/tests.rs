//! The contract, in containerd's terms, and what a crash may leave.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;

use super::*;
use crate::error_class::ErrorClass;
use crate::filter::Filter;
use crate::layers::LayerPlan;
use crate::oci::{ChainId, DiffId, Digest};

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

#[test]
fn a_snapshot_is_prepared_committed_and_stood_on() {
    let stage = Stage::empty();
    let snapshots = &stage.snapshots;
    let labels = labels_of(&[("kept", "no"), ("empty", "")]);
    let mounts = snapshots.prepare("key", None, labels).unwrap();
    let lower = stage.directory("key").join("lower");
    assert_eq!(mounts.layers, [LayerPlan::Directory(lower)]);
    assert_eq!(snapshots.mounts("key").unwrap(), mounts);
    let upper = mounts.upper.unwrap();
    fs::write(upper.fs.join("file"), b"content").unwrap();
    let active = snapshots.stat("key").unwrap();
    assert_eq!(
        (active.kind, active.created),
        (Kind::Active, active.updated)
    );
    assert_eq!(active.labels, labels_of(&[("kept", "no")]));

    let labels = labels_of(&[("new", "yes")]);
    let committed = snapshots.commit("name", "key", labels.clone()).unwrap();
    assert_eq!(snapshots.stat("name").unwrap(), committed);
    assert_eq!(
        (committed.kind, &committed.labels),
        (Kind::Committed, &labels)
    );
    assert!(committed.created > active.created);
    assert_eq!(
        snapshots.stat("key").unwrap_err().class(),
        ErrorClass::NotFound
    );

    let child = stage.prepare("key", Some("name"));
    assert_eq!(child.layers, [LayerPlan::Directory(upper.fs.clone())]);
    assert_ne!(child.upper.as_ref().unwrap().fs, upper.fs);
    let shown = snapshots.show("key").unwrap();
    let child = LayerPlan::Directory(child.upper.unwrap().fs);
    assert_eq!(shown.layers, [child, LayerPlan::Directory(upper.fs)]);
    assert_eq!((shown.upper, shown.uses.len()), (None, 2));
}

#[test]
fn a_view_shows_its_parent_and_takes_no_changes() {
    let stage = Stage::new();
    let view = stage.snapshots.mounts("view").unwrap();
    let of = |name| LayerPlan::Directory(stage.directory(name).join("fs"));
    assert_eq!(view.layers, [of("top"), of("base")]);
    assert_eq!(view.upper, None);
    assert!(!stage.directory("view").join("work").exists());
    let empty = stage.snapshots.view("empty", None, Labels::new()).unwrap();
    assert_eq!(empty.layers, [of("empty")]);
    assert_eq!(
        fs::read_dir(stage.directory("empty").join("fs"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn keys_names_and_parents_come_free_again() {
    let stage = Stage::empty();
    let snapshots = &stage.snapshots;
    for _ in 0..2 {
        stage.prepare("key", None);
        snapshots.remove("key").unwrap();
        snapshots.view("key", None, Labels::new()).unwrap();
        snapshots.remove("key").unwrap();
        stage.commit("name", None);
        snapshots.remove("name").unwrap();
    }
    stage.commit("1", None);
    stage.commit("2", Some("1"));
    stage.commit("3", Some("2"));
    assert_eq!(
        snapshots.remove("2").unwrap_err().class(),
        ErrorClass::FailedPrecondition
    );
    for name in ["3", "2", "1"] {
        snapshots.remove(name).unwrap();
    }
    assert_eq!(stage.directories().len(), 0);
    assert_eq!(
        fs::read_dir(stage.store.root().join("tmp"))
            .unwrap()
            .count(),
        0
    );
    stage.prepare("key", None);
    assert_eq!(stage.directories(), ["10"], "numbers are not given again");
}

#[test]
fn labels_are_updated_in_all_kinds() {
    let stage = Stage::new();
    for name in ["base", "active", "view"] {
        let before = stage.snapshots.stat(name).unwrap();
        let labels = labels_of(&[("a", "1"), ("b", "2")]);
        stage.snapshots.update(name, &labels, &[]).unwrap();
        let change = labels_of(&[("a", "3"), ("c", "4")]);
        let mask = ["labels.a", "labels.b"];
        let after = stage.snapshots.update(name, &change, &mask).unwrap();
        assert_eq!(after.labels, labels_of(&[("a", "3")]), "{name}");
        assert!(after.updated > before.updated, "{name}");
        assert_eq!(after.created, before.created, "{name}");
        assert_eq!(stage.snapshots.stat(name).unwrap(), after, "{name}");
    }
}

#[test]
fn usage_is_measured_while_active_and_kept_from_the_commit_on() {
    let stage = Stage::new();
    let snapshots = &stage.snapshots;
    let fs = stage.directory("active").join("fs");
    let empty = snapshots.usage("active").unwrap();
    assert_eq!(empty.inodes, 1);
    fs::write(fs.join("file"), vec![1; 1 << 20]).unwrap();
    fs::hard_link(fs.join("file"), fs.join("again")).unwrap();
    let full = snapshots.usage("active").unwrap();
    assert_eq!(full.inodes, 2);
    assert!(full.size >= empty.size + (1 << 20), "{full:?}");
    let committed = snapshots.commit("name", "active", Labels::new()).unwrap();
    assert_eq!(committed.usage, Some(full));
    fs::remove_file(fs.join("file")).unwrap();
    assert_eq!(snapshots.usage("name").unwrap(), full);
    assert_eq!(snapshots.usage("view").unwrap(), Usage::default());
    let pulled = stage.pulled(&[stage.layer(0o755, 0)]);
    let usage = snapshots.usage(&pulled).unwrap();
    assert!(usage.inodes > 2 && usage.size > 0, "{usage:?}");
}

#[test]
fn pulled_and_committed_layers_make_one_chain() {
    let stage = Stage::empty();
    let diff_ids = [stage.layer(0o755, 0), stage.layer(0o555, 7)];
    let pulled = stage.pulled(&diff_ids);
    assert_eq!(stage.pulled(&diff_ids), pulled);
    assert_eq!(stage.snapshots.list().unwrap().len(), 2, "recorded once");
    stage.commit("name", Some(&pulled));
    let mounts = stage.prepare("key", Some("name"));
    let [lower, upper] = diff_ids.map(LayerPlan::Packed);
    let directory = LayerPlan::Directory(stage.directory("name").join("fs"));
    assert_eq!(mounts.layers, [directory, upper, lower]);
    assert_eq!(mounts.uses.len(), 1);
}

#[test]
fn a_new_upper_looks_like_what_it_stands_on() {
    let stage = Stage::empty();
    let look = |key: &str| {
        let stat = fs::metadata(stage.directory(key).join("fs")).unwrap();
        (stat.mode() & 0o7777, stat.uid())
    };
    let me = rustix::process::geteuid();
    stage.prepare("empty", None);
    assert_eq!(look("empty"), (0o755, me.as_raw()));
    let pulled = stage.pulled(&[stage.layer(0o555, 7)]);
    stage.prepare("on an image", Some(&pulled));
    if !me.is_root() {
        // What cannot be given away stays the user's, who has to write to it.
        assert_eq!(look("on an image"), (0o755, me.as_raw()));
        return;
    }
    assert_eq!(look("on an image"), (0o555, 7));
    let fs = stage.directory("on an image").join("fs");
    chown(&fs, Some(8), None).unwrap();
    stage
        .snapshots
        .commit("name", "on an image", Labels::new())
        .unwrap();
    stage.prepare("on a snapshot", Some("name"));
    assert_eq!(look("on a snapshot"), (0o555, 8));
}

#[test]
fn what_is_in_use_stays() {
    let stage = Stage::new();
    let snapshots = &stage.snapshots;
    let in_use = |result: Result<(), SnapshotError>| {
        assert!(matches!(result, Err(SnapshotError::InUse(_))), "{result:?}");
    };
    let owner = snapshots.mounts("active").unwrap().upper.unwrap().owner;
    let writer = snapshots.hold_active(&owner).unwrap();
    in_use(snapshots.hold_active(&owner).map(drop));
    in_use(snapshots.hold(&owner).map(drop));
    in_use(snapshots.commit("name", "active", Labels::new()).map(drop));
    in_use(snapshots.remove("active"));
    drop(writer);

    let shown = snapshots.show("active").unwrap();
    let readers: Vec<Hold> = shown
        .uses
        .iter()
        .chain(&shown.uses)
        .map(|used| snapshots.hold(used).unwrap())
        .collect();
    in_use(snapshots.hold_active(&owner).map(drop));
    in_use(snapshots.remove("active"));
    drop(readers);

    snapshots.commit("name", "active", Labels::new()).unwrap();
    stage.prepare("active", Some("name"));
    let late = snapshots.hold_active(&owner).unwrap_err();
    assert_eq!(
        late.class(),
        ErrorClass::NotFound,
        "another has the key now"
    );
}

#[test]
fn a_directory_without_a_record_is_swept_unless_it_is_in_use() {
    let stage = Stage::new();
    let snapshots = stage.store.root().join("snapshots");
    // As a crash between the two steps of a prepare or a removal leaves it.
    let next = snapshots.join("5");
    fs::create_dir_all(next.join("fs/closed")).unwrap();
    fs::set_permissions(next.join("fs/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    stage.prepare("new", None);
    assert_eq!(stage.directory("new"), snapshots.join("6"));
    let shown = stage.snapshots.mounts("view").unwrap();
    let hold = stage.snapshots.hold(&shown.uses[0]).unwrap();
    let forget = |t: &Transaction| t.remove::<SnapshotRecord>(&Namespace::default(), "view");
    stage.store.meta().write(forget).unwrap();
    assert_eq!(stage.store.sweep().unwrap().snapshots, 1);
    assert!(!next.exists());
    drop(hold);
    assert_eq!(stage.store.sweep().unwrap().snapshots, 1);
    assert_eq!(stage.directories(), ["1", "2", "3", "6"]);
    fs::create_dir(snapshots.join("07")).unwrap();
    assert!(stage.store.sweep().is_err(), "not ours");
}

#[test]
fn a_record_without_a_directory_is_named_and_can_be_removed() {
    let stage = Stage::new();
    let snapshots = &stage.snapshots;
    fs::remove_dir_all(stage.directory("active")).unwrap();
    let lost = |result: Result<(), SnapshotError>| {
        let error = result.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(r#"snapshot "active" has lost"#),
            "{error}"
        );
        assert_eq!(error.class(), ErrorClass::Internal);
    };
    lost(snapshots.mounts("active").map(drop));
    lost(snapshots.show("active").map(drop));
    lost(snapshots.usage("active").map(drop));
    lost(snapshots.commit("name", "active", Labels::new()).map(drop));
    snapshots.remove("active").unwrap();
    fs::remove_dir_all(stage.directory("top")).unwrap();
    let error = snapshots.prepare("k", Some("top"), Labels::new());
    assert!(matches!(error, Err(SnapshotError::Lost { name, .. }) if name == "top"));
    assert!(snapshots.stat("k").is_err());
}

#[test]
fn broken_ancestry_is_an_error() {
    let stage = Stage::new();
    let mut record = stage.snapshots.stat("base").unwrap();
    for (name, parent) in [("ring", "ring"), ("orphan", "nobody")] {
        record.name = name.to_owned();
        record.parent = Some(parent.to_owned());
        stage.put(&record);
    }
    let ring = stage.snapshots.layers("ring");
    assert!(matches!(ring, Err(SnapshotError::TooDeep(_))));
    let orphan = stage.snapshots.layers("orphan");
    assert!(matches!(orphan, Err(SnapshotError::Orphan { .. })));
}

#[test]
fn a_sweep_leaves_what_snapshots_stand_on() {
    let stage = Stage::empty();
    let [stood_on, labelled, garbage] =
        [(0o755, 1), (0o755, 2), (0o755, 3)].map(|(mode, uid)| stage.layer(mode, uid));
    let chain = stage.pulled(&[stood_on.clone(), labelled.clone()]);
    let below = stage.snapshots.stat(&chain).unwrap().parent.unwrap();
    let gone = stage.pulled(std::slice::from_ref(&garbage));
    let root = labels_of(&[(labels::ROOT, "now")]);
    stage.snapshots.update(&chain, &root, &[]).unwrap();
    stage.commit("name", Some(&below));
    stage.store.sweep().unwrap();
    for name in [&chain, &below, "name"] {
        stage.snapshots.stat(name).unwrap();
    }
    assert!(stage.snapshots.stat(&gone).is_err());
    assert_eq!(stage.store.layers().list().unwrap().len(), 2);
    stage.snapshots.update(&chain, &Labels::new(), &[]).unwrap();
    stage.store.sweep().unwrap();
    assert!(stage.snapshots.stat(&chain).is_err());
    assert_eq!(stage.store.layers().list().unwrap(), [stood_on]);
    assert_eq!(stage.directories().len(), 1);
}

#[test]
fn lists_are_filtered() {
    let stage = Stage::new();
    for (name, label) in [("base", "1"), ("active", "2"), ("view", "2")] {
        let labels = labels_of(&[("l", label), ("a.b/c", "yes")]);
        stage.snapshots.update(name, &labels, &[]).unwrap();
    }
    let table: [(&[&str], &[&str]); 10] = [
        (&["kind==committed"], &["base", "top"]),
        (&["name==base"], &["base"]),
        (&["name==base", "name==view"], &["base", "view"]),
        (&["name==view,labels.l"], &["view"]),
        (&["parent==base"], &["top"]),
        (&["parent!=\"\""], &["active", "top", "view"]),
        (&["labels.l"], &["active", "base", "view"]),
        (&["labels.l==2"], &["active", "view"]),
        (&["labels.\"a.b/c\"==yes,kind~=e$"], &["active"]),
        (&["labels"], &[]),
    ];
    for (filters, expected) in table {
        let filter = Filter::parse(filters).unwrap();
        let snapshots = stage.snapshots.matching(&filter).unwrap();
        let names: Vec<_> = snapshots.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, expected, "{filters:?}");
    }
}

//! From prepare to commit and to the snapshots above.

use super::*;

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

//! What is in use, left over or damaged.

use super::*;
use crate::gc;

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
fn a_directory_without_a_record_is_removed_unless_it_is_in_use() {
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
    stage.keep_all();
    assert_eq!(gc::collect(&stage.store).unwrap().snapshots, 1);
    assert!(!next.exists());
    drop(hold);
    assert_eq!(gc::collect(&stage.store).unwrap().snapshots, 1);
    assert_eq!(stage.directories(), ["1", "2", "3", "6"]);
    fs::create_dir(snapshots.join("07")).unwrap();
    assert!(gc::collect(&stage.store).is_err(), "not ours");
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
fn what_snapshots_stand_on_is_no_garbage() {
    let stage = Stage::empty();
    let [stood_on, labelled, garbage] =
        [(0o755, 1), (0o755, 2), (0o755, 3)].map(|(mode, uid)| stage.layer(mode, uid));
    let chain = stage.pulled(&[stood_on.clone(), labelled.clone()]);
    let below = stage.snapshots.stat(&chain).unwrap().parent.unwrap();
    let gone = stage.pulled(std::slice::from_ref(&garbage));
    let root = labels_of(&[(labels::ROOT, "now")]);
    stage.snapshots.update(&chain, &root, &[]).unwrap();
    stage.commit("name", Some(&below));
    stage.snapshots.update("name", &root, &[]).unwrap();
    gc::collect(&stage.store).unwrap();
    for name in [&chain, &below, "name"] {
        stage.snapshots.stat(name).unwrap();
    }
    assert!(stage.snapshots.stat(&gone).is_err());
    assert_eq!(stage.store.layers().list().unwrap().len(), 2);
    stage.snapshots.update(&chain, &Labels::new(), &[]).unwrap();
    gc::collect(&stage.store).unwrap();
    assert!(stage.snapshots.stat(&chain).is_err());
    assert_eq!(stage.store.layers().list().unwrap(), [stood_on]);
    assert_eq!(stage.directories().len(), 1);
}

//! Layers applied to active snapshots.

use super::*;

impl Stage {
    /// Applies a layer to an active snapshot.
    fn apply(&self, key: &str, diff_id: &DiffId) -> Result<(), SnapshotError> {
        let reserved = self.snapshots.reserve(key)?;
        self.snapshots.apply(&reserved, diff_id)
    }
}

fn top_of(path: &std::path::Path) -> (u32, u32) {
    let top = fs::metadata(path).unwrap();
    (top.uid(), top.mode() & 0o7777)
}

#[test]
fn an_applied_layer_lies_on_the_parent_and_is_all_that_is_committed() {
    let stage = Stage::new();
    let diff_id = stage.layer(0o750, 7);
    stage.apply("active", &diff_id).unwrap();
    stage.apply("active", &diff_id).unwrap();
    let shown = stage.snapshots.mounts("active").unwrap();
    let top = stage.snapshots.show("top").unwrap();
    assert_eq!(shown.layers[0], LayerPlan::Packed(diff_id.clone()));
    assert_eq!(shown.layers[1..], top.layers);
    let upper = shown.upper.unwrap();
    if rustix::process::geteuid().is_root() {
        assert_eq!(top_of(&upper.fs), (7, 0o750));
    }
    let directory = stage.directory("active");
    let usage = stage.snapshots.usage("active").unwrap();
    let record = stage
        .snapshots
        .commit("name", "active", Labels::new())
        .unwrap();
    assert_eq!((record.layer.as_ref(), record.id), (Some(&diff_id), None));
    assert!(!directory.exists());
    assert!(usage.size > record.usage.unwrap().size && record.usage.unwrap().size > 0);
    assert_eq!(
        stage.snapshots.show("name").unwrap().layers,
        shown.layers,
        "nothing but the layer"
    );
    stage.prepare("next", Some("name"));
}

/// Why, and what is done to the directory of the upper.
type Touch = (&'static str, fn(&std::path::Path));

#[test]
fn what_was_written_lies_over_the_layer() {
    let touches: [Touch; 3] = [
        ("a file", |fs| fs::write(fs.join("file"), "x").unwrap()),
        ("a mode", |fs| {
            fs::set_permissions(fs, fs::Permissions::from_mode(0o700)).unwrap();
        }),
        ("an attribute", |fs| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(fs, "user.name", b"value", flags).unwrap();
        }),
    ];
    for (why, touch) in touches {
        let stage = Stage::new();
        let diff_id = stage.layer(0o750, 0);
        stage.apply("active", &diff_id).unwrap();
        let fs = stage.snapshots.mounts("active").unwrap().upper.unwrap().fs;
        touch(&fs);
        let shown = stage.snapshots.show("active").unwrap();
        let committed = stage.snapshots.commit("name", "active", Labels::new());
        let record = committed.unwrap();
        assert_eq!(record.layer, Some(diff_id.clone()), "{why}");
        assert!(record.id.is_some(), "{why}");
        let layers = stage.snapshots.show("name").unwrap().layers;
        let expected = [LayerPlan::Directory(fs), LayerPlan::Packed(diff_id)];
        assert_eq!(layers[..2], expected, "{why}");
        assert_eq!(layers, shown.layers, "{why}");
    }
}

#[test]
fn a_layer_is_refused_where_something_was_written() {
    let stage = Stage::new();
    let diff_id = stage.layer(0o755, 0);
    let refused = |key: &str, stage: &Stage| stage.apply(key, &diff_id).unwrap_err().to_string();
    assert_eq!(refused("top", &stage), r#"snapshot "top" is not active"#);
    assert_eq!(refused("view", &stage), r#"snapshot "view" is not active"#);
    let upper = stage.snapshots.mounts("active").unwrap().upper.unwrap();
    let writer = stage.snapshots.hold_active(&upper.owner).unwrap();
    assert_eq!(refused("active", &stage), r#"snapshot "active" is in use"#);
    drop(writer);
    fs::create_dir(upper.fs.join("directory")).unwrap();
    let expected = r#"snapshot "active" holds changes already"#;
    assert_eq!(refused("active", &stage), expected);
}

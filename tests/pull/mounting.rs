//! `mica mount` of what was pulled: wiring only; the view has tests of its own.

use std::fs;
use std::path::Path;

use crate::layout::{Layout, tar_of};
use crate::program::Mica;

/// Says whether mounts can be made here, and why not.
pub(crate) fn can_mount() -> bool {
    let device = fs::File::options().read(true).write(true).open("/dev/fuse");
    if let Err(error) = &device {
        eprintln!("skipped: open /dev/fuse: {error}");
    }
    device.is_ok()
}

#[test]
fn an_image_and_a_snapshot_are_mounted_listed_and_taken_away() {
    if !can_mount() {
        return;
    }
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("old", b"1"), ("both", b"lower")]));
    layout.add_tar(&tar_of(&[(".wh.old", b""), ("both", b"upper")]));
    let manifest = layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    let snapshots = mica.json(["snapshot", "ls"]);
    let lower = snapshots
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["parent"].is_null())
        .unwrap();
    let table: [(&str, &str, &[&str], &str); 2] = [
        ("image", manifest.hex(), &["both"], "upper"),
        (
            "snapshot",
            lower["name"].as_str().unwrap(),
            &["both", "old"],
            "lower",
        ),
    ];
    let point = tempfile::tempdir().unwrap();
    for (why, name, files, both) in table {
        mica.ok([Path::new("mount"), Path::new(name), point.path()]);
        assert_eq!(names(point.path()), files, "{why}");
        assert_eq!(
            fs::read_to_string(point.path().join("both")).unwrap(),
            both,
            "{why}"
        );
        let mounts = mica.json(["mounts"]);
        assert_eq!(
            mounts[0]["mountpoint"],
            point.path().to_str().unwrap(),
            "{why}"
        );

        let error = mica.fails([Path::new("mount"), Path::new(name), point.path()]);
        assert!(error.contains("mount"), "twice: {error}");
        mica.ok([Path::new("umount"), point.path()]);
        assert!(names(point.path()).is_empty(), "{why}");
        assert_eq!(mica.json(["mounts"]).as_array().unwrap().len(), 0, "{why}");
    }
}

#[test]
fn layers_of_a_mount_outlive_their_image() {
    if !can_mount() {
        return;
    }
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("file", b"content")]));
    let manifest = layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    let point = tempfile::tempdir().unwrap();
    mica.ok([Path::new("mount"), Path::new(manifest.hex()), point.path()]);
    mica.ok(["image", "rm", manifest.hex()]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 1);
    assert_eq!(fs::read(point.path().join("file")).unwrap(), b"content");
    mica.ok([Path::new("umount"), point.path()]);
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["image", "rm", manifest.hex()]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_layer_with_a_changed_file_is_refused_and_healed_by_the_next_pull() {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("file", b"content")]));
    layout.add_tar(&tar_of(&[("other", b"content")]));
    let manifest = layout.finish();
    let mica = Mica::new();
    let point = tempfile::tempdir().unwrap();
    mica.ok(["pull", "-q", &layout.source()]);
    let diff_id = layout.diff_ids[0].to_string();
    let layer = mica
        .root()
        .join("layers/sha256")
        .join(layout.diff_ids[0].hex());
    // In `data`, the content of the file.
    for (name, place) in [("index", 100), ("data", 512)] {
        let path = layer.join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        if name == "index" {
            let mount = [Path::new("mount"), Path::new(manifest.hex()), point.path()];
            let error = mica.fails(mount);
            assert!(
                error.starts_with(&format!("error: layer {diff_id}\n")),
                "{error}"
            );
            assert!(error.contains("hint: pull the image again"), "{error}");
        }
        let output = mica.run(["layer", "verify"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(&format!("{diff_id}: layer")),
            "{name}: {error}"
        );
        assert!(
            error.contains("1 of 2 layers are damaged"),
            "{name}: {error}"
        );
        mica.ok(["pull", "-q", &layout.source()]);
        mica.ok(["layer", "verify"]);
    }
    if can_mount() {
        mica.ok([Path::new("mount"), Path::new(manifest.hex()), point.path()]);
        assert_eq!(names(point.path()), ["file", "other"]);
        mica.ok([Path::new("umount"), point.path()]);
    }
}

#[test]
fn bad_mounts_are_refused() {
    let mica = Mica::new();
    let point = tempfile::tempdir().unwrap();
    let error = mica.fails([Path::new("mount"), Path::new("nope"), point.path()]);
    assert!(
        error.contains("image \"nope\" is not in the store"),
        "{error}"
    );
    let error = mica.fails([Path::new("umount"), point.path()]);
    assert!(error.contains("is not mounted"), "{error}");
    let error = mica.fails(["umount", "/proc"]);
    assert!(
        error.contains("/proc is a mount of type proc, not of mica"),
        "{error}"
    );
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

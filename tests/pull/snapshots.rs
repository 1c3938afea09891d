//! `mica snapshot` and `mica mount --rw`: the wiring, as root and as an ordinary user.

use std::path::Path;

use mica::oci::Digest;

use crate::layout::{Layout, tar_of};
use crate::mounting::can_mount;
use crate::program::{Mica, count};

/// Runs a test as this process's user and as an ordinary one, each with an image.
fn for_each_user(test: impl Fn(&Mica, &Digest)) {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("lower", b"1")]));
    layout.add_tar(&tar_of(&[("file", b"content")]));
    let manifest = layout.finish();
    layout.open_to_all();
    for mica in [Some(Mica::new()), Mica::of_nobody()].into_iter().flatten() {
        mica.ok(["pull", "-q", &layout.source()]);
        test(&mica, &manifest);
    }
}

fn mount(mica: &Mica, options: &[&str], what: &str, point: &Path) {
    let point = point.to_str().unwrap();
    mica.ok(["mount"].iter().chain(options).chain(&[what, point]));
}

fn umount(mica: &Mica, point: &Path) {
    mica.ok([Path::new("umount"), point]);
}

/// Returns the labels of a snapshot that a user has made, without the one that says so.
fn of_user(labels: &serde_json::Value) -> serde_json::Value {
    let mut labels = labels.as_object().unwrap().clone();
    labels.remove("containerd.io/gc.root").unwrap();
    labels.into()
}

fn kinds(mica: &Mica) -> Vec<String> {
    let snapshots = mica.json(["snapshot", "ls"]);
    let kinds = snapshots.as_array().unwrap().iter();
    kinds
        .map(|snapshot| snapshot["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_snapshot_lives_on_the_command_line() {
    for_each_user(|mica, manifest| {
        let snapshot = |arguments: &[&str]| mica.ok(["snapshot"].iter().chain(arguments));
        assert_eq!(snapshot(&["prepare", "key", manifest.hex()]), "key\n");
        let chain_id = mica.json(["image", "inspect", manifest.hex()])["chain_id"].clone();
        let record = mica.json(["snapshot", "info", "key"]);
        assert_eq!(
            (&record["kind"], &record["parent"]),
            (&"active".into(), &chain_id)
        );
        let mounts = mica.json(["snapshot", "mounts", "key"]);
        assert_eq!(mounts["layers"].as_array().unwrap().len(), 2);
        let upper = Path::new(mounts["upper"]["fs"].as_str().unwrap());
        mica.shell(r#"echo new >"$1/new""#, &[upper]).unwrap();
        assert_eq!(mica.json(["snapshot", "usage", "key"])[0]["inodes"], 2);
        snapshot(&["label", "key", "a=1", "b=2"]);
        let labels = &mica.json(["snapshot", "label", "key", "a="])["labels"];
        let image = mica.json(["images"])[0]["name"].clone();
        assert_eq!(
            of_user(labels),
            serde_json::json!({"b": "2", "io.mica/image": image})
        );

        assert_eq!(
            snapshot(&["commit", "name", "key", "--label", "c=3"]),
            "name\n"
        );
        let record = mica.json(["snapshot", "info", "name"]);
        assert_eq!(of_user(&record["labels"]), serde_json::json!({"c": "3"}));
        snapshot(&["view", "view", "name"]);
        assert_eq!(kinds(mica), ["committed", "committed", "committed", "view"]);
        assert_eq!(
            mica.json(["snapshot", "usage"]).as_array().unwrap().len(),
            4
        );
        let error = mica.fails(["snapshot", "rm", "name"]);
        assert!(
            error.starts_with("error: cannot remove snapshot with child\nhint: "),
            "{error}"
        );

        mica.ok(["image", "rm", manifest.hex()]);
        assert_eq!(kinds(mica).len(), 4, "the view stands on them");
        assert_eq!(
            snapshot(&["rm", "view", "name"]),
            "removed view\nremoved name\n"
        );
        assert_eq!(count(&mica.root().join("snapshots")), 0);
        let usage = mica.run(["snapshot", "prepare", "key", "--label", "nothing"]);
        assert_eq!(usage.status.code(), Some(2));
    });
}

#[test]
fn a_snapshot_is_mounted_writable_once() {
    if !can_mount() {
        return;
    }
    for_each_user(|mica, manifest| {
        let [point, other] = ["point", "other"].map(|name| mica.directory(name));
        mica.ok(["snapshot", "prepare", "key", manifest.hex()]);
        mount(mica, &["--rw"], "key", &point);
        let read = r#"cat "$1/file""#;
        assert_eq!(mica.shell(read, &[&point]).unwrap(), "content");
        let mounts = mica.json(["mounts"]);
        assert_eq!(mounts[0]["upper"]["snapshot"]["name"], "key");
        assert!(mica.ok(["mounts"]).contains("  rw  "));

        let other_point = other.to_str().unwrap();
        for command in [
            ["mount", "--rw", "key", other_point].as_slice(),
            &["mount", "key", other_point],
            &["snapshot", "rm", "key"],
            &["snapshot", "commit", "name", "key"],
        ] {
            let error = mica.fails(command);
            assert!(
                error.starts_with("error: snapshot \"key\" is in use\nhint: "),
                "{error}"
            );
        }
        umount(mica, &point);

        let upper = mica.json(["snapshot", "mounts", "key"])["upper"]["fs"].clone();
        let upper = Path::new(upper.as_str().unwrap());
        mica.shell(r#"echo new >"$1/new""#, &[upper]).unwrap();
        let both = r#"cat "$1/file" "$1/new""#;
        for kind in ["active", "committed"] {
            let name = if kind == "active" { "key" } else { "name" };
            mount(mica, &[], name, &point);
            assert_eq!(
                mica.shell(both, &[&point]).unwrap(),
                "contentnew\n",
                "{kind}"
            );
            let error = mica.shell(r#": >"$1/more""#, &[&point]).unwrap_err();
            assert!(error.contains("Read-only file system"), "{kind}: {error}");
            let error = mica.fails(["snapshot", "rm", name]);
            assert!(error.contains("is in use"), "{kind}: {error}");
            umount(mica, &point);
            if kind == "active" {
                mica.ok(["snapshot", "commit", "name", "key"]);
            }
        }
        let error = mica.fails(["mount", "--rw", "--key", "name", "name", other_point]);
        assert!(
            error.contains("snapshot \"name\": already exists"),
            "{error}"
        );
        mica.ok(["snapshot", "rm", "name"]);
    });
}

#[test]
fn a_snapshot_without_a_parent_is_mounted_writable() {
    if !can_mount() {
        return;
    }
    for_each_user(|mica, _| {
        let point = mica.directory("point");
        mica.ok(["snapshot", "prepare", "key"]);
        mount(mica, &["--rw"], "key", &point);
        assert_eq!(mica.shell(r#"ls -A "$1""#, &[&point]).unwrap(), "");
        umount(mica, &point);
    });
}

#[test]
fn a_writable_mount_of_an_image_makes_a_snapshot_of_its_name() {
    if !can_mount() {
        return;
    }
    for_each_user(|mica, manifest| {
        let point = mica.directory("point");
        let key = std::fs::canonicalize(&point).unwrap();
        let key = key.to_str().unwrap();
        mount(mica, &["--rw"], manifest.hex(), &point);
        let record = mica.json(["snapshot", "info", key]);
        assert_eq!(record["kind"], "active");
        umount(mica, &point);
        let error = mica.fails(["mount", "--rw", manifest.hex(), key]);
        assert!(error.contains("already exists\nhint: "), "{error}");
        mount(mica, &["--rw"], key, &point);
        umount(mica, &point);
        mount(mica, &["--rw", "--key", "mine"], manifest.hex(), &point);
        umount(mica, &point);
        mica.ok(["snapshot", "rm", "mine", key]);

        let absent = mica.root().join("absent");
        let absent = absent.to_str().unwrap();
        let key = ["mount", "--rw", "--key", "mine", manifest.hex(), absent];
        mica.fails(key);
        mica.fails([key.as_slice(), &["--foreground"]].concat());
        assert_eq!(kinds(mica), ["committed", "committed"]);
        assert_eq!(count(&mica.root().join("snapshots")), 0);
    });
}

/// Makes changes in two snapshots, the second on the first, commits both, and compares
/// what they show then.
fn assert_kept(first: &str, second: &str, expected: [&str; 2]) {
    if !can_mount() {
        return;
    }
    for_each_user(|mica, manifest| {
        let point = mica.directory("point");
        let mut parent = manifest.hex().to_owned();
        let changes = [("first", first), ("second", second)];
        for (key, script) in changes {
            mica.ok(["snapshot", "prepare", key, &parent]);
            mount(mica, &["--rw"], key, &point);
            mica.shell(&format!(r#"cd "$1"; {script}"#), &[&point])
                .unwrap();
            umount(mica, &point);
            parent = format!("{key}, committed");
            mica.ok(["snapshot", "commit", &parent, key]);
        }
        for ((key, _), expected) in changes.iter().zip(expected) {
            mount(mica, &[], &format!("{key}, committed"), &point);
            let found = mica.shell(r#"cd "$1"; ls; cat *"#, &[&point]);
            assert_eq!(found.as_deref(), Ok(expected), "{key}");
            umount(mica, &point);
        }
    });
}

#[test]
fn what_was_written_and_removed_is_so_after_a_commit() {
    assert_kept(
        "echo new >new; echo more >>file",
        "rm lower new; echo other >new; echo last >>file",
        [
            "file\nlower\nnew\ncontentmore\n1new\n",
            "file\nnew\ncontentmore\nlast\nother\n",
        ],
    );
}

#[test]
fn what_was_moved_or_changed_in_mode_is_so_after_a_commit() {
    assert_kept(
        "mv lower moved; chmod 600 file",
        "mv moved again; mv file lower",
        ["file\nmoved\ncontent1", "again\nlower\n1content"],
    );
}

#[test]
fn an_ordinary_user_has_the_owners_of_everybody() {
    if !can_mount() {
        return;
    }
    for_each_user(|mica, manifest| {
        let point = mica.directory("point");
        mica.ok(["snapshot", "prepare", "key", manifest.hex()]);
        mount(mica, &["--rw"], "key", &point);
        let script = r#"
            cd "$1"
            stat -c %u:%g file
            echo more >>file
            chown 5:7 file
            chmod 4755 file
            mkfifo pipe
            mkdir directory
            chown 8:9 directory
            ln -s file link"#;
        assert_eq!(mica.shell(script, &[&point]).unwrap(), "0:0\n");
        umount(mica, &point);

        let look = r#"cd "$1" && stat -c "%n %u:%g %a %F" file pipe directory"#;
        let own = mica.shell("id -u && id -g", &[]).unwrap();
        let own = own.trim_end().replace('\n', ":");
        let umask = mica.shell("umask", &[]).unwrap();
        assert_eq!(umask, "0022\n");
        let expected = format!(
            "file 5:7 4755 regular file\npipe {own} 644 fifo\ndirectory 8:9 755 directory\n"
        );
        mount(mica, &["--rw"], "key", &point);
        assert_eq!(mica.shell(look, &[&point]).unwrap(), expected);
        umount(mica, &point);
        mica.ok(["snapshot", "commit", "name", "key"]);
        mount(mica, &[], "name", &point);
        assert_eq!(mica.shell(look, &[&point]).unwrap(), expected, "committed");
        umount(mica, &point);
    });
}

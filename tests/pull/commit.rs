//! `mica image commit`: what is in the new image, and what becomes of the snapshot.

use mica::oci::Digest;
use serde_json::{Value, json};

use crate::diff::for_each_user;
use crate::layout::{Layout, tar_of};
use crate::program::{Mica, count};

const NEW: &str = "localhost/new:1";

fn inspect(mica: &Mica, image: &str) -> Value {
    mica.json(["image", "inspect", image])
}

fn diff_ids(inspected: &Value) -> Vec<Digest> {
    serde_json::from_value(inspected["config"]["rootfs"]["diff_ids"].clone()).unwrap()
}

/// Returns the config, with what mica does not know.
fn config(mica: &Mica, inspected: &Value) -> Value {
    let digest = inspected["manifest"]["config"]["digest"].as_str().unwrap();
    serde_json::from_str(&mica.ok(["content", "get", digest])).unwrap()
}

#[test]
fn the_new_image_has_one_layer_more_that_is_there_already() {
    for_each_user(|mica, manifest| {
        let base = inspect(mica, manifest.hex());
        let digest = mica.ok(["image", "commit", "key", NEW]);
        let new = inspect(mica, NEW);
        assert_eq!(new["descriptor"]["digest"], digest.trim());
        let (below, all) = (diff_ids(&base), diff_ids(&new));
        assert_eq!(all[..2], below[..]);
        let layers = new["manifest"]["layers"].as_array().unwrap();
        assert_eq!(
            layers[..2],
            base["manifest"]["layers"].as_array().unwrap()[..],
            "blobs below are referred to"
        );
        assert_eq!(layers.len(), 3);
        let path = mica.directory("layer").join("tar");
        mica.ok(["snapshot", "diff", "key", "-o", path.to_str().unwrap()]);
        assert_eq!(mica.read_layer(&all[2]), std::fs::read(&path).unwrap());
        // An ordinary user's upper has another owner than the image.
        assert_eq!(mica.ok(["diff", "key", NEW]).replace("C /\n", ""), "");
        assert!(!mica.ok(["layer", "verify"]).contains("damaged"));
        assert_eq!(count(&mica.root().join("tmp")), 0);
        assert_eq!(mica.json(["lease", "ls"]), json!([]));
        // The snapshot goes on.
        assert_eq!(mica.json(["snapshot", "info", "key"])["kind"], "active");
    });
}

#[test]
fn the_same_snapshot_makes_the_same_image_at_a_given_time() {
    for_each_user(|mica, _| {
        let commit = |name: &str| {
            let mut command = mica.command(["image", "commit", "--zstd", "key", name]);
            let output = command.env("SOURCE_DATE_EPOCH", "1000").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        assert_eq!(commit("localhost/one"), commit("localhost/two"));
        let one = inspect(mica, "localhost/one");
        let media_type = &one["manifest"]["layers"][2]["mediaType"];
        assert_eq!(media_type, "application/vnd.oci.image.layer.v1.tar+zstd");
        assert_eq!(one["config"]["created"], "1970-01-01T00:16:40Z");
        let history = &config(mica, &one)["history"];
        assert_eq!(history[2]["created_by"], "mica image commit");
        assert_eq!(history.as_array().unwrap().len(), 3, "one for each layer");
    });
}

#[test]
fn the_config_is_the_old_one_with_what_was_asked_for() {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", b"1")]));
    layout.finish_with(&json!({
        "config": {"Env": ["PATH=/bin"], "Unknown": 1}, "os.version": "7", "container": "x",
        "history": [{"created_by": "first"}, {"created_by": "none", "empty_layer": true}],
    }));
    let mica = Mica::new();
    let base = mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["snapshot", "prepare", "key", base.trim()]);
    mica.ok([
        "image",
        "commit",
        "key",
        NEW,
        "--author",
        "me",
        "--message",
        "why",
        "--change",
        "ENV A=b",
        "--change",
        r#"CMD ["/bin/sh"]"#,
    ]);
    let new = inspect(&mica, NEW);
    let config = config(&mica, &new);
    assert_eq!(
        config["config"],
        json!({"Env": ["PATH=/bin", "A=b"], "Cmd": ["/bin/sh"], "Unknown": 1})
    );
    assert_eq!(
        (&config["os.version"], &config["author"]),
        (&json!("7"), &json!("me"))
    );
    assert_eq!(config["container"], Value::Null);
    assert_eq!(
        diff_ids(&new).len(),
        1,
        "nothing was written to the snapshot"
    );
    let last = &config["history"][2];
    assert_eq!(
        (&last["comment"], &last["empty_layer"]),
        (&json!("why"), &json!(true))
    );
    assert_eq!(
        last["created_by"],
        r#"mica image commit; ENV A=b; CMD ["/bin/sh"]"#
    );
}

#[test]
fn an_image_is_built_on_the_one_that_the_snapshot_was_made_from() {
    for_each_user(|mica, manifest| {
        mica.ok(["image", "commit", "key", "localhost/middle"]);
        mica.ok([
            "image",
            "commit",
            "key",
            "--change",
            "USER a",
            "localhost/other",
        ]);
        // Both have the layers that this stands on, and it was made from neither.
        let chain_id = inspect(mica, "localhost/middle")["chain_id"].clone();
        mica.ok(["snapshot", "prepare", "above", chain_id.as_str().unwrap()]);
        let error = mica.fails(["image", "commit", "above", NEW]);
        assert!(
            error.contains("localhost/middle:latest, localhost/other:latest"),
            "{error}"
        );
        assert!(
            error.contains("hint: name one of them by --base"),
            "{error}"
        );
        mica.ok(["image", "commit", "above", NEW, "--base", "localhost/other"]);
        assert_eq!(config(mica, &inspect(mica, NEW))["config"]["User"], "a");
        // A name of the user's choice is no help where it does not fit.
        let error = mica.fails(["image", "commit", "key", NEW, "--base", "localhost/middle"]);
        assert!(error.contains("does not stand on"), "{error}");
        // By its label, one that was made from one of both needs no help.
        mica.ok(["snapshot", "prepare", "labelled", "localhost/other"]);
        mica.ok(["image", "commit", "labelled", NEW]);
        assert_eq!(config(mica, &inspect(mica, NEW))["config"]["User"], "a");
        // Snapshots between are layers too.
        mica.ok(["snapshot", "commit", "mine", "key"]);
        mica.ok(["snapshot", "prepare", "top", "mine"]);
        mica.ok(["image", "commit", "top", NEW, "--base", manifest.hex()]);
        assert_eq!(diff_ids(&inspect(mica, NEW)).len(), 3);
        mica.ok(["layer", "pack", "mine"]);
        mica.ok(["image", "commit", "mine", NEW, "--base", manifest.hex()]);
        assert_eq!(diff_ids(&inspect(mica, NEW)).len(), 3);
    });
}

#[test]
fn a_snapshot_without_a_parent_makes_an_image_of_its_own() {
    let mica = Mica::new();
    mica.ok(["snapshot", "prepare", "key"]);
    let upper = mica.json(["snapshot", "mounts", "key"])["upper"]["fs"].clone();
    std::fs::write(format!("{}/file", upper.as_str().unwrap()), "1").unwrap();
    mica.ok(["image", "commit", "key", NEW]);
    let new = inspect(&mica, NEW);
    assert_eq!(diff_ids(&new).len(), 1);
    assert_eq!(new["config"]["os"], "linux");
    assert!(
        mica.fails(["image", "commit", "nothing", NEW])
            .contains("hint: ")
    );
    assert_eq!(
        mica.run(["image", "commit", "key", "UPPER"]).status.code(),
        Some(2)
    );
}

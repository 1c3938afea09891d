//! `mica content` and `mica namespace`: the wiring.

use std::fs::{self, File};

use mica::oci::Digest;
use serde_json::json;

use crate::layout::{Layout, tar_of};
use crate::program::Mica;

#[test]
fn a_blob_lives_on_the_command_line() {
    let mica = Mica::new();
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input");
    fs::write(&input, b"text").unwrap();
    let digest = Digest::sha256(b"text").to_string();
    let ingest = |arguments: &[&str]| {
        let mut command = mica.command(["content", "ingest"].iter().chain(arguments));
        command.stdin(File::open(&input).unwrap()).output().unwrap()
    };
    let output = ingest(&["ref", "--expected-size", "5"]);
    assert!(!output.status.success());
    let active = mica.json(["content", "active", "ref==ref"]);
    assert_eq!(
        (&active[0]["offset"], &active[0]["total"]),
        (&4.into(), &5.into())
    );
    mica.ok(["content", "abort", "ref"]);
    mica.fails(["content", "abort", "ref"]);
    let output = ingest(&["ref", "--expected-digest", &digest, "--label", "a=1"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{digest}\n")
    );
    assert_eq!(mica.ok(["content", "get", &digest]), "text");
    mica.ok(["content", "label", &digest, "a=", "b.c/d=2"]);
    let listed = mica.json(["content", "ls", r#"labels."b.c/d"==2"#]);
    assert_eq!(listed[0]["labels"], json!({"b.c/d": "2"}));
    assert_eq!(mica.json(["content", "info", &digest]), listed[0]);
    let message = mica.fails(["content", "ls", "digest=x"]);
    assert!(
        message.contains("filters: parse error: [digest >|=|< x]"),
        "{message}"
    );
    mica.ok(["content", "rm", &digest]);
    mica.fails(["content", "get", &digest]);
}

#[test]
fn namespaces_share_blobs_and_nothing_else() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", b"content")]));
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["namespace", "create", "other", "a=1"]);
    assert_eq!(mica.json(["-n", "other", "images"]), json!([]));
    fs::remove_file(layout.blob(&layer.digest)).unwrap();
    mica.ok(["-n", "other", "pull", "-q", &layout.source()]);
    let names = mica.ok(["images", "-q"]);
    assert_eq!(mica.ok(["--namespace", "other", "images", "-q"]), names);
    mica.ok(["image", "rm", names.trim_end()]);
    assert_eq!(mica.ok(["images", "-q"]), "");
    mica.ok(["layer", "verify"]);
    let message = mica.fails(["namespace", "rm", "other"]);
    assert!(
        message.contains("it still has images, blobs, snapshots"),
        "{message}"
    );
    mica.ok(["-n", "other", "image", "rm", names.trim_end()]);
    assert_eq!(mica.json(["layer", "ls"]), json!([]));
    let namespaces = mica.json(["namespace", "label", "other", "b=2"]);
    assert_eq!(namespaces["labels"], json!({"a": "1", "b": "2"}));
    mica.ok(["namespace", "rm", "other"]);
    let listed = mica.json(["namespace", "ls"]);
    assert_eq!(listed, json!([{"name": "default", "labels": {}}]));
    let output = mica.run(["-n", "a/b", "images"]);
    assert_eq!(output.status.code(), Some(2), "no name of a namespace");
}

#[test]
fn images_are_labelled_and_checked() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", b"content")]));
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    let name = mica.ok(["images", "-q"]);
    let name = name.trim_end();
    let labelled = mica.json(["image", "label", name, "a=1"]);
    assert_eq!(labelled["labels"], json!({"a": "1"}));
    assert_eq!(mica.json(["images", "labels.a==1"])[0], labelled);
    mica.ok(["image", "tag", name, "other:1"]);
    mica.fails(["image", "tag", name, "other:1"]);
    mica.ok(["image", "tag", "--force", name, "other:1"]);
    let check = || mica.json(["image", "check"])[0].clone();
    let whole = check();
    assert_eq!(
        (&whole["status"], &whole["is_unpacked"]),
        (&"complete".into(), &true.into())
    );
    assert_eq!(whole["required"].as_array().unwrap().len(), 3);
    let blobs = mica.root().join("content/blobs/sha256");
    fs::write(blobs.join(layer.digest.hex()), b"?").unwrap();
    let damaged = check();
    assert_eq!(damaged["status"], "damaged");
    assert_eq!(damaged["damaged"], json!([layer.digest.to_string()]));
    fs::remove_file(blobs.join(layer.digest.hex())).unwrap();
    let incomplete = check();
    assert_eq!(incomplete["status"], "incomplete");
    assert_eq!(incomplete["missing"], json!([layer.digest.to_string()]));
    mica.ok(["snapshot", "ls"]);
    let text = mica.ok(["image", "check", "name~=other"]);
    assert!(text.contains("incomplete  2/3"), "{text}");
    let digest = whole["target"]["digest"].as_str().unwrap().to_owned();
    fs::remove_file(blobs.join(digest.trim_start_matches("sha256:"))).unwrap();
    assert_eq!(check()["status"], "unavailable");
}

//! `mica pull` from OCI layouts: what is in the store afterwards, whatever happened.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod check;
mod commit;
mod content;
mod copies;
mod crash;
mod damage;
mod diff;
mod events;
mod faults;
mod gc;
mod layout;
mod machine;
mod mounting;
mod platforms;
mod program;
mod remote;
mod repair;
mod schema1;
mod sharing;
mod snapshots;
#[path = "../support/registry.rs"]
#[expect(dead_code, reason = "the tests of the registry client use the rest")]
mod support;

use flate2::Compression;
use layout::{Layout, gzip, tar_of};
use program::Mica;

#[test]
fn every_compression_gives_the_same_layer() {
    let tar = tar_of(&[("etc/motd", b"hello"), ("bin/tool", &vec![7; 300_000])]);
    let (front, back) = tar.split_at(1000);
    let members = [
        gzip(front, Compression::fast()),
        gzip(back, Compression::best()),
    ]
    .concat();
    let table: [(&str, &str, Vec<u8>); 5] = [
        ("plain", "", tar.clone()),
        ("gzip", "+gzip", gzip(&tar, Compression::fast())),
        ("gzip of two members", "+gzip", members),
        ("zstd", "+zstd", zstd::encode_all(&tar[..], 3).unwrap()),
        (
            "zstd that says gzip",
            "+gzip",
            zstd::encode_all(&tar[..], 3).unwrap(),
        ),
    ];
    for (why, suffix, blob) in table {
        let mut layout = Layout::new();
        layout.add_layer(suffix, &tar, &blob);
        layout.finish();
        let mica = Mica::new();
        let output = mica.ok(["pull", "-q", "--print-chainid", &layout.source()]);
        let diff_id = mica::oci::Digest::sha256(&tar);
        assert_eq!(output, format!("image chain ID: {diff_id}\n"), "{why}");
        assert_eq!(mica.read_layer(&diff_id), tar, "{why}");
        assert!(mica.ok(["layer", "verify"]).contains(": ok"), "{why}");
    }
}

#[test]
fn an_empty_stream_is_an_empty_layer() {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", b"1")]));
    layout.add_layer("+gzip", b"", &gzip(b"", Compression::fast()));
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_layer_may_stand_twice_in_an_image() {
    let mut layout = Layout::new();
    let tar = tar_of(&[("a", b"1")]);
    for _ in 0..3 {
        layout.add_tar(&tar);
    }
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 1);
    assert_eq!(mica.json(["snapshot", "ls"]).as_array().unwrap().len(), 3);
}

#[test]
fn records_say_what_was_pulled() {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", b"1")]));
    layout.add_tar(&tar_of(&[("b", b"2")]));
    let manifest = layout.finish();
    let mica = Mica::new();
    let digest = mica.ok(["pull", "-q", &layout.source()]);
    assert_eq!(digest.trim(), manifest.to_string());

    let images = mica.json(["images"]);
    assert_eq!(images[0]["target"]["digest"], manifest.to_string());
    let inspected = mica.json(["image", "inspect", manifest.hex()]);
    let chain_id = inspected["chain_id"].as_str().unwrap();
    let snapshot = mica.json(["snapshot", "info", chain_id]);
    assert_eq!(snapshot["kind"], "committed");
    assert_eq!(snapshot["labels"]["containerd.io/snapshot.ref"], chain_id);
    let tree = mica.ok(["snapshot", "tree"]);
    assert_eq!(
        tree,
        format!("{}\n└─ {chain_id}\n", snapshot["parent"].as_str().unwrap())
    );
    let blobs = mica.json(["content", "ls"]);
    assert_eq!(
        blobs.as_array().unwrap().len(),
        4,
        "manifest, config and two layers"
    );
    let info = mica.json(["content", "info", &manifest.to_string()]);
    assert!(info["labels"]["containerd.io/gc.ref.content.l.1"].is_string());
    let bytes = mica.ok(["content", "get", &manifest.to_string()]);
    assert_eq!(mica::oci::Digest::sha256(bytes.as_bytes()), manifest);
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let mica = Mica::new();
    let root = mica.root().to_owned();
    assert_eq!(mica.run(["pull"]).status.code(), Some(2));
    assert_eq!(
        mica.run(["image", "inspect", "nope"]).status.code(),
        Some(1)
    );
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("version"), "99\n").unwrap();
    let error = mica.fails(["images"]);
    assert!(error.contains("has layout version 99"), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

//! `mica gc`, `mica prune` and `mica lease`: the wiring, and pulls beside collections.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use mica::oci::Digest;

use crate::layout::{Layout, tar_of};
use crate::program::{Mica, count};

fn layout(layers: &[&[u8]]) -> (Layout, Digest) {
    let mut layout = Layout::new();
    for content in layers {
        layout.add_tar(&tar_of(&[("file", content)]));
    }
    let manifest = layout.finish();
    (layout, manifest)
}

#[test]
fn everything_says_why_it_lives() {
    let mica = Mica::new();
    let (layout, manifest) = layout(&[b"1", b"2"]);
    mica.ok(["pull", "-q", &layout.source()]);
    let survey = mica.json(["gc", "--dry-run"]);
    assert_eq!(survey["garbage"], serde_json::json!([]));
    let live = survey["live"].as_array().unwrap();
    // The image, its manifest, config and two layers, each of these as blob, snapshot and layer.
    assert_eq!(live.len(), 1 + 2 + 3 * 2);
    assert!(live.iter().all(|live| live["why"][0]["type"] == "image"));
    let why = mica.ok(["gc", "--why", manifest.hex()]);
    assert!(
        why.contains(&format!("content {manifest} (the target)")),
        "{why}"
    );
    mica.fails(["gc", "--why", "nobody"]);

    mica.ok(["lease", "create", "--id", "mine"]);
    mica.ok(["lease", "add", "mine", "content", &manifest.to_string()]);
    let name = mica.json(["images"])[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    mica.ok(["image", "tag", &name, "short"]);
    let why = mica.ok(["gc", "--why", "short"]);
    assert!(
        why.starts_with("image docker.io/library/short:latest lives"),
        "{why}"
    );
    mica.ok(["image", "rm", "short"]);
    mica.ok(["image", "rm", &name]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 2);
    let why = mica.ok(["gc", "--why", &manifest.to_string()]);
    assert!(why.contains("lease mine"), "{why}");
    assert_eq!(
        mica.json(["lease", "resources", "mine"])[0]["type"],
        "content"
    );
    assert_eq!(
        mica.json(["lease", "ls", "id==mine"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        mica.json(["lease", "ls", "id==other"]),
        serde_json::json!([])
    );
    mica.fails(["lease", "add", "mine", "containers", "x"]);
    mica.ok(["lease", "rm", "mine"]);
    for directory in ["layers/sha256", "content/blobs/sha256", "tmp"] {
        assert_eq!(count(&mica.root().join(directory)), 0, "{directory}");
    }
}

#[test]
fn pruning_asks_or_is_told() {
    let mica = Mica::new();
    let (layout, _) = layout(&[b"1"]);
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["snapshot", "prepare", "work"]);
    let error = mica.fails(["prune"]);
    assert!(error.contains("--yes"), "{error}");
    let offer = mica.json(["prune", "--dry-run"]);
    assert_eq!(offer["unused"].as_array().unwrap().len(), 2);
    assert!(offer["bytes"].as_u64().unwrap() > 0);
    let told = mica.ok(["prune", "--snapshots", "--yes"]);
    assert!(told.starts_with("removed active work\n"), "{told}");
    assert_eq!(mica.json(["images"]).as_array().unwrap().len(), 1);
    mica.ok(["prune", "--yes"]);
    assert_eq!(mica.json(["images"]), serde_json::json!([]));
    assert_eq!(count(&mica.root().join("layers/sha256")), 0);
}

#[test]
fn pulls_beside_collections_are_whole() {
    let mica = Mica::new();
    let images: Vec<_> = [[b"a", b"b"], [b"b", b"c"], [b"c", b"a"]]
        .iter()
        .map(|layers| layout(&layers.map(|layer| &layer[..])))
        .collect();
    let is_over = AtomicBool::new(false);
    let store = || Mica::at(mica.root().to_owned());
    std::thread::scope(|scope| {
        let pullers: Vec<_> = images
            .iter()
            .map(|(layout, manifest)| {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..4 {
                        pull_and_remove(&store(), layout, manifest);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                store().ok(["gc"]);
            }
        });
        let results: Vec<_> = pullers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
    mica.ok(["gc"]);
    assert_eq!(
        mica.json(["gc", "--dry-run"])["live"],
        serde_json::json!([])
    );
}

/// Pulls an image, sees whether all of it is there, and removes it.
fn pull_and_remove(mica: &Mica, layout: &Layout, manifest: &Digest) {
    mica.ok(["pull", "-q", &layout.source()]);
    let image = mica.json(["image", "inspect", manifest.hex()]);
    for layer in image["manifest"]["layers"].as_array().unwrap() {
        let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
        let blob = mica.root().join("content/blobs/sha256").join(digest.hex());
        assert!(Path::new(&blob).exists(), "{digest}");
    }
    let diff_ids = image["config"]["rootfs"]["diff_ids"].as_array().unwrap();
    let diff_ids: Vec<&str> = diff_ids.iter().map(|id| id.as_str().unwrap()).collect();
    mica.ok([&["layer", "verify"], &diff_ids[..]].concat());
    mica.ok(["image", "rm", manifest.hex()]);
}

//! `mica check`: damage is found, told and repaired, and a whole store has none.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::layout::{Layout, noise, tar_of};
use crate::program::Mica;

/// A store with an image of two layers, and snapshots on it.
struct Stocked {
    layout: Layout,
    mica: Mica,
    manifest: String,
}

impl Stocked {
    fn new() -> Self {
        let mut layout = Layout::new();
        layout.add_tar(&tar_of(&[("a", &noise(1, 50_000))]));
        layout.add_tar(&tar_of(&[("b", &noise(2, 50_000))]));
        let manifest = layout.finish().hex().to_owned();
        let mica = Mica::new();
        mica.ok(["pull", "-q", &layout.source()]);
        mica.ok(["snapshot", "prepare", "work", &manifest]);
        mica.ok(["snapshot", "commit", "mine", "work"]);
        mica.ok(["snapshot", "prepare", "on-mine", "mine", "--label", "a=b"]);
        Self {
            layout,
            mica,
            manifest,
        }
    }

    fn blob(&self, number: usize) -> PathBuf {
        let blobs = self.mica.root().join("content/blobs/sha256");
        blobs.join(self.layout.layers[number].digest.hex())
    }

    fn layer(&self, number: usize) -> PathBuf {
        let layers = self.mica.root().join("layers/sha256");
        layers.join(self.layout.diff_ids[number].hex())
    }

    /// Returns the kinds of what a check finds, and its exit status.
    fn check(&self, option: Option<&str>) -> (Vec<String>, Option<i32>) {
        let arguments = ["check", "--json"].into_iter().chain(option);
        let output = self.mica.run(arguments);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        });
        let findings = report["findings"].as_array().unwrap().iter();
        let kinds = findings.map(|finding| finding["kind"].as_str().unwrap().to_owned());
        (kinds.collect(), output.status.code())
    }
}

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_store_has_no_faults() {
    let store = Stocked::new();
    assert_eq!(store.check(None), (vec![], Some(0)));
    let text = store.mica.ok(["check"]);
    assert!(text.ends_with("0 damaged, 0 orphaned\n"), "{text}");
}

#[test]
fn damage_is_found_and_repaired() {
    type Damage = fn(&Stocked);
    let table: [(&str, Damage, &[&str]); 9] = [
        ("a blob", |s| spoil(&s.blob(0)), &["blob-damaged"]),
        (
            "no blob",
            |s| fs::remove_file(s.blob(0)).unwrap(),
            &["blob-missing"],
        ),
        (
            "no manifest",
            |s| {
                let blobs = s.mica.root().join("content/blobs/sha256");
                fs::remove_file(blobs.join(&s.manifest)).unwrap();
            },
            &["blob-missing", "image"],
        ),
        (
            "data",
            |s| spoil(&s.layer(1).join("data")),
            &["layer-damaged"],
        ),
        (
            "an index",
            |s| spoil(&s.layer(1).join("index")),
            &["layer-damaged"],
        ),
        (
            "no layer",
            |s| fs::remove_dir_all(s.layer(0)).unwrap(),
            &["layer-missing"],
        ),
        (
            "no layer and no blob",
            |s| {
                fs::remove_dir_all(s.layer(0)).unwrap();
                fs::remove_file(s.blob(0)).unwrap();
            },
            &["blob-missing", "layer-missing", "image"],
        ),
        (
            "an index whose blob is gone",
            |s| {
                spoil(&s.layer(0).join("index"));
                fs::remove_file(s.blob(0)).unwrap();
            },
            &["layer-damaged", "blob-missing"],
        ),
        (
            "an empty directory of a snapshot",
            |s| fs::remove_dir(s.mica.root().join("snapshots/2/work")).unwrap(),
            &["directory-missing"],
        ),
    ];
    for (why, damage, expected) in table {
        let store = Stocked::new();
        damage(&store);
        let (found, status) = store.check(None);
        assert_eq!(
            (found, status),
            (expected.iter().map(|&e| e.to_owned()).collect(), Some(1)),
            "{why}"
        );
        let (_, status) = store.check(Some("--repair"));
        assert_eq!(status, Some(0), "{why}: {}", store.mica.shown(["check"]));
        assert_eq!(store.check(None), (vec![], Some(0)), "{why}");
    }
}

#[test]
fn what_nothing_can_be_made_of_is_told_again() {
    let store = Stocked::new();
    fs::remove_dir_all(store.mica.root().join("snapshots/1/fs")).unwrap();
    for option in [None, Some("--repair")] {
        assert_eq!(
            store.check(option),
            (vec!["directory-missing".to_owned()], Some(1))
        );
    }
}

#[test]
fn orphans_are_no_damage_and_are_removed() {
    let store = Stocked::new();
    let root = store.mica.root();
    fs::create_dir_all(root.join("snapshots/77/fs")).unwrap();
    fs::write(root.join("tmp/left"), b"").unwrap();
    let digest = mica::oci::Digest::sha256(b"x");
    fs::write(root.join("content/blobs/sha256").join(digest.hex()), b"x").unwrap();
    let (mut found, status) = store.check(None);
    found.sort();
    assert_eq!(found, ["blob-orphan", "directory-orphan", "leftover"]);
    assert_eq!(status, Some(0));
    store.check(Some("--repair"));
    assert_eq!(store.check(None), (vec![], Some(0)));
}

#[test]
fn what_a_lease_keeps_is_no_orphan() {
    let store = Stocked::new();
    let mica = &store.mica;
    mica.ok(["lease", "create", "--id", "kept"]);
    let layer = store.layout.diff_ids[0].to_string();
    let blob = store.layout.layers[0].digest.to_string();
    mica.ok(["lease", "add", "kept", "layers", &layer]);
    mica.ok(["lease", "add", "kept", "content", &blob]);
    mica.ok(["snapshot", "rm", "on-mine", "mine"]);
    let image = &mica.json(["images"])[0]["name"];
    mica.ok(["image", "rm", image.as_str().unwrap()]);
    assert!(store.layer(0).exists() && store.blob(0).exists());
    assert_eq!(store.check(None), (vec![], Some(0)));
}

#[test]
fn a_pull_heals_what_is_missing() {
    let store = Stocked::new();
    fs::remove_dir_all(store.layer(0)).unwrap();
    spoil(&store.layer(1).join("index"));
    store.mica.ok(["pull", "-q", &store.layout.source()]);
    assert_eq!(store.check(None), (vec![], Some(0)));
}

#[test]
fn records_are_made_anew() {
    type Damage = fn(&Path);
    let table: [(&str, Damage, bool); 3] = [
        ("nothing", |_| {}, true),
        (
            "the database",
            |root| fs::write(root.join("meta.sled/db"), vec![0x55; 70_000]).unwrap(),
            true,
        ),
        (
            "the database and the journal",
            |root| {
                fs::remove_dir_all(root.join("meta.sled")).unwrap();
                fs::write(root.join("meta.journal"), b"no journal").unwrap();
            },
            false,
        ),
    ];
    for (why, damage, is_whole) in table {
        let store = Stocked::new();
        let mica = &store.mica;
        let before = mica.json(["snapshot", "ls"]);
        damage(mica.root());
        mica.ok(["check", "--rebuild"]);
        let mut after = mica.json(["snapshot", "ls"]);
        if !is_whole {
            // Only the times of what a pull has made are new.
            for (new, old) in after
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .zip(before.as_array().unwrap())
            {
                if new["layer"].is_string() {
                    new["created"] = old["created"].clone();
                    new["updated"] = old["updated"].clone();
                }
            }
        }
        assert_eq!(after, before, "{why}");
        let images = mica.json(["images"]);
        let target = &images[0]["target"]["digest"];
        assert_eq!(*target, format!("sha256:{}", store.manifest), "{why}");
        let is_recovered = images[0]["name"]
            .as_str()
            .unwrap()
            .starts_with("localhost/recovered:");
        assert_eq!(is_recovered, !is_whole, "{why}");
        assert_eq!(
            mica.json(["content", "ls"]).as_array().unwrap().len(),
            4,
            "{why}"
        );
        assert_eq!(store.check(None), (vec![], Some(0)), "{why}");
        mica.ok(["snapshot", "prepare", "later", "mine"]);
    }
}

#[test]
fn a_damaged_database_is_made_anew_or_told_with_what_helps() {
    let store = Stocked::new();
    let sled = store.mica.root().join("meta.sled");
    let spoil_database = || fs::write(sled.join("conf"), b"not a configuration").unwrap();
    spoil_database();
    store.mica.ok(["images"]);
    assert_eq!(
        store.check(None),
        (vec![], Some(0)),
        "made anew from the journal"
    );
    spoil_database();
    fs::write(store.mica.root().join("meta.journal"), b"no journal").unwrap();
    let error = store.mica.fails(["images"]);
    assert!(error.contains("cannot be read"), "{error}");
    assert!(error.contains("hint: `mica check --rebuild`"), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    store.mica.ok(["check", "--rebuild"]);
    store.mica.ok(["images"]);
}

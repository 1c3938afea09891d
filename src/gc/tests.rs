//! Collections of whole stores.

mod beside;
mod model;
mod times;

use std::collections::BTreeSet;
use std::fs;

use jiff::{SignedDuration, Timestamp};

use super::collect::{Outcome, Survivors, remove_files, remove_records};
use super::files::Listing;
use super::*;
use crate::images;
use crate::labels::ROOT;
use crate::leases::{EXPIRE, FLAT, Leases, Resource};
use crate::meta::{ContentRecord, Labels, Namespace, SnapshotRecord, Transaction};
use crate::oci::{ChainId, Descriptor, DiffId, Digest, MediaType};
use crate::snapshots::{Snapshots, commit_chain};
use crate::store::Store;

/// A store with the means to fill it.
struct Stage {
    store: Store,
    namespace: Namespace,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(&dir.path().join("store")).unwrap(),
            namespace: Namespace::default(),
            _dir: dir,
        }
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(&self.store, self.namespace.clone())
    }

    fn leases(&self) -> Leases {
        Leases::new(&self.store, self.namespace.clone())
    }

    fn blob(&self, bytes: &[u8], labels: &[(&str, &str)]) -> Digest {
        let descriptor = Descriptor::of(MediaType::OCI_MANIFEST, bytes);
        self.store.content().write(&descriptor, bytes).unwrap();
        let put = |t: &Transaction| put_content(t, &descriptor, labels);
        self.store.meta().write(put).unwrap();
        descriptor.digest
    }

    fn layer(&self, content: &[u8]) -> DiffId {
        let tar = tar_of(content);
        let diff_id = DiffId(Digest::sha256(&tar));
        let mut unpacking = self.store.layers().unpack(&diff_id).unwrap();
        unpacking.push(&tar).unwrap();
        unpacking.finish().unwrap();
        diff_id
    }

    /// Makes an image of one layer; returns manifest, snapshot and layer.
    fn image(&self, name: &str) -> (Digest, String, DiffId) {
        let layer = self.layer(name.as_bytes());
        let chain = ChainId::chain(std::slice::from_ref(&layer));
        let chain = chain.last().unwrap().to_string();
        let config = self.blob(
            format!("config of {name}").as_bytes(),
            &[("containerd.io/gc.ref.snapshot.mica", &chain)],
        );
        let bytes = format!("manifest of {name}");
        let manifest = self.blob(
            bytes.as_bytes(),
            &[("containerd.io/gc.ref.content.config", &config.to_string())],
        );
        let target = Descriptor::of(MediaType::OCI_MANIFEST, bytes.as_bytes());
        let record = |t: &Transaction| {
            commit_chain(t, &self.namespace, std::slice::from_ref(&layer))?;
            images::record(t, &self.namespace, name, &target)
        };
        self.store.meta().write(record).unwrap();
        (manifest, chain, layer)
    }

    fn collect(&self) -> Collected {
        let collected = collect(&self.store).unwrap();
        assert!(!collected.is_deferred);
        assert_eq!(collect(&self.store).unwrap(), Collected::default());
        collected
    }

    fn counts(&self) -> [usize; 3] {
        let content = self.store.content().digests().unwrap().len();
        let layers = self.store.layers().list().unwrap().len();
        [content, layers, self.snapshots().list().unwrap().len()]
    }

    fn remove_image(&self, name: &str) {
        let remove = |t: &Transaction| t.remove::<crate::meta::ImageRecord>(&self.namespace, name);
        self.store.meta().write(remove).unwrap();
    }
}

fn put_content(
    transaction: &Transaction,
    descriptor: &Descriptor,
    labels: &[(&str, &str)],
) -> Result<(), crate::meta::MetaError> {
    let now = Timestamp::now();
    let record = ContentRecord {
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        labels: labels_of(labels),
        created: now,
        updated: now,
    };
    let name = descriptor.digest.to_string();
    transaction.put(&Namespace::default(), &name, &record)
}

fn tar_of(content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", content).unwrap();
    builder.into_inner().unwrap()
}

fn labels_of(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn in_hours(hours: i64) -> String {
    (Timestamp::now() + SignedDuration::from_hours(hours)).to_string()
}

#[test]
fn an_image_keeps_what_it_is_made_of_and_nothing_else() {
    let stage = Stage::new();
    stage.image("kept");
    let (manifest, ..) = stage.image("gone");
    stage.blob(b"named by nothing", &[]);
    let unnamed = Descriptor::of(MediaType::OCI_MANIFEST, b"in no record");
    stage
        .store
        .content()
        .write(&unnamed, b"in no record")
        .unwrap();
    stage.layer(b"in no record");
    let removed = stage.collect();
    assert_eq!((removed.blobs, removed.layers), (2, 1));
    assert_eq!(stage.counts(), [4, 2, 2]);
    stage.remove_image("gone");
    let removed = stage.collect();
    assert_eq!((removed.blobs, removed.layers), (2, 1));
    assert!(removed.bytes > 0);
    assert_eq!(stage.counts(), [2, 1, 1]);
    assert_eq!(stage.store.content().size(&manifest).unwrap(), None);
    let mut events = stage.store.events().from_oldest().unwrap();
    let topics: Vec<_> = events
        .read()
        .unwrap()
        .iter()
        .map(|e| e.event.topic())
        .collect();
    assert_eq!(topics.last(), Some(&"/snapshot/remove"), "{topics:?}");
}

#[test]
fn leases_keep_what_they_name_until_they_end() {
    let table: [(&str, Labels, bool, bool); 4] = [
        ("without end", Labels::new(), true, true),
        ("to come", labels_of(&[(EXPIRE, &in_hours(1))]), true, true),
        ("over", labels_of(&[(EXPIRE, &in_hours(-1))]), false, false),
        ("flat", labels_of(&[(FLAT, "true")]), true, false),
    ];
    for (why, labels, keeps_itself, keeps_rest) in table {
        let stage = Stage::new();
        let (manifest, chain, layer) = stage.image("image");
        stage.leases().create("lease", labels).unwrap();
        stage
            .leases()
            .add("lease", &Resource::content(&manifest))
            .unwrap();
        stage.remove_image("image");
        stage.collect();
        let is_there = stage.store.content().size(&manifest).unwrap().is_some();
        assert_eq!(is_there, keeps_itself, "{why}");
        assert_eq!(stage.snapshots().stat(&chain).is_ok(), keeps_rest, "{why}");
        assert_eq!(
            stage.store.layers().path(&layer).exists(),
            keeps_rest,
            "{why}"
        );
        assert_eq!(
            stage.leases().list().unwrap().len(),
            usize::from(keeps_itself),
            "{why}"
        );
        if keeps_itself {
            stage.leases().delete("lease").unwrap();
            stage.collect();
        }
        assert_eq!(stage.counts(), [0, 0, 0], "{why}");
    }
}

#[test]
fn what_an_older_mark_calls_garbage_is_left() {
    let stage = Stage::new();
    let (manifest, chain, layer) = stage.image("image");
    stage.remove_image("image");
    let before = Survivors::of(&stage.store, &BTreeSet::new()).unwrap();
    let resources = vec![Resource::content(&manifest), Resource::layer(&layer)];
    let lease = stage.leases().hold("test", resources).unwrap();
    let removed = remove_records(&stage.store, &before).unwrap();
    assert!(matches!(removed, Outcome::Changed), "{removed:?}");
    let commits = before.records.commits;
    let mut none = Collected::default();
    let garbage = Listing::of(&stage.store)
        .and_then(|listing| listing.garbage(&stage.store, &before))
        .unwrap();
    assert!(!remove_files(&stage.store, &garbage, commits, &mut none).unwrap());
    assert_eq!(none, Collected::default());
    assert_eq!(stage.counts(), [2, 1, 1]);
    collect(&stage.store).unwrap();
    assert!(
        stage.snapshots().stat(&chain).is_ok(),
        "by way of the manifest"
    );
    lease.end().unwrap();
    stage.collect();
    assert_eq!(stage.counts(), [0, 0, 0]);
}

#[test]
fn an_image_whose_time_is_over_goes() {
    let stage = Stage::new();
    stage.image("image");
    let expire = |t: &Transaction| {
        let image: Option<crate::meta::ImageRecord> = t.find(&stage.namespace, "image")?;
        let mut image = image.unwrap();
        image.labels = labels_of(&[(EXPIRE, &in_hours(-1))]);
        t.put(&stage.namespace, "image", &image)
    };
    stage.store.meta().write(expire).unwrap();
    stage.collect();
    assert_eq!(stage.counts(), [0, 0, 0]);
}

#[test]
fn snapshots_in_use_stay_with_what_they_stand_on() {
    let stage = Stage::new();
    let (_, chain, _) = stage.image("image");
    let snapshots = stage.snapshots();
    snapshots
        .prepare("used", Some(&chain), Labels::new())
        .unwrap();
    snapshots
        .prepare("unused", Some(&chain), Labels::new())
        .unwrap();
    let used = snapshots.mounts("used").unwrap().upper.unwrap().owner;
    let hold = snapshots.hold_active(&used).unwrap();
    stage.remove_image("image");
    collect(&stage.store).unwrap();
    let names: Vec<String> = snapshots
        .list()
        .unwrap()
        .into_iter()
        .map(|s| s.name)
        .collect();
    assert_eq!(names, [chain.as_str(), "used"]);
    drop(hold);
    stage.collect();
    assert_eq!(stage.counts(), [0, 0, 0]);
    assert_eq!(
        fs::read_dir(stage.store.root().join("snapshots"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_users_of_older_releases_have_made_stays() {
    let stage = Stage::new();
    let (_, chain, _) = stage.image("image");
    let snapshots = stage.snapshots();
    snapshots
        .prepare("active", Some(&chain), Labels::new())
        .unwrap();
    snapshots.prepare("key", None, Labels::new()).unwrap();
    snapshots.commit("committed", "key", Labels::new()).unwrap();
    // Older releases did not note it.
    let forget = |t: &Transaction| t.remove::<crate::meta::Roots>(&Namespace::shared(), "roots");
    stage.store.meta().write(forget).unwrap();
    stage.remove_image("image");
    survey(&stage.store).unwrap();
    assert!(
        snapshots.stat("active").unwrap().labels.is_empty(),
        "a look changes nothing"
    );
    stage.collect();
    for name in ["active", "committed"] {
        assert!(
            snapshots.stat(name).unwrap().labels.contains_key(ROOT),
            "{name}"
        );
    }
    snapshots.stat(&chain).unwrap();
    snapshots.prepare("later", None, Labels::new()).unwrap();
    stage.collect();
    assert!(
        snapshots.stat("later").is_err(),
        "of this release, without a label"
    );
}

#[test]
fn everything_alive_can_say_why() {
    let stage = Stage::new();
    let (manifest, chain, layer) = stage.image("image");
    let garbage = stage.blob(b"garbage", &[]);
    let survey = survey(&stage.store).unwrap();
    let why = |kind: NodeKind, id: &str| -> Vec<String> {
        let live = survey
            .live
            .iter()
            .find(|l| l.node == kind.node(id))
            .unwrap();
        live.why
            .iter()
            .map(|step| format!("{} {}", step.node.kind, step.link))
            .collect()
    };
    assert_eq!(why(NodeKind::Image, "image"), ["image an image"]);
    assert_eq!(why(NodeKind::Content, &manifest.to_string()).len(), 2);
    assert_eq!(
        why(NodeKind::Layer, &layer.to_string()),
        [
            "image an image",
            "content the target",
            "content containerd.io/gc.ref.content.config",
            "snapshot containerd.io/gc.ref.snapshot.mica",
            "layer the layer",
        ]
    );
    assert_eq!(why(NodeKind::Snapshot, &chain).len(), 4);
    let named: Vec<_> = survey
        .garbage
        .iter()
        .map(|g| (g.node.to_string(), g.size))
        .collect();
    let garbage = format!("content {garbage}");
    assert_eq!(named, [(garbage.clone(), None), (garbage, Some(7))]);
    assert_eq!(stage.counts()[0], 3, "nothing was removed");
}

//! A store of many small images, in the true layout, for measurements.
//!
//! `MICA_SCALE_STORE=DIR` names where a large one is made and kept (`scripts/scale-store`);
//! without, a small one is made and thrown away. An image is an index of nine platforms; four
//! of them are unpacked, in stacks of the same ten layers, and snapshots stand on them.

use std::io::Write as _;
use std::path::PathBuf;

use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use serde_json::json;

use crate::images::{self, Images};
use crate::labels;
use crate::meta::{ContentRecord, Labels, Namespace, SnapshotRecord, Transaction};
use crate::oci::{ChainId, Descriptor, DiffId, Digest, MediaType, Platform};
use crate::snapshots::{self, Snapshots};
use crate::store::Store;

/// The images of the large store.
const IMAGES: u32 = 200;
/// The platforms of an image, and those of them that are unpacked.
const PLATFORMS: u32 = 9;
const UNPACKED: u32 = 4;
/// The layers of an image; each platform has all but one of them, in its own order.
const LAYERS: u32 = 10;
/// The active snapshots and views on an image.
const PREPARED: u32 = 14;

/// An image that is being made: its blobs are there, their records not yet.
struct Draft<'s> {
    store: &'s Store,
    blobs: Vec<(Descriptor, Labels)>,
    chains: Vec<Vec<DiffId>>,
}

impl Draft<'_> {
    fn blob(&mut self, media_type: &str, bytes: &[u8], labels: Labels) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.store.content().write(&descriptor, bytes).unwrap();
        self.blobs.push((descriptor.clone(), labels));
        descriptor
    }

    fn platform(&mut self, number: u32, tars: &[Vec<u8>]) -> Descriptor {
        let mut platform = Platform::host();
        if number > 0 {
            platform.architecture = format!("other{number}");
        }
        let start = number as usize % tars.len();
        let order = tars.iter().cycle().skip(start).take(tars.len() - 1);
        let (mut layers, mut diff_ids, mut references) = (Vec::new(), Vec::new(), Labels::new());
        for (position, tar) in order.enumerate() {
            let diff_id = DiffId(Digest::sha256(tar));
            let uncompressed = ("containerd.io/uncompressed", diff_id.to_string());
            let media_type = format!("{}+gzip", MediaType::OCI_LAYER);
            let layer = self.blob(&media_type, &gzip(tar, number), label([uncompressed]));
            let key = format!("containerd.io/gc.ref.content.l.{position}");
            references.insert(key, layer.digest.to_string());
            layers.push(layer);
            diff_ids.push(diff_id);
        }
        let config = json!({
            "os": platform.os, "architecture": platform.architecture,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut refers = Labels::new();
        if number < UNPACKED {
            let chain = ChainId::chain(&diff_ids).pop().unwrap().to_string();
            refers = label([("containerd.io/gc.ref.snapshot.mica", chain)]);
            self.chains.push(diff_ids);
        }
        let config = self.blob(MediaType::OCI_CONFIG, config.to_string().as_bytes(), refers);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": config, "layers": layers,
        });
        let key = "containerd.io/gc.ref.content.config".to_owned();
        references.insert(key, config.digest.to_string());
        let bytes = manifest.to_string();
        let mut manifest = self.blob(MediaType::OCI_MANIFEST, bytes.as_bytes(), references);
        manifest.platform = Some(platform);
        manifest
    }
}

fn gzip(tar: &[u8], mtime: u32) -> Vec<u8> {
    let builder = GzBuilder::new().mtime(mtime);
    let mut encoder = builder.write(Vec::new(), Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn tar(image: u32, layer: u32) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in [
        (format!("etc/{image}/{layer}"), format!("{image} {layer}")),
        ("etc/motd".to_owned(), layer.to_string()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let content = content.as_bytes();
        builder.append_data(&mut header, path, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn label<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Makes one image with the snapshots on it; returns its name.
fn image(store: &Store, namespace: &Namespace, number: u32) -> String {
    let tars: Vec<Vec<u8>> = (0..LAYERS).map(|layer| tar(number, layer)).collect();
    for tar in &tars {
        let layers = store.layers();
        let mut unpacking = layers.unpack(&DiffId(Digest::sha256(tar))).unwrap();
        unpacking.push(tar).unwrap();
        unpacking.finish().unwrap();
    }
    let mut draft = Draft {
        store,
        blobs: Vec::new(),
        chains: Vec::new(),
    };
    let manifests: Vec<Descriptor> = (0..PLATFORMS).map(|p| draft.platform(p, &tars)).collect();
    let references = manifests.iter().enumerate().map(|(position, manifest)| {
        let key = format!("containerd.io/gc.ref.content.m.{position}");
        (key, manifest.digest.to_string())
    });
    let references = references.collect();
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": manifests,
    });
    let target = draft.blob(
        MediaType::OCI_INDEX,
        index.to_string().as_bytes(),
        references,
    );
    let name = format!("registry.example/scale/image-{number:03}:latest");
    store.layers().sync().unwrap();
    store.content().sync().unwrap();
    let commit = |transaction: &Transaction| {
        let now = Timestamp::now();
        for (Descriptor { digest, size, .. }, labels) in draft.blobs {
            let record = ContentRecord {
                digest: digest.clone(),
                size,
                labels,
                created: now,
                updated: now,
            };
            transaction.put(namespace, &digest.to_string(), &record)?;
        }
        for chain in &draft.chains {
            snapshots::commit_chain(transaction, namespace, chain)?;
        }
        images::record(transaction, namespace, &name, &target)
    };
    store.meta().write(commit).unwrap();
    let snapshots = Snapshots::new(store, namespace.clone());
    for prepared in 0..PREPARED {
        let chain = &draft.chains[prepared as usize % draft.chains.len()];
        let parent = ChainId::chain(chain).pop().unwrap().to_string();
        let key = format!("work-{number:03}-{prepared:02}");
        let make = match prepared % 2 {
            0 => Snapshots::prepare,
            _ => Snapshots::view,
        };
        // As those that a user makes; others a collection would remove.
        let root = label([(labels::ROOT, Timestamp::now().to_string())]);
        make(&snapshots, &key, Some(&parent), root).unwrap();
    }
    name
}

#[test]
fn a_store_of_many_images_has_all_that_they_consist_of() {
    let kept = std::env::var_os("MICA_SCALE_STORE").map(PathBuf::from);
    let dir = tempfile::tempdir().unwrap();
    let count = if kept.is_some() { IMAGES } else { 2 };
    let root = kept.unwrap_or_else(|| dir.path().join("store"));
    let store = Store::open(&root).unwrap();
    let namespace = Namespace::default();
    let names: Vec<String> = (0..count).map(|n| image(&store, &namespace, n)).collect();

    let (blobs, snapshots) = store
        .meta()
        .read(|transaction| {
            let blobs = transaction.list::<ContentRecord>(&namespace)?.len();
            let snapshots = transaction.list::<SnapshotRecord>(&namespace)?.len();
            Ok::<_, crate::meta::MetaError>((blobs, snapshots))
        })
        .unwrap();
    let count = count as usize;
    assert_eq!(blobs, count * 100);
    assert_eq!(store.content().digests().unwrap().len(), count * 100);
    assert_eq!(store.layers().list().unwrap().len(), count * 10);
    assert_eq!(snapshots, count * 50);
    let images = Images::new(store.meta(), store.content(), namespace);
    let listed = images.list().unwrap();
    assert_eq!(listed.len(), count);
    for (image, name) in listed.iter().zip(names) {
        assert_eq!(image.name, name);
        assert_eq!(images.contents(image).unwrap().manifest.layers.len(), 9);
    }
}

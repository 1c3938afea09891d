//! Pulls from a registry: what is asked of it, what is kept, and what is fetched again.

use std::fs;
use std::process::Stdio;

use mica::oci::{Descriptor, Digest, MediaType};
use serde_json::json;

use crate::layout::{Layout, noise, tar_of};
use crate::program::Mica;
use crate::support::{Answer, Registry};

/// A registry that has an image as `team/app:1`.
pub(crate) struct Hub {
    pub(crate) registry: Registry,
    pub(crate) name: String,
}

impl Hub {
    pub(crate) fn with(layout: &Layout) -> Self {
        let registry = Registry::start();
        let name = format!("{}/team/app:1", registry.host());
        let hub = Self { registry, name };
        hub.publish(layout, "team/app", "1");
        hub
    }

    /// Makes a repository have all that is in a layout, whose only image gets a tag.
    pub(crate) fn publish(&self, layout: &Layout, repository: &str, tag: &str) {
        for (digest, bytes) in layout.blobs() {
            let answer = Answer::ok(bytes).header("Docker-Content-Digest", digest.to_string());
            for kind in ["blobs", "manifests"] {
                let path = format!("/v2/{repository}/{kind}/{digest}");
                self.registry
                    .on(&format!("GET {path}"), [answer.clone()])
                    .on(&format!("HEAD {path}"), [answer.clone()]);
            }
        }
        let target = layout.target();
        let answer = Answer::ok(fs::read(layout.blob(&target.digest)).unwrap())
            .header("Content-Type", target.media_type.as_str())
            .header("Docker-Content-Digest", target.digest.to_string());
        self.registry
            .on(&format!("HEAD /v2/{repository}/manifests/{tag}"), [answer]);
    }

    /// How often something with this digest was asked for.
    pub(crate) fn gets(&self, digest: &Digest) -> usize {
        let end = digest.to_string();
        let lines = self.registry.lines();
        lines
            .iter()
            .filter(|line| line.starts_with("GET") && line.ends_with(&end))
            .count()
    }
}

fn has_blob(mica: &Mica, digest: &Digest) -> bool {
    mica.root()
        .join("content/blobs/sha256")
        .join(digest.hex())
        .exists()
}

fn two_layers() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", &noise(1, 10_000))]));
    layout.add_tar(&tar_of(&[("b", b"2")]));
    layout.finish();
    layout
}

#[test]
fn blobs_are_labelled_as_by_containerd() {
    let layout = two_layers();
    let hub = Hub::with(&layout);
    let mica = Mica::new();
    mica.ok(["pull", "-q", &hub.name]);
    let chain_id = mica.json(["image", "inspect", &hub.name])["chain_id"].clone();
    let source = (
        "containerd.io/distribution.source.127.0.0.1",
        json!("team/app"),
    );
    let target = layout.target().digest;
    let config = layout.config();
    let manifest_labels = json!({
        source.0: source.1,
        "containerd.io/gc.ref.content.config": config,
        "containerd.io/gc.ref.content.l.0": layout.layers[0].digest,
        "containerd.io/gc.ref.content.l.1": layout.layers[1].digest,
        "io.mica.source.registry": hub.name,
    });
    let layer_labels = json!({
        source.0: source.1,
        "containerd.io/uncompressed": layout.diff_ids[0],
    });
    let config_labels = json!({
        source.0: source.1,
        "containerd.io/gc.ref.snapshot.mica": chain_id,
    });
    let layer = layout.layers[0].digest.clone();
    for (digest, expected) in [
        (&target, manifest_labels),
        (&layer, layer_labels),
        (&config, config_labels),
    ] {
        let info = mica.json(["content", "info", &digest.to_string()]);
        assert_eq!(info["labels"], expected, "{digest}");
    }
    // The same blobs from another repository.
    hub.publish(&layout, "a/copy", "2");
    let copy = format!("{}/a/copy:2", hub.registry.host());
    mica.ok(["pull", "-q", &copy]);
    let info = mica.json(["content", "info", &layer.to_string()]);
    assert_eq!(info["labels"][source.0], "a/copy,team/app");
}

#[test]
fn a_complete_image_costs_one_question() {
    let hub = Hub::with(&two_layers());
    let mica = Mica::new();
    mica.ok(["pull", "-q", &hub.name]);
    let before = hub.registry.lines().len();
    mica.ok(["pull", "-q", &hub.name]);
    let lines = hub.registry.lines();
    assert_eq!(lines[before..], ["HEAD /v2/team/app/manifests/1"]);
    let events = mica.ok(["events", "--no-follow"]);
    let images: Vec<&str> = events
        .lines()
        .filter(|line| line.contains(" /images/"))
        .collect();
    assert!(images[0].contains("/images/create"), "{events}");
    assert!(
        images[1].contains("/images/update"),
        "as containerd tells it: {events}"
    );
    let record = &mica.json(["images"])[0];
    assert_ne!(record["updated"], record["created"]);
}

#[test]
fn what_was_only_fetched_is_unpacked_later() {
    let layout = two_layers();
    let hub = Hub::with(&layout);
    let mica = Mica::new();
    mica.ok(["pull", "-q", "--no-unpack", &hub.name]);
    assert_eq!(mica.json(["layer", "ls"]), json!([]));
    assert_eq!(mica.json(["snapshot", "ls"]), json!([]));
    assert_eq!(mica.json(["content", "ls"]).as_array().unwrap().len(), 4);
    let info = mica.json(["content", "info", &layout.layers[0].digest.to_string()]);
    assert!(info["labels"]["containerd.io/uncompressed"].is_null());
    let before = hub.registry.lines().len();
    let chain_id = mica.ok(["image", "unpack", &hub.name]);
    assert_eq!(hub.registry.lines().len(), before, "nothing is fetched");
    mica.ok(["layer", "verify"]);
    assert!(mica.json(["snapshot", "info", chain_id.trim()]).is_object());
    let info = mica.json(["content", "info", &layout.layers[0].digest.to_string()]);
    assert_eq!(
        info["labels"]["containerd.io/uncompressed"],
        json!(layout.diff_ids[0])
    );
}

#[test]
fn a_snapshot_can_stand_on_an_image_that_was_only_fetched() {
    let hub = Hub::with(&two_layers());
    let mica = Mica::new();
    mica.ok(["pull", "-q", "--no-unpack", &hub.name]);
    mica.ok(["snapshot", "prepare", "work", &hub.name]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 2);
    assert_eq!(mica.json(["snapshot", "ls"]).as_array().unwrap().len(), 3);
}

#[test]
fn discarded_blobs_are_fetched_again_when_they_are_needed() {
    let layout = two_layers();
    let hub = Hub::with(&layout);
    let mica = Mica::new();
    mica.ok(["pull", "-q", "--discard", &hub.name]);
    let layer = &layout.layers[0].digest;
    assert!(!has_blob(&mica, layer));
    assert_eq!(mica.json(["content", "ls"]).as_array().unwrap().len(), 2);
    mica.ok(["layer", "verify"]);
    mica.ok(["pull", "-q", &hub.name]);
    assert_eq!(hub.gets(layer), 1, "the layer is there");
    fs::remove_dir_all(mica.root().join("layers")).unwrap();
    mica.ok(["image", "unpack", &hub.name]);
    assert_eq!(hub.gets(layer), 2);
    mica.ok(["layer", "verify"]);
    assert!(
        mica.json(["content", "info", &layer.to_string()])
            .is_object()
    );
}

#[test]
fn discarded_blobs_of_a_layout_are_found_there_again() {
    let layout = two_layers();
    let mica = Mica::new();
    mica.ok(["pull", "-q", "--discard", &layout.source()]);
    assert!(!has_blob(&mica, &layout.layers[0].digest));
    fs::remove_dir_all(mica.root().join("layers")).unwrap();
    let image = mica.json(["images"])[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    mica.ok(["image", "unpack", &image]);
    mica.ok(["layer", "verify"]);
}

#[test]
fn blobs_that_another_image_has_too_are_not_discarded() {
    let base = tar_of(&[("base", &noise(1, 10_000))]);
    let mut first = Layout::new();
    let shared = first.add_tar(&base);
    first.finish();
    let mut second = Layout::new();
    second.add_tar(&base);
    let own = second.add_tar(&tar_of(&[("own", b"2")]));
    second.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &first.source()]);
    mica.ok(["pull", "-q", "--discard", &second.source()]);
    assert!(has_blob(&mica, &shared.digest));
    assert!(!has_blob(&mica, &own.digest));
}

#[test]
fn a_blob_whose_source_is_gone_is_an_error_that_names_it() {
    let layout = two_layers();
    let mica = Mica::new();
    mica.ok(["pull", "-q", "--discard", &layout.source()]);
    let image = mica.json(["images"])[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    drop(layout);
    fs::remove_dir_all(mica.root().join("layers")).unwrap();
    let error = mica.fails(["image", "unpack", &image]);
    assert!(error.contains("is missing or damaged"), "{error}");
}

#[test]
fn images_that_share_a_layer_fetch_it_once() {
    let base = tar_of(&[("base", &noise(7, 3_000_000))]);
    let layouts: Vec<_> = (0..3_u8)
        .map(|number| {
            let mut layout = Layout::new();
            layout.add_tar(&base);
            layout.add_tar(&tar_of(&[("own", &[number])]));
            layout.finish();
            layout
        })
        .collect();
    let hub = Hub::with(&layouts[0]);
    let mica = Mica::new();
    let pulls: Vec<_> = layouts
        .iter()
        .enumerate()
        .map(|(number, layout)| {
            hub.publish(layout, &format!("team/{number}"), "1");
            let name = format!("{}/team/{number}:1", hub.registry.host());
            // The last one does not unpack.
            let mode = [
                "--max-concurrent-unpacks=1",
                "--max-concurrent-downloads=1",
                "--no-unpack",
            ][number];
            let mut pull = mica.command(["pull", "-q", mode, &name]);
            pull.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut pull in pulls {
        assert!(pull.wait().unwrap().success());
    }
    assert_eq!(hub.gets(&layouts[0].layers[0].digest), 1);
    mica.ok(["layer", "verify"]);
}

#[test]
fn inline_data_is_not_fetched() {
    let mut layout = two_layers();
    // The config's own bytes, in base64, and a lie for the layer.
    layout.inline_config = true;
    layout.layers[1].data = Some("YWJj".to_owned());
    layout.finish();
    let hub = Hub::with(&layout);
    let mica = Mica::new();
    mica.ok(["pull", "-q", &hub.name]);
    assert_eq!(hub.gets(&layout.config()), 0);
    assert_eq!(hub.gets(&layout.layers[1].digest), 1);
}

#[test]
fn a_mirror_that_sends_other_bytes_is_passed_over() {
    let layout = two_layers();
    let hub = Hub::with(&layout);
    let mirror = Registry::start();
    for layer in &layout.layers {
        let mut bytes = fs::read(layout.blob(&layer.digest)).unwrap();
        bytes[3] ^= 1;
        let path = format!("GET /v2/team/app/blobs/{}", layer.digest);
        mirror.on(&path, [Answer::ok(bytes)]);
    }
    let hosts = tempfile::tempdir().unwrap();
    let dir = hosts.path().join(hub.registry.host());
    fs::create_dir(&dir).unwrap();
    fs::write(
        dir.join("hosts.toml"),
        format!("[host.\"{}\"]\n", mirror.url("")),
    )
    .unwrap();
    let mica = Mica::new();
    let hosts = hosts.path().to_str().unwrap();
    for mode in ["--no-unpack", "--max-concurrent-downloads=1"] {
        let mica = Mica::new();
        mica.ok(["pull", "-q", mode, "--hosts-dir", hosts, &hub.name]);
        mica.ok(["image", "unpack", &hub.name]);
        mica.ok(["layer", "verify"]);
    }
    assert_eq!(hub.gets(&layout.layers[0].digest), 2);
    fs::write(dir.join("hosts.toml"), "[host\n").unwrap();
    let error = mica.fails(["pull", "-q", "--hosts-dir", hosts, &hub.name]);
    assert!(error.contains("hosts.toml is not valid TOML"), "{error}");
}

#[test]
fn a_foreign_layer_is_fetched_from_its_url() {
    let mut layout = two_layers();
    let hub = Hub::with(&Layout::new().finished());
    let foreign = layout.layers[0].clone();
    layout.layers[0] = Descriptor {
        media_type: MediaType::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        urls: vec![hub.registry.url("/elsewhere")],
        ..foreign.clone()
    };
    layout.finish();
    let bytes = fs::read(layout.blob(&foreign.digest)).unwrap();
    hub.registry.on("GET /elsewhere", [Answer::ok(bytes)]);
    hub.publish(&layout, "team/app", "1");
    hub.registry.on(
        &format!("GET /v2/team/app/blobs/{}", foreign.digest),
        [Answer::status(404)],
    );
    let mica = Mica::new();
    mica.ok(["pull", "-q", &hub.name]);
    mica.ok(["layer", "verify"]);
}

//! Indexes of several platforms: which images are fetched, which unpacked.

use mica::oci::{Descriptor, Digest, MediaType, Platform};
use serde_json::json;

use crate::layout::{Layout, tar_of};
use crate::program::Mica;

/// A layout of an index with an image for this machine, two for others, and an attestation.
struct Index {
    layout: Layout,
    /// The layer of each image, in the order of the index.
    layers: Vec<Descriptor>,
    attestation: Digest,
}

const OTHERS: [&str; 2] = ["linux/s390x", "linux/riscv64"];

impl Index {
    fn new() -> Self {
        let mut layout = Layout::new();
        let host = Platform::host().to_string();
        let mut children = Vec::new();
        let mut layers = Vec::new();
        for platform in [host.as_str()].into_iter().chain(OTHERS) {
            let platform: Platform = platform.parse().unwrap();
            let tar = tar_of(&[("platform", platform.to_string().as_bytes())]);
            (layout.layers, layout.diff_ids) = (Vec::new(), Vec::new());
            layers.push(layout.add_tar(&tar));
            layout.platform = platform.clone();
            layout.finish();
            children.push(Descriptor {
                platform: Some(platform),
                ..layout.target()
            });
        }
        let statement = layout.add_blob("application/vnd.in-toto+json", b"{}");
        let config = layout.add_blob(MediaType::OCI_CONFIG, b"{ }");
        let attestation = json!({
            "schemaVersion": 2, "config": config, "layers": [statement],
        });
        let attestation =
            layout.add_blob(MediaType::OCI_MANIFEST, attestation.to_string().as_bytes());
        children.push(Descriptor {
            platform: Some(Platform {
                os: "unknown".to_owned(),
                architecture: "unknown".to_owned(),
                variant: String::new(),
            }),
            ..attestation
        });
        let index = json!({"schemaVersion": 2, "manifests": children});
        layout.point_to(MediaType::OCI_INDEX, index.to_string().as_bytes());
        Self {
            layout,
            layers,
            attestation: statement.digest,
        }
    }

    fn has(&self, mica: &Mica) -> Vec<bool> {
        let blobs = mica.json(["content", "ls"]).to_string();
        let has = |layer: &Descriptor| blobs.contains(layer.digest.hex());
        self.layers.iter().map(has).collect()
    }
}

fn unpacked(mica: &Mica) -> usize {
    mica.json(["layer", "ls"]).as_array().unwrap().len()
}

#[test]
fn one_platform_is_fetched_unless_more_are_asked_for() {
    let index = Index::new();
    let source = index.layout.source();
    let table: [(&[&str], [bool; 3], usize); 4] = [
        (&[], [true, false, false], 1),
        (&["--platform", OTHERS[0]], [false, true, false], 1),
        (
            &["--platform", OTHERS[1], "--platform", OTHERS[0]],
            [false, true, true],
            2,
        ),
        (&["--all-platforms"], [true, true, true], 1),
    ];
    for (options, expected, layers) in table {
        let mica = Mica::new();
        let arguments = [&["pull", "-q", &source], options].concat();
        mica.ok(arguments);
        assert_eq!(index.has(&mica), expected, "{options:?}");
        assert_eq!(unpacked(&mica), layers, "{options:?}");
    }
}

#[test]
fn all_platforms_come_with_what_is_said_about_them() {
    let index = Index::new();
    let mica = Mica::new();
    mica.ok(["pull", "-q", "--all-platforms", &index.layout.source()]);
    let count = |mica: &Mica| mica.json(["content", "ls"]).as_array().unwrap().len();
    assert_eq!(count(&mica), 1 + 3 * 3 + 3);
    let target = index.layout.target().digest;
    let labels = mica.json(["content", "info", &target.to_string()])["labels"].clone();
    for key in ["m.0", "m.1", "m.2", "m.3"] {
        assert!(
            labels[format!("containerd.io/gc.ref.content.{key}")].is_string(),
            "{labels}"
        );
    }
    mica.ok(["content", "info", &index.attestation.to_string()]);
    let image = mica.json(["images"])[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    mica.ok(["image", "unpack", &image, "--platform", OTHERS[0]]);
    assert_eq!(unpacked(&mica), 2);
    // A further name keeps everything.
    mica.ok(["image", "tag", &image, "localhost/other:1"]);
    mica.ok(["image", "rm", &image]);
    assert_eq!(count(&mica), 1 + 3 * 3 + 3);
    mica.ok(["image", "rm", "localhost/other:1"]);
    assert_eq!(count(&mica), 0);
}

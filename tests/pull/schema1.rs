//! Images of Docker's first schema.

use flate2::Compression;
use mica::oci::Digest;
use serde_json::json;

use crate::layout::{gzip, tar_of};
use crate::program::Mica;
use crate::support::{Answer, Registry};

const TYPE: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

#[test]
fn an_image_of_the_first_schema_is_converted_when_that_is_asked_for() {
    let registry = Registry::start();
    let layers = ["base", "top"].map(|name| tar_of(&[(name, name.as_bytes())]));
    let blobs = layers.each_ref().map(|tar| gzip(tar, Compression::fast()));
    for blob in &blobs {
        let path = format!("/v2/old/app/blobs/{}", Digest::sha256(blob));
        registry
            .on(&format!("GET {path}"), [Answer::ok(blob.clone())])
            .on(&format!("HEAD {path}"), [Answer::ok(blob.clone())]);
    }
    let sums = blobs.each_ref().map(|blob| Digest::sha256(blob));
    let architecture = mica::oci::Platform::host().architecture;
    let top = json!({"id": "2", "os": "linux", "architecture": architecture});
    let empty = json!({"id": "1", "throwaway": true});
    let base = json!({"id": "0", "container_config": {"Cmd": ["make"]}});
    let entry = |value: serde_json::Value| json!({"v1Compatibility": value.to_string()});
    let manifest = json!({
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": sums[1]}, {"blobSum": Digest::sha256(b"")}, {"blobSum": sums[0]}],
        "history": [entry(top), entry(empty), entry(base)],
    })
    .to_string();
    let digest = Digest::sha256(manifest.as_bytes());
    let answer = Answer::ok(manifest)
        .header("Content-Type", TYPE)
        .header("Docker-Content-Digest", digest.to_string());
    registry
        .on("HEAD /v2/old/app/manifests/1", [answer.clone()])
        .on(&format!("GET /v2/old/app/manifests/{digest}"), [answer]);
    let name = format!("{}/old/app:1", registry.host());

    let mica = Mica::new();
    let error = mica.fails(["pull", "-q", &name]);
    assert!(error.contains("--schema1"), "{error}");
    mica.assert_nothing_visible("without the option");

    for _ in 0..2 {
        mica.ok(["pull", "-q", "--schema1", &name]);
        let image = mica.json(["image", "inspect", &name]);
        let expected = layers.each_ref().map(|tar| Digest::sha256(tar));
        assert_eq!(image["config"]["rootfs"]["diff_ids"], json!(expected));
        assert_eq!(
            image["image"]["labels"]["io.containerd.image/converted-docker-schema1"],
            json!(digest)
        );
        mica.ok(["layer", "verify"]);
    }
    let gets = |sum: &Digest| {
        let lines = registry.lines();
        let is_get = |line: &&String| line.starts_with("GET") && line.ends_with(&sum.to_string());
        lines.iter().filter(is_get).count()
    };
    assert_eq!(sums.each_ref().map(gets), [1, 1]);
}

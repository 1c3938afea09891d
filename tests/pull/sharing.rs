//! What is there is neither fetched nor unpacked again, by whomever it was brought.

use std::fs;

use crate::layout::{Layout, noise, tar_of};
use crate::program::{Mica, count};

#[test]
fn a_second_image_fetches_only_what_is_new() {
    let base = tar_of(&[("base", &noise(1, 10_000))]);
    let mut first = Layout::new();
    first.add_tar(&base);
    first.finish();
    let mut second = Layout::new();
    let shared = second.add_tar(&base);
    second.add_tar(&tar_of(&[("new", b"2")]));
    second.finish();
    // Not there to be fetched again.
    fs::remove_file(second.blob(&shared.digest)).unwrap();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &first.source()]);
    mica.ok(["pull", "-q", &second.source()]);
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 2);
}

#[test]
fn isolated_namespaces_fetch_for_themselves_what_none_of_them_shares() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("a", &noise(1, 10_000))]));
    layout.finish();
    let blob = layout.blob(&layer.digest);
    let away = blob.with_extension("away");
    let mica = Mica::new();
    let pull = |namespace: &str| {
        let words = ["-n", namespace, "pull", "-q", &layout.source()];
        mica.run(words).status.success()
    };
    assert!(pull("first"));
    let set = mica.ok(["namespace", "policy", "isolated"]);
    assert_eq!(set, "policy:  isolated\n");
    fs::rename(&blob, &away).unwrap();
    assert!(!pull("second"), "what only another has");
    assert!(pull("first"), "what it has itself");
    fs::rename(&away, &blob).unwrap();
    assert!(pull("second"));
    fs::rename(&blob, &away).unwrap();
    assert!(pull("second"), "what it has brought");
    let shareable = "containerd.io/namespace.shareable=true";
    mica.ok(["namespace", "label", "first", shareable]);
    assert!(pull("third"), "what one of them shares");
    assert_eq!(mica.json(["layer", "ls"]).as_array().unwrap().len(), 1);
    mica.ok([
        "namespace",
        "label",
        "first",
        "containerd.io/namespace.shareable=",
    ]);
    assert!(!pull("fourth"));
    mica.ok(["namespace", "policy", "shared"]);
    assert!(pull("fourth"));
}

#[test]
fn a_blob_without_its_layer_is_unpacked_from_the_store() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("a", &noise(1, 10_000))]));
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    fs::remove_dir_all(mica.root().join("layers")).unwrap();
    fs::remove_file(layout.blob(&layer.digest)).unwrap();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["layer", "verify"]);
}

#[test]
fn a_damaged_blob_is_fetched_anew() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("a", &noise(1, 10_000))]));
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    fs::remove_dir_all(mica.root().join("layers")).unwrap();
    let blob = mica
        .root()
        .join("content/blobs/sha256")
        .join(layer.digest.hex());
    let size = usize::try_from(layer.size).unwrap();
    fs::write(&blob, vec![0; size]).unwrap();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["layer", "verify"]);
    assert_eq!(
        fs::read(&blob).unwrap(),
        fs::read(layout.blob(&layer.digest)).unwrap()
    );
}

#[test]
fn pulls_at_the_same_time_share_the_work() {
    let mut layout = Layout::new();
    for seed in 0..4 {
        layout.add_tar(&tar_of(&[("file", &noise(seed, 1_000_000))]));
    }
    layout.finish();
    let mica = Mica::new();
    let pulls: Vec<_> = (0..4)
        .map(|_| {
            let mut command = mica.command(["pull", &layout.source()]);
            command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut unpacked = 0;
    for pull in pulls {
        let output = pull.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        unpacked += log.lines().filter(|line| line.ends_with(": done")).count();
    }
    assert_eq!(unpacked, 4, "each layer is unpacked by one of them");
    assert_eq!(mica.json(["images"]).as_array().unwrap().len(), 1);
    mica.ok(["layer", "verify"]);
}

#[test]
fn removal_frees_what_no_other_image_needs() {
    let base = tar_of(&[("base", &noise(1, 10_000))]);
    let mut layouts = Vec::new();
    for seed in 2..4 {
        let mut layout = Layout::new();
        layout.add_tar(&base);
        layout.add_tar(&tar_of(&[("own", &noise(seed, 10_000))]));
        layouts.push((layout.finish(), layout));
    }
    let mica = Mica::new();
    for (_, layout) in &layouts {
        mica.ok(["pull", "-q", &layout.source()]);
    }
    let layers = |mica: &Mica| mica.json(["layer", "ls"]).as_array().unwrap().len();
    assert_eq!(layers(&mica), 3);
    for (left, (manifest, _)) in [2, 0].into_iter().zip(&layouts) {
        let removed = mica.ok(["image", "rm", manifest.hex()]);
        assert!(removed.starts_with("removed "), "{removed}");
        assert_eq!(layers(&mica), left);
        assert_eq!(
            mica.json(["snapshot", "ls"]).as_array().unwrap().len(),
            left
        );
        if left > 0 {
            mica.ok(["layer", "verify"]);
        }
    }
    assert_eq!(count(&mica.root().join("content/blobs/sha256")), 0);
}

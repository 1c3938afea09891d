//! Pulls that are killed, and machines that stop: the old or the new state, and the
//! next pull goes on where the last one was.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use crate::layout::{Layout, noise, tar_of};
use crate::mounting::can_mount;
use crate::program::Mica;

#[test]
fn a_partial_download_is_not_fetched_again() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", &noise(1, 2_000_000))]));
    layout.finish();
    let path = layout.blob(&layer.digest);
    let mut bytes = fs::read(&path).unwrap();
    let mica = Mica::new();
    let ingest = mica.ingest(&layer.digest);
    mica.ok(["images"]);
    fs::create_dir(&ingest).unwrap();
    let (front, _) = bytes.split_at_mut(1_000_000);
    fs::write(ingest.join("data"), &front).unwrap();
    // Were the front fetched again, the digest would be wrong.
    front.fill(0);
    fs::write(&path, &bytes).unwrap();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["layer", "verify"]);
    assert!(!ingest.exists());
}

#[test]
fn a_wrong_partial_download_is_thrown_away() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", &noise(1, 100_000))]));
    layout.finish();
    let size = usize::try_from(layer.size).unwrap();
    for (why, partial) in [
        ("zeros", vec![0; 1000]),
        ("too long", vec![1; size + 1]),
        ("whole", vec![1; size]),
    ] {
        let mica = Mica::new();
        let ingest = mica.ingest(&layer.digest);
        mica.ok(["images"]);
        fs::create_dir(&ingest).unwrap();
        fs::write(ingest.join("data"), partial).unwrap();
        let output = mica.run(["pull", "-q", &layout.source()]);
        assert!(
            output.status.success(),
            "{why}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        mica.ok(["layer", "verify"]);
    }
}

#[test]
fn a_layer_that_did_not_reach_the_disk_is_made_anew() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", &noise(1, 100_000))]));
    layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    let path = mica
        .root()
        .join("layers/sha256")
        .join(layout.diff_ids[0].hex());
    fs::write(path.join("boot"), "another boot").unwrap();
    let size = usize::try_from(fs::metadata(path.join("data")).unwrap().len()).unwrap();
    fs::write(path.join("data"), vec![0; size]).unwrap();
    fs::remove_file(layout.blob(&layer.digest)).unwrap();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["layer", "verify"]);
}

#[test]
fn a_mount_makes_a_layer_anew_that_did_not_reach_the_disk() {
    if !can_mount() {
        return;
    }
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", &noise(1, 100_000))]));
    let manifest = layout.finish();
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    let path = mica
        .root()
        .join("layers/sha256")
        .join(layout.diff_ids[0].hex());
    let point = tempfile::tempdir().unwrap();
    for (why, data) in [("whole", false), ("lost", true)] {
        fs::remove_file(path.join("synced")).ok();
        fs::write(path.join("boot"), "another boot").unwrap();
        if data {
            let size = usize::try_from(fs::metadata(path.join("data")).unwrap().len()).unwrap();
            fs::write(path.join("data"), vec![0; size]).unwrap();
        }
        mica.ok([Path::new("mount"), Path::new(manifest.hex()), point.path()]);
        let content = fs::read(point.path().join("file")).unwrap();
        assert_eq!(content, noise(1, 100_000), "{why}");
        mica.ok([Path::new("umount"), point.path()]);
        mica.ok(["layer", "verify"]);
    }
    // Without the blob it is fetched again, and without its source there is nothing to make it
    // from.
    let blob = mica.root().join("content/blobs/sha256");
    let blob = blob.join(layer.digest.hex());
    fs::remove_file(path.join("synced")).ok();
    fs::write(path.join("boot"), "another boot").unwrap();
    fs::remove_file(path.join("index")).unwrap();
    fs::remove_file(&blob).unwrap();
    mica.ok([Path::new("mount"), Path::new(manifest.hex()), point.path()]);
    mica.ok([Path::new("umount"), point.path()]);
    drop(layout);
    fs::remove_file(path.join("synced")).ok();
    fs::write(path.join("boot"), "another boot").unwrap();
    fs::remove_file(path.join("index")).unwrap();
    fs::remove_file(&blob).unwrap();
    let error = mica.fails([Path::new("mount"), Path::new(manifest.hex()), point.path()]);
    assert!(error.contains("is missing or damaged"), "{error}");
    assert!(error.contains("hint: pull the image again"), "{error}");
}

#[test]
fn killed_pulls_leave_the_old_or_the_new_state() {
    let mut layout = Layout::new();
    for seed in 0..4 {
        layout.add_tar(&tar_of(&[("file", &noise(seed, 1_500_000))]));
    }
    layout.finish();
    let start = Instant::now();
    Mica::new().ok(["pull", "-q", &layout.source()]);
    let usual = start.elapsed();
    let mut whole = 0;
    for turn in 0_u32..10 {
        let mica = Mica::new();
        for kill in 0..3 {
            let mut command = mica.command(["pull", "-q", &layout.source()]);
            let mut pull = command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(usual.mul_f64(f64::from(turn * 3 + kill) / 25.0));
            // SIGKILL; the process may have ended by itself.
            pull.kill().unwrap();
            pull.wait().unwrap();
            let images = mica.json(["images"]).as_array().unwrap().len();
            let snapshots = mica.json(["snapshot", "ls"]).as_array().unwrap().len();
            assert!(
                matches!((images, snapshots), (0, 0) | (1, 4)),
                "{images} {snapshots}"
            );
            mica.ok(["check"]);
            whole += images;
        }
        mica.ok(["pull", "-q", &layout.source()]);
        mica.ok(["check"]);
        assert_eq!(fs::read_dir(mica.root().join("tmp")).unwrap().count(), 0);
        assert_eq!(
            fs::read_dir(mica.root().join("content/ingests"))
                .unwrap()
                .count(),
            0
        );
    }
    println!("{whole} of 30 pulls were done before they were killed");
}

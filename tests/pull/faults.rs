//! Bad input and full disks: a clear error, nothing visible, nothing lost.

use std::fs;
use std::process::Command;

use flate2::Compression;
use mica::oci::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use crate::layout::{Layout, gzip, noise, tar_of};
use crate::program::Mica;

/// Pulls an image with one good layer and one that `spoil` makes bad.
fn pull_spoilt(spoil: impl FnOnce(&mut Layout)) -> (Mica, String) {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("good", b"1")]));
    spoil(&mut layout);
    layout.finish();
    let mica = Mica::new();
    let error = mica.fails(["pull", "-q", &layout.source()]);
    (mica, error)
}

#[test]
fn a_bad_layer_fails_the_pull_and_leaves_nothing_visible() {
    type Spoil = fn(&mut Layout);
    let table: [(&str, Spoil, &str); 9] = [
        (
            "other bytes of the same size",
            |layout| {
                let layer = layout.add_tar(&tar_of(&[("bad", b"2")]));
                let path = layout.blob(&layer.digest);
                let mut bytes = fs::read(&path).unwrap();
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            "has the wrong content",
        ),
        (
            "a blob that is too short",
            |layout| {
                let layer = layout.add_tar(&tar_of(&[("bad", b"2")]));
                let path = layout.blob(&layer.digest);
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
            },
            "bytes",
        ),
        (
            "a descriptor that gives another size",
            |layout| {
                layout.add_tar(&tar_of(&[("bad", b"2")]));
                layout.layers[1].size += 1;
            },
            "bytes",
        ),
        (
            "gzip cut short",
            |layout| {
                let tar = tar_of(&[("bad", &noise(1, 5000))]);
                let blob = gzip(&tar, Compression::fast());
                layout.add_layer("+gzip", &tar, &blob[..blob.len() / 2]);
            },
            "decompress layer",
        ),
        (
            "garbage behind gzip",
            |layout| {
                let tar = tar_of(&[("bad", b"2")]);
                let blob = [&gzip(&tar, Compression::fast())[..], b"garbage"].concat();
                layout.add_layer("+gzip", &tar, &blob);
            },
            "decompress layer",
        ),
        (
            "corrupt zstd",
            |layout| {
                let tar = tar_of(&[("bad", &noise(2, 5000))]);
                let blob = zstd::encode_all(&tar[..], 3).unwrap();
                layout.add_layer("+zstd", &tar, &blob[..blob.len() - 9]);
            },
            "decompress layer",
        ),
        (
            "a tar cut short",
            |layout| {
                let tar = tar_of(&[("bad", &[1; 5000])]);
                layout.add_tar(&tar[..2000]);
            },
            "layer sha256:",
        ),
        (
            "no tar at all",
            |layout| {
                layout.add_tar(&noise(3, 4096));
            },
            "layer sha256:",
        ),
        (
            "another diff ID",
            |layout| {
                layout.add_tar(&tar_of(&[("bad", b"2")]));
                layout.diff_ids[1] = Digest::sha256(b"something else");
            },
            "has the wrong content: its diff ID is",
        ),
    ];
    for (why, spoil, message) in table {
        let (mica, error) = pull_spoilt(spoil);
        assert!(error.contains(message), "{why}: {error}");
        mica.assert_nothing_visible(why);
    }
}

#[test]
fn layers_and_diff_ids_must_pair_up() {
    let (mica, error) = pull_spoilt(|layout| drop(layout.diff_ids.pop()));
    assert!(
        error.contains("the manifest has 1 layers, but the config"),
        "{error}"
    );
    mica.assert_nothing_visible("fewer");
    let (mica, error) = pull_spoilt(|layout| layout.diff_ids.push(Digest::sha256(b"x")));
    assert!(
        error.contains("the manifest has 1 layers, but the config"),
        "{error}"
    );
    mica.assert_nothing_visible("more");
}

#[test]
fn documents_that_cannot_be_used_are_told_from_each_other() {
    type Change = fn(&mut Value, &str);
    let host = mica::oci::Platform::host().architecture;
    let other = if host == "s390x" { "amd64" } else { "s390x" };
    let table: [(&str, &str, Change, &str); 6] = [
        (
            "a layer of an unknown media type",
            MediaType::OCI_MANIFEST,
            |manifest, _| manifest["layers"][0]["mediaType"] = json!("text/html"),
            "media type \"text/html\" is not supported for",
        ),
        (
            "a document of an unknown media type",
            "application/vnd.example",
            |_, _| {},
            "its index names no image",
        ),
        (
            "a manifest that says it is an index",
            MediaType::OCI_MANIFEST,
            |manifest, _| manifest["mediaType"] = json!(MediaType::OCI_INDEX),
            "it was announced as",
        ),
        (
            "a manifest with manifests",
            MediaType::OCI_MANIFEST,
            |manifest, _| manifest["manifests"] = json!([]),
            "it was announced as",
        ),
        (
            "a manifest that is too large",
            MediaType::OCI_MANIFEST,
            |manifest, _| manifest["annotations"] = json!({"a": "b".repeat(5 << 20)}),
            "more than the",
        ),
        (
            "an index for other platforms",
            MediaType::OCI_INDEX,
            |document, other| {
                let bytes = document.to_string();
                let mut child = json!(Descriptor::of(MediaType::OCI_MANIFEST, bytes.as_bytes()));
                child["platform"] = json!({"os": "linux", "architecture": other});
                *document = json!({
                    "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [child],
                });
            },
            "no image for platform linux/",
        ),
    ];
    for (why, media_type, change, message) in table {
        let mut layout = Layout::new();
        layout.add_tar(&tar_of(&[("file", b"1")]));
        let manifest = fs::read(layout.blob(&layout.finish())).unwrap();
        let mut document = serde_json::from_slice(&manifest).unwrap();
        change(&mut document, other);
        layout.point_to(media_type, document.to_string().as_bytes());
        let mica = Mica::new();
        let error = mica.fails(["pull", "-q", &layout.source()]);
        assert!(error.contains(message), "{why}: {error}");
        mica.assert_nothing_visible(why);
    }
}

#[test]
fn a_failed_pull_succeeds_when_the_cause_is_gone() {
    let mut layout = Layout::new();
    let layer = layout.add_tar(&tar_of(&[("file", &noise(4, 100_000))]));
    layout.finish();
    let path = layout.blob(&layer.digest);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let mica = Mica::new();
    mica.fails(["pull", "-q", &layout.source()]);
    fs::write(&path, &whole).unwrap();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["layer", "verify"]);
}

/// A tmpfs of a given size, unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(dir.path())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self(dir))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(self.0.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_is_told_and_the_pull_goes_on_later() {
    let mut layout = Layout::new();
    for seed in 0..3 {
        layout.add_tar(&tar_of(&[("file", &noise(seed, 2_000_000))]));
    }
    layout.finish();
    // Too little for the blobs, for blobs and some layers, and for the last layer.
    for size in ["2m", "5m", "11m"] {
        let Some(disk) = SmallDisk::mount(size) else {
            eprintln!("skipped: mounting a tmpfs is not allowed here");
            return;
        };
        let mica = Mica::at(disk.0.path().join("store"));
        let error = mica.fails(["pull", "-q", &layout.source()]);
        assert!(error.contains("No space left on device"), "{size}: {error}");
        assert!(error.contains("hint: free some space"), "{size}: {error}");
        disk.resize("40m");
        mica.assert_nothing_visible(size);
        mica.ok(["pull", "-q", &layout.source()]);
        mica.ok(["layer", "verify"]);
    }
}

#[test]
fn a_bomb_fills_the_disk_and_nothing_else() {
    // A file of one byte over and over, a thousand times as large as what it is fetched as. Zeros
    // would become holes.
    const SIZE: u64 = 256 << 20;
    let encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    let mut builder = tar::Builder::new(encoder);
    let mut header = tar::Header::new_gnu();
    header.set_size(SIZE);
    header.set_mode(0o644);
    let ones = std::io::Read::take(std::io::repeat(1), SIZE);
    builder.append_data(&mut header, "bomb", ones).unwrap();
    let blob = builder.into_inner().unwrap().finish().unwrap();
    assert!(blob.len() < 1 << 20);
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("good", b"1")]));
    layout.add_layer("+gzip", b"what it is does not matter", &blob);
    layout.finish();
    let Some(disk) = SmallDisk::mount("32m") else {
        eprintln!("skipped: mounting a tmpfs is not allowed here");
        return;
    };
    let mica = Mica::at(disk.0.path().join("store"));
    let error = mica.fails(["pull", "-q", &layout.source()]);
    assert!(error.contains("No space left on device"), "{error}");
    mica.assert_nothing_visible("the bomb");
}

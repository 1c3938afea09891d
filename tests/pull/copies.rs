//! `mica export` and `mica import`: what comes out, and that it comes back.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use flate2::Compression;
use mica::oci::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use crate::layout::{Layout, gzip, tar_of};
use crate::program::{Mica, count};

/// Pulls an image of two layers; returns its digest.
fn pulled(mica: &Mica) -> (Layout, String) {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", b"1")]));
    let tar = tar_of(&[("b", &[7; 3000])]);
    layout.add_layer("+zstd", &tar, &zstd::encode_all(&tar[..], 3).unwrap());
    layout.finish();
    let digest = mica.ok(["pull", "-q", &layout.source()]).trim().to_owned();
    mica.ok(["image", "tag", &digest, "example.org/app:1"]);
    (layout, digest)
}

fn export(mica: &Mica, options: &[&str], path: &Path) -> Vec<u8> {
    let path = path.to_str().unwrap();
    mica.ok([&["export", "-o", path], options].concat());
    fs::read(path).unwrap_or_default()
}

/// Returns the digests and names of images.
fn images(mica: &Mica) -> Vec<(String, String)> {
    let field = |image: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&image["target"]["digest"]), text(&image["name"]))
    };
    let images = mica.json(["images"]);
    images.as_array().unwrap().iter().map(field).collect()
}

#[test]
fn an_image_comes_back_from_every_form_with_its_digest_and_name() {
    let mica = Mica::new();
    let (_layout, digest) = pulled(&mica);
    let dir = tempfile::tempdir().unwrap();
    let expected = vec![(digest, "example.org/app:1".to_owned())];
    let (directory, archive) = (dir.path().join("layout"), dir.path().join("archive"));
    export(
        &mica,
        &["example.org/app:1", "--format", "oci-dir"],
        &directory,
    );
    let bytes = export(&mica, &["example.org/app:1"], &archive);
    assert_eq!(
        bytes,
        export(&mica, &["example.org/app:1"], &archive),
        "twice the same"
    );
    let compressed = dir.path().join("archive.gz");
    fs::write(&compressed, gzip(&bytes, Compression::fast())).unwrap();
    for path in [directory, archive.clone(), compressed.clone()] {
        let other = Mica::new();
        other.ok(["import", "-q", path.to_str().unwrap()]);
        assert_eq!(images(&other), expected, "{}", path.display());
        assert_eq!(count(&other.root().join("tmp")), 0);
    }
    // A file on stdin is read in place; a pipe is not.
    for (script, path) in [
        (r#""$1" --root "$2" import -q - <"$3""#, &archive),
        (r#"cat "$3" | "$1" --root "$2" import -q -"#, &compressed),
    ] {
        let other = Mica::new();
        let program = Path::new(env!("CARGO_BIN_EXE_mica"));
        other.shell(script, &[program, other.root(), path]).unwrap();
        assert_eq!(images(&other), expected, "{script}");
    }
}

#[test]
fn a_docker_archive_holds_the_layers_as_they_are_in_the_store() {
    let mica = Mica::new();
    let (layout, _) = pulled(&mica);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let archive = export(
        &mica,
        &["example.org/app:1", "--format", "docker-archive"],
        &path,
    );
    let mut archive = tar::Archive::new(&archive[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names[0], "manifest.json");
    let layers: Vec<String> = layout
        .diff_ids
        .iter()
        .map(|id| format!("{}.tar", id.hex()))
        .collect();
    assert_eq!(names[2..], layers);
    let other = Mica::new();
    other.ok(["import", "-q", path.to_str().unwrap()]);
    let inspected = other.json(["image", "inspect", "example.org/app:1"]);
    assert_eq!(
        inspected["config"]["rootfs"]["diff_ids"],
        json!(layout.diff_ids)
    );
}

#[test]
fn several_images_share_an_archive_and_a_directory() {
    let mica = Mica::new();
    let (_layout, digest) = pulled(&mica);
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", b"1")]));
    let second = layout.finish().to_string();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["image", "tag", &second, "example.org/second:2"]);
    let dir = tempfile::tempdir().unwrap();
    let (both, one) = (dir.path().join("both"), dir.path().join("layout"));
    export(&mica, &["example.org/app:1", "example.org/second:2"], &both);
    fs::create_dir(&one).unwrap();
    export(&mica, &["example.org/app:1"], &one);
    export(&mica, &["example.org/second:2"], &one);
    export(&mica, &["example.org/second:2"], &one);
    let expected = [
        (digest, "example.org/app:1".to_owned()),
        (second, "example.org/second:2".to_owned()),
    ];
    for path in [both, one] {
        let other = Mica::new();
        other.ok(["import", "-q", path.to_str().unwrap()]);
        assert_eq!(images(&other), expected, "{}", path.display());
        let error = other.fails(["import", "-q", "--name", "x", path.to_str().unwrap()]);
        assert!(error.contains("and there are 2"), "{error}");
    }
}

#[test]
fn of_many_platforms_those_that_are_there_are_exported() {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", b"1")]));
    let here = layout.finish();
    let here = Descriptor::new(
        MediaType::OCI_MANIFEST,
        here.clone(),
        fs::metadata(layout.blob(&here)).unwrap().len(),
    );
    let elsewhere = layout.add_blob(MediaType::OCI_MANIFEST, b"{\"of\":\"another platform\"}");
    let child = |descriptor: &Descriptor, architecture: &str| {
        let mut child = json!(descriptor);
        child["platform"] = json!({"os": "linux", "architecture": architecture, "os.version": "7"});
        child
    };
    let host = mica::oci::Platform::host().architecture;
    let children = [child(&elsewhere, "s390x"), child(&here, &host)];
    let index = json!({"schemaVersion": 2, "manifests": children});
    layout.point_to(MediaType::OCI_INDEX, index.to_string().as_bytes());
    let mica = Mica::new();
    let digest = mica.ok(["pull", "-q", &layout.source()]);
    let name = digest.trim();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let platform = format!("linux/{host}");
    for options in [&[name] as &[&str], &[name, "--platform", &platform]] {
        export(&mica, options, &path);
        let other = Mica::new();
        other.ok(["import", "-q", path.to_str().unwrap()]);
        let expected = here.digest.to_string();
        assert_eq!(images(&other)[0].0, expected, "the one that is left");
    }
    let error = mica.fails([
        "export",
        name,
        "--all-platforms",
        "-o",
        path.to_str().unwrap(),
    ]);
    assert!(
        error.contains("for linux/s390x, is not in the store"),
        "{error}"
    );
    assert!(error.contains("hint: "), "{error}");
    let error = mica.fails([
        "export",
        name,
        "--platform",
        "linux/s390x",
        "-o",
        path.to_str().unwrap(),
    ]);
    assert!(error.contains("has no manifest in the store"), "{error}");
}

#[test]
fn what_cannot_be_exported_or_imported_leaves_nothing() {
    let mica = Mica::new();
    let (layout, digest) = pulled(&mica);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive");
    let blob = mica
        .root()
        .join("content/blobs/sha256")
        .join(layout.layers[0].digest.hex());
    fs::write(dir.path().join("letter"), "dear").unwrap();
    let error = mica.fails(["export", &digest, "-o", dir.path().to_str().unwrap()]);
    assert!(error.contains("no OCI layout"), "{error}");
    fs::remove_file(dir.path().join("letter")).unwrap();
    let good = fs::read(&blob).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(&blob, bad).unwrap();
    let error = mica.fails(["export", &digest, "-o", path.to_str().unwrap()]);
    assert!(error.contains("is damaged"), "{error}");
    // The layer is fetched again from where it came from, as long as that is there.
    fs::remove_file(&blob).unwrap();
    mica.ok(["export", &digest, "-o", path.to_str().unwrap()]);
    assert_eq!(fs::read(&blob).unwrap(), good);
    fs::remove_file(&path).unwrap();
    fs::remove_file(&blob).unwrap();
    drop(layout);
    let error = mica.fails(["export", &digest, "-o", path.to_str().unwrap()]);
    assert!(error.contains("no source of it is known"), "{error}");
    assert_eq!(count(dir.path()), 0);

    let other = Mica::new();
    for (why, bytes, message) in [
        ("no archive", b"dear".to_vec(), "read"),
        (
            "another archive",
            tar_of(&[("a", b"1")]),
            "neither an OCI layout nor a Docker archive",
        ),
        ("bzip2", b"BZh9aaaa".to_vec(), "bzip2"),
        (
            "cut gzip",
            gzip(&tar_of(&[("a", b"1")]), Compression::fast())[..30].to_vec(),
            "decompress",
        ),
        (
            "no image",
            tar_of(&[("manifest.json", b"[]")]),
            "holds no image",
        ),
    ] {
        let file = dir.path().join("file");
        fs::write(&file, bytes).unwrap();
        let error = other.fails(["import", "-q", file.to_str().unwrap()]);
        assert!(error.contains(message), "{why}: {error}");
    }
    assert!(
        other
            .fails(["import", "-q", "/nothing"])
            .contains("there is no")
    );
    other.assert_nothing_visible("nothing was imported");
}

#[test]
fn a_closed_pipe_ends_an_export_quietly() {
    let mica = Mica::new();
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("a", &crate::layout::noise(1, 3_000_000))]));
    let digest: Digest = layout.finish();
    mica.ok(["pull", "-q", &layout.source()]);
    let mut command = mica.command(["export", digest.hex(), "-o", "-"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

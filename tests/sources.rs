//! Layouts and archives as sources, made as other tools make them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use mica::oci::{
    Descriptor, Digest, Document, ImageConfig, Manifest, MediaType, Platform, PlatformMatcher, Walk,
};
use mica::registry::Options;
use mica::source::{Source, SourceError};
use tempfile::TempDir;

/// A file in a layout or archive: its path and its bytes.
type Entry = (String, Vec<u8>);

fn parse(kind: &str, path: &Path, tag: &str) -> Result<Source, SourceError> {
    Source::parse(
        &format!("{kind}:{}{tag}", path.display()),
        &Options::default(),
    )
}

async fn read(source: &Source, descriptor: &Descriptor, offset: u64) -> Vec<u8> {
    let mut blob = source.fetch(descriptor, offset).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = blob.next().await.unwrap() {
        bytes.extend(piece);
    }
    bytes
}

/// Goes from a source to its manifest and config, and checks the digest of each document.
async fn open_image(source: &Source) -> (Manifest, ImageConfig) {
    let host = PlatformMatcher::new(&Platform::host());
    let mut walk = Walk::new(source.resolve().await.unwrap(), host);
    let manifest = loop {
        let wanted = walk.next().unwrap().clone();
        let bytes = read(source, &wanted, 0).await;
        assert!(wanted.digest.matches(&bytes));
        if let Some((_, manifest)) = walk.visit(&bytes).unwrap() {
            break manifest;
        }
    };
    let bytes = read(source, &manifest.config, 0).await;
    assert!(manifest.config.digest.matches(&bytes));
    let config = ImageConfig::parse(&manifest, &bytes).unwrap();
    (manifest, config)
}

fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    let platform = serde_json::to_value(Platform::host()).unwrap();
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    let mut config = platform;
    config
        .as_object_mut()
        .unwrap()
        .insert("rootfs".to_owned(), rootfs);
    serde_json::to_vec(&config).unwrap()
}

fn blob(bytes: &[u8]) -> Entry {
    (
        format!("blobs/sha256/{}", Digest::sha256(bytes).hex()),
        bytes.to_vec(),
    )
}

/// A layout of one image with one layer, tagged with these texts.
fn layout(layer: &[u8], tags: &[&str]) -> Vec<Entry> {
    let config = config_of(&[layer]);
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: None,
        config: Descriptor::of(MediaType::OCI_CONFIG, &config),
        layers: vec![Descriptor::of(MediaType::OCI_LAYER, layer)],
        annotations: BTreeMap::new(),
    })
    .unwrap();
    let images: Vec<Descriptor> = tags
        .iter()
        .map(|tag| {
            let mut image = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
            image
                .annotations
                .insert(Descriptor::REF_NAME.to_owned(), (*tag).to_owned());
            image
        })
        .collect();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": images });
    vec![
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), serde_json::to_vec(&index).unwrap()),
        blob(layer),
        blob(&config),
        blob(&manifest),
    ]
}

fn write_directory(directory: &Path, entries: &[Entry]) {
    for (path, bytes) in entries {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn write_archive(path: &Path, entries: &[Entry], links: &[(&str, &str)]) {
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    for (name, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    builder.finish().unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-n")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[tokio::test]
async fn a_layout_is_the_same_as_directory_and_as_archive() {
    let place = TempDir::new().unwrap();
    let layer: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let entries = layout(&layer, &["v1"]);
    let (directory, archive) = (place.path().join("My Image"), place.path().join("my.tar"));
    write_directory(&directory, &entries);
    write_archive(&archive, &entries, &[]);
    for (kind, path, name) in [
        ("oci", &directory, "localhost/my-image:v1"),
        ("oci-archive", &archive, "localhost/my:v1"),
    ] {
        for tag in ["", ":v1"] {
            let source = parse(kind, path, tag).unwrap();
            assert_eq!(source.name().to_string(), name);
            let (manifest, config) = open_image(&source).await;
            assert_eq!(config.diff_ids()[0].0, Digest::sha256(&layer));
            assert!(read(&source, &manifest.layers[0], 0).await == layer);
            assert!(read(&source, &manifest.layers[0], 2_999_000).await == layer[2_999_000..]);
            assert!(
                read(&source, &manifest.layers[0], 3_000_000)
                    .await
                    .is_empty()
            );
        }
    }
}

#[test]
fn a_layout_without_the_wanted_image_says_what_it_has() {
    let place = TempDir::new().unwrap();
    let mut entries = layout(b"one", &["v1"]);
    let other = layout(b"two", &["v2"]);
    write_directory(place.path(), &entries);
    let error = parse("oci", place.path(), ":v3").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no image \"v3\"; there is \"v1\""),
        "{error}"
    );

    let images = |entries: &[Entry]| -> Vec<serde_json::Value> {
        let index: serde_json::Value = serde_json::from_slice(&entries[1].1).unwrap();
        index["manifests"].as_array().unwrap().clone()
    };
    let both = [images(&entries), images(&other)].concat();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": both });
    entries[1].1 = serde_json::to_vec(&index).unwrap();
    write_directory(place.path(), &entries);
    let error = parse("oci", place.path(), "").unwrap_err();
    assert!(
        matches!(error, SourceError::Ambiguous { count: 2, .. }),
        "{error}"
    );
    assert!(parse("oci", place.path(), ":v2").is_ok());
}

#[tokio::test]
async fn what_is_no_layout_is_refused() {
    let place = TempDir::new().unwrap();
    let path = place.path();
    assert!(matches!(
        parse("oci", path, ""),
        Err(SourceError::NoMember { .. })
    ));
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(
        parse("oci", path, ""),
        Err(SourceError::Invalid { .. })
    ));
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(path.join("index.json"), "{").unwrap();
    assert!(matches!(
        parse("oci", path, ""),
        Err(SourceError::Json { .. })
    ));
    fs::File::create(path.join("index.json"))
        .unwrap()
        .set_len(5_000_000)
        .unwrap();
    assert!(matches!(
        parse("oci", path, ""),
        Err(SourceError::TooLarge { .. })
    ));
    let error = parse("oci", &path.join("missing"), ":v1").unwrap_err();
    assert!(matches!(error, SourceError::Missing(_)));
    write_directory(path, &layout(b"x", &["v1"]));
    let source = parse("oci", path, "").unwrap();
    let longer = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(b"x"), 2);
    let error = source.fetch(&longer, 0).await.unwrap_err();
    assert!(
        matches!(
            error,
            SourceError::WrongSize {
                expected: 2,
                found: 1,
                ..
            }
        ),
        "{error}"
    );
    let missing = Descriptor::of(MediaType::OCI_LAYER, b"missing");
    let error = source.fetch(&missing, 0).await.unwrap_err();
    assert!(matches!(error, SourceError::NoMember { .. }), "{error}");
}

#[test]
fn no_link_leads_out_of_a_layout() {
    let place = TempDir::new().unwrap();
    let (inside, outside) = (place.path().join("in"), place.path().join("out"));
    write_directory(&outside, &layout(b"secret", &["v1"]));
    write_directory(&inside, &layout(b"x", &["v1"]));
    fs::remove_file(inside.join("index.json")).unwrap();
    std::os::unix::fs::symlink("../out/index.json", inside.join("index.json")).unwrap();
    assert!(matches!(
        parse("oci", &inside, ""),
        Err(SourceError::Io { .. })
    ));
    fs::remove_file(inside.join("index.json")).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(inside.join("index.json"))
        .status();
    assert!(fifo.unwrap().success());
    assert!(matches!(
        parse("oci", &inside, ""),
        Err(SourceError::NoMember { .. })
    ));
}

fn docker_manifest(images: &[(&str, &[&str], &[&str])]) -> Entry {
    let images: Vec<serde_json::Value> = images
        .iter()
        .map(|(config, tags, layers)| {
            serde_json::json!({ "Config": config, "RepoTags": tags, "Layers": layers })
        })
        .collect();
    (
        "manifest.json".to_owned(),
        serde_json::to_vec(&images).unwrap(),
    )
}

#[tokio::test]
async fn a_docker_archive_yields_a_manifest_of_its_layers() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("saved.tar");
    let (plain, packed) = (b"plain layer".to_vec(), b"packed layer".to_vec());
    let layers: [&[u8]; 3] = [&plain, &packed, &plain];
    let paths = ["a/layer.tar", "b/layer.tar", "c/layer.tar"];
    let entries = [
        docker_manifest(&[("config.json", &["app:v1", "h.io/app:v2"], &paths)]),
        ("config.json".to_owned(), config_of(&layers)),
        ("./a/layer.tar".to_owned(), plain.clone()),
        ("b/layer.tar".to_owned(), gzip(&packed)),
    ];
    write_archive(&path, &entries, &[("c/layer.tar", "../a/layer.tar")]);
    for (tag, name) in [
        ("", "docker.io/library/app:v1"),
        (":v2", "h.io/app:v2"),
        (":h.io/app:v2", "h.io/app:v2"),
        (":app:v1", "docker.io/library/app:v1"),
    ] {
        let source = parse("docker-archive", &path, tag).unwrap();
        assert_eq!(source.name().to_string(), name, "{tag}");
        let (manifest, config) = open_image(&source).await;
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        let found: Vec<&Digest> = config.diff_ids().iter().map(|id| &id.0).collect();
        assert_eq!(found, diff_ids.iter().collect::<Vec<_>>());
        let expected = [plain.clone(), gzip(&packed), plain.clone()];
        for (layer, expected) in manifest.layers.iter().zip(expected) {
            assert_eq!(read(&source, layer, 0).await, expected);
            assert!(layer.digest.matches(&expected));
        }
        let target = source.resolve().await.unwrap();
        let bytes = read(&source, &target, 0).await;
        assert!(matches!(
            Document::parse(&target, &bytes),
            Ok(Document::Manifest(_))
        ));
    }
}

#[tokio::test]
async fn bad_docker_archives_are_refused() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("saved.tar");
    let config = ("config.json".to_owned(), config_of(&[b"x"]));
    let one = ("config.json", &["app:v1"][..], &["x.tar"][..]);
    let cases = [
        (
            "no manifest",
            vec![config.clone()],
            "",
            "has no file manifest.json",
        ),
        (
            "no image",
            vec![docker_manifest(&[])],
            "",
            "it holds no image",
        ),
        (
            "two images",
            vec![docker_manifest(&[one, one])],
            "",
            "has 2 images",
        ),
        (
            "no such tag",
            vec![docker_manifest(&[one])],
            ":v9",
            "there is \"app:v1\"",
        ),
        (
            "no config",
            vec![docker_manifest(&[one])],
            "",
            "has no file config.json",
        ),
        (
            "no layer",
            vec![docker_manifest(&[one]), config.clone()],
            "",
            "has no file x.tar",
        ),
        (
            "a layer too few",
            vec![
                docker_manifest(&[("config.json", &[], &[])]),
                config.clone(),
            ],
            "",
            "it has 0 layers, but 1 diff IDs",
        ),
        (
            "a name outside",
            vec![
                docker_manifest(&[("../../etc/passwd", &[], &["x.tar"])]),
                config,
            ],
            "",
            "has no file ../../etc/passwd",
        ),
    ];
    for (why, entries, tag, expected) in cases {
        write_archive(&path, &entries, &[]);
        let error = match parse("docker-archive", &path, tag) {
            Ok(source) => source.resolve().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(expected), "{why}: {error}");
    }
    let packed = gzip(&fs::read(&path).unwrap());
    fs::write(&path, packed).unwrap();
    let error = parse("docker-archive", &path, "").unwrap_err();
    assert!(
        matches!(
            error,
            SourceError::Compressed {
                compression: "gzip",
                ..
            }
        ),
        "{error}"
    );
}

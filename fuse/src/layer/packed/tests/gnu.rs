//! Archives made by GNU tar itself.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::*;

fn tar(dir: &Path, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .args(options)
        .args(["-cf", "-", "."])
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn tree(long_names: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("d")).unwrap();
    std::fs::write(at("d/file"), b"contents").unwrap();
    std::fs::hard_link(at("d/file"), at("hard")).unwrap();
    std::os::unix::fs::symlink("d/file", at("soft")).unwrap();
    if long_names {
        let deep = format!("d/{}/{}", "x".repeat(80), "y".repeat(60));
        std::fs::create_dir_all(at(&deep)).unwrap();
        std::fs::write(at(&deep).join("z".repeat(60)), b"deep").unwrap();
    }
    dir
}

/// Compares a layer with the directory that it was made from.
fn assert_same(why: &str, dir: &Path, archive: &[u8]) {
    let built = build_in_chunks(archive, 700).unwrap_or_else(|error| panic!("{why}: {error}"));
    let listing = listing(&built.layer);
    let mut count = 0;
    let mut pending = vec![dir.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap();
            let found = &listing[name];
            let kind = found.split(' ').next().unwrap();
            if metadata.is_dir() {
                assert_eq!(kind, "dir", "{why}: {name}");
                pending.push(path);
            } else if metadata.is_symlink() {
                let target = path.read_link().unwrap();
                assert_eq!(found, &format!("link {}", target.display()), "{why}");
            } else {
                let links = if std::os::unix::fs::MetadataExt::nlink(&metadata) > 1 {
                    " x2"
                } else {
                    ""
                };
                let contents = std::fs::read(&path).unwrap();
                assert_eq!(
                    found,
                    &format!("file {}{links}", contents.escape_ascii()),
                    "{why}: {name}"
                );
            }
            count += 1;
        }
    }
    assert_eq!(listing.len(), count, "{why}");
}

#[test]
fn all_formats_of_gnu_tar_are_read() {
    for (format, long_names) in [
        ("v7", false),
        ("oldgnu", true),
        ("gnu", true),
        ("ustar", true),
        ("posix", true),
    ] {
        let dir = tree(long_names);
        let archive = tar(dir.path(), &[&format!("--format={format}")]);
        assert_same(format, dir.path(), &archive);
    }
}

#[test]
fn sparse_files_of_gnu_tar_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("sparse")).unwrap();
    // More parts than the header and one extension block hold.
    for part in 0..40u8 {
        file.write_all_at(&[part + 1; 100], u64::from(part) * 65_536)
            .unwrap();
    }
    file.set_len(40 * 65_536 + 12_345).unwrap();
    std::fs::write(dir.path().join("plain"), b"after").unwrap();
    let formats = ["gnu", "oldgnu", "posix"];
    let versions = [
        "--sparse-version=0.0",
        "--sparse-version=0.1",
        "--sparse-version=1.0",
    ];
    for format in formats {
        for version in versions.iter().take(if format == "posix" { 3 } else { 1 }) {
            let options = [
                "--sparse",
                "--hole-detection=raw",
                &format!("--format={format}"),
                version,
            ];
            let archive = tar(dir.path(), &options);
            assert!(archive.len() < 1 << 20, "GNU tar stores no holes");
            assert_same(&format!("{format} {version}"), dir.path(), &archive);
        }
    }
}

//! `mica diff`, `mica snapshot diff` and `mica layer pack`: the wiring, as root and as an
//! ordinary user.

use std::io::Read as _;
use std::path::Path;

use mica::oci::Digest;

use crate::layout::{Layout, tar_of};
use crate::mounting::can_mount;
use crate::program::{Mica, count};

/// Runs a test as this process's user and as an ordinary one, each with an image and an
/// active snapshot on it that has changes.
pub(crate) fn for_each_user(test: impl Fn(&Mica, &Digest)) {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("gone", b"1"), ("kept", b"2")]));
    layout.add_tar(&tar_of(&[("file", b"content")]));
    let manifest = layout.finish();
    layout.open_to_all();
    for mica in [Some(Mica::new()), Mica::of_nobody()].into_iter().flatten() {
        mica.ok(["pull", "-q", &layout.source()]);
        mica.ok(["snapshot", "prepare", "key", manifest.hex()]);
        let upper = mica.json(["snapshot", "mounts", "key"])["upper"]["fs"].clone();
        let upper = Path::new(upper.as_str().unwrap());
        let script =
            r#"cd "$1"; echo new >file; echo more >more; : >.wh.gone; touch -d @9 file more"#;
        mica.shell(script, &[upper]).unwrap();
        test(&mica, &manifest);
    }
}

#[test]
fn what_was_changed_is_listed() {
    for_each_user(|mica, manifest| {
        let changes = "C /file\nD /gone\nA /more\n";
        assert_eq!(mica.ok(["diff", "key"]), changes);
        // An ordinary user's upper has another owner than the image.
        let without_root = |lines: String| lines.replace("C /\n", "");
        let both = mica.ok(["diff", manifest.hex(), "key"]);
        assert_eq!(without_root(both), changes);
        let back = mica.ok(["diff", "key", manifest.hex()]);
        assert_eq!(without_root(back), "C /file\nA /gone\nD /more\n");
        assert_eq!(
            mica.ok(["diff", manifest.hex()]),
            "A /file\n",
            "its last layer"
        );
        let json = mica.json(["diff", "key"]);
        assert_eq!(
            json[1],
            serde_json::json!({"kind": "deleted", "path": "/gone"})
        );
        assert_eq!(mica.run(["diff"]).status.code(), Some(2));
        let error = mica.fails(["diff", "nothing"]);
        assert!(error.contains("hint: "), "{error}");
    });
}

#[test]
fn a_layer_is_written_in_every_form() {
    for_each_user(|mica, _| {
        let directory = mica.directory("layers");
        let write = |name: &str, options: &[&str]| {
            let path = directory.join(name);
            let all = ["snapshot", "diff", "key", "-o", path.to_str().unwrap()];
            mica.ok(all.iter().chain(options));
            std::fs::read(path).unwrap()
        };
        let plain = write("plain", &[]);
        assert_eq!(write("again", &[]), plain);
        let stdout = mica.run(["snapshot", "diff", "key", "-o", "-"]).stdout;
        assert_eq!(stdout, plain);
        let mut gzip = Vec::new();
        let packed = write("gzip", &["--gzip"]);
        let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
        decoder.read_to_end(&mut gzip).unwrap();
        assert_eq!(gzip, plain);
        let zstd = zstd::decode_all(&write("zstd", &["--zstd"])[..]).unwrap();
        assert_eq!(zstd, plain);
        let names = r#"tar -tf "$1""#;
        let names = mica.shell(names, &[&directory.join("plain")]).unwrap();
        assert_eq!(names, "file\n.wh.gone\nmore\n");

        let mut command = mica.command(["snapshot", "diff", "key", "-o", "-"]);
        let cut = command
            .env("SOURCE_DATE_EPOCH", "8")
            .output()
            .unwrap()
            .stdout;
        let times: Vec<u64> = tar::Archive::new(&cut[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().header().mtime().unwrap())
            .collect();
        assert_eq!(times, [8, 0, 8]);
        let refused = command.env("SOURCE_DATE_EPOCH", "today").output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let absent = directory.join("absent/file");
        let error = mica.fails(["snapshot", "diff", "key", "-o", absent.to_str().unwrap()]);
        assert!(error.starts_with("error: write "), "{error}");
    });
}

#[test]
fn a_snapshot_is_packed_and_mounted() {
    for_each_user(|mica, manifest| {
        let error = mica.fails(["layer", "pack", "key"]);
        assert!(error.contains("hint: commit it first"), "{error}");
        let layer = mica.run(["snapshot", "diff", "key", "-o", "-"]).stdout;
        mica.ok(["snapshot", "commit", "name", "key"]);
        let diff_id = mica.ok(["layer", "pack", "name"]);
        assert_eq!(diff_id, format!("{}\n", Digest::sha256(&layer)));
        assert_eq!(mica.ok(["layer", "pack", "name"]), diff_id);
        assert_eq!(count(&mica.root().join("snapshots")), 0);
        let info = mica.json(["snapshot", "info", "name"]);
        assert_eq!(info["layer"], diff_id.trim());
        let again = mica.run(["snapshot", "diff", "name", "-o", "-"]).stdout;
        assert_eq!(again, layer);
        assert_eq!(mica.ok(["diff", "name"]), "C /file\nD /gone\nA /more\n");
        mica.ok(["image", "rm", manifest.hex()]);
        assert!(mica.ok(["layer", "verify"]).contains(diff_id.trim()));
        if !can_mount() {
            return;
        }
        let point = mica.directory("point");
        mica.ok(["mount", "name", point.to_str().unwrap()]);
        let seen = mica.shell(r#"cd "$1"; ls; cat file"#, &[&point]).unwrap();
        assert_eq!(seen, "file\nkept\nmore\nnew\n");
        mica.ok(["umount", point.to_str().unwrap()]);
    });
}

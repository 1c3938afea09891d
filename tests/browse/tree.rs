//! `mica browse`.

use std::fs;
use std::path::Path;

use mica::oci::Digest;

use crate::layout::{Layout, tar_of};
use crate::program::Mica;
use crate::support::{Answer, Registry};
use crate::{Browsed, eventually, two_layers};

fn file_of(digest: &Digest) -> String {
    digest.to_string().replace(':', ",")
}

/// Returns a store with the image of a layout, and the name of its directory.
fn with_image(layout: &Layout) -> (Mica, String) {
    let mica = Mica::new();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok([
        "image",
        "tag",
        layout.target().digest.hex(),
        "example.org/team/app:1",
    ]);
    (mica, "images/example.org+team+app,1".to_owned())
}

#[test]
fn an_image_shows_its_tree_its_layers_and_its_documents() {
    let layout = two_layers();
    let (mica, image) = with_image(&layout);
    let browsed = Browsed::new(mica, &[]);
    assert_eq!(
        browsed.names("."),
        ["content", "images", "layers", "snapshots"]
    );
    assert_eq!(
        browsed.names(&image),
        ["config.json", "layers", "manifest.json", "rootfs"]
    );
    assert_eq!(browsed.read(&format!("{image}/rootfs/both")), "upper");
    assert_eq!(browsed.names(&format!("{image}/rootfs/etc")), ["kept"]);
    for (file, digest) in [
        ("config.json", layout.config()),
        ("manifest.json", layout.target().digest),
    ] {
        let bytes = fs::read(browsed.path(&image).join(file)).unwrap();
        assert_eq!(Digest::sha256(&bytes), digest, "{file}");
    }
    assert_eq!(browsed.names(&format!("{image}/layers")), ["1", "2"]);
    for (link, diff_id) in ["1", "2"].into_iter().zip(&layout.diff_ids) {
        let link = browsed.path(&image).join("layers").join(link);
        let layer = fs::canonicalize(link).unwrap();
        assert_eq!(
            layer,
            browsed
                .path("layers")
                .join(file_of(diff_id))
                .canonicalize()
                .unwrap()
        );
    }
    assert!(!browsed.path("images/example.org+team+app,2").exists());
    assert!(!browsed.path(&image).join("other").exists());
}

#[test]
fn a_layer_shows_what_it_adds_changes_and_removes() {
    let layout = two_layers();
    let (mica, _) = with_image(&layout);
    let browsed = Browsed::new(mica, &[]);
    let layer = format!("layers/{}", file_of(&layout.diff_ids[1]));
    assert_eq!(browsed.names(&layer), ["files", "info.json"]);
    assert_eq!(
        browsed.names(&format!("{layer}/files")),
        ["both", "etc", "new"]
    );
    assert_eq!(browsed.names(&format!("{layer}/files/etc")), [".wh.gone"]);
    let info: serde_json::Value =
        serde_json::from_str(&browsed.read(&format!("{layer}/info.json"))).unwrap();
    assert_eq!(info["diff_id"], layout.diff_ids[1].to_string());
    assert_eq!(info["blobs"][0], layout.layers[1].digest.to_string());
    assert_eq!(browsed.names("layers").len(), 2);
}

#[test]
fn blobs_are_files_with_the_digests_of_their_names() {
    let layout = two_layers();
    let (mica, _) = with_image(&layout);
    let browsed = Browsed::new(mica, &[]);
    let names = browsed.names("content");
    assert_eq!(names.len(), 4, "manifest, config and two layers");
    for name in names {
        let bytes = fs::read(browsed.path("content").join(&name)).unwrap();
        assert_eq!(file_of(&Digest::sha256(&bytes)), name);
    }
}

#[test]
fn what_changes_in_the_store_is_there_at_the_next_look() {
    let (mica, image) = with_image(&two_layers());
    let browsed = Browsed::new(mica, &[]);
    assert_eq!(browsed.names("images").len(), 2);
    let mica = &browsed.mica;
    let error = fs::write(browsed.path(&image).join("rootfs/new"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));

    mica.ok(["snapshot", "prepare", "work/1", "example.org/team/app:1"]);
    let snapshot = "snapshots/work+1";
    assert_eq!(browsed.names(snapshot), ["diff", "info.json", "rootfs"]);
    assert_eq!(browsed.read(&format!("{snapshot}/rootfs/both")), "upper");
    assert!(browsed.names(&format!("{snapshot}/diff")).is_empty());
    let info: serde_json::Value =
        serde_json::from_str(&browsed.read(&format!("{snapshot}/info.json"))).unwrap();
    assert_eq!(info["kind"], "active");
    // Looking at it keeps it from being removed only as long as somebody looks.
    assert!(eventually(|| mica
        .run(["snapshot", "rm", "work/1"])
        .status
        .success()));
    assert!(!browsed.path(snapshot).exists());

    mica.ok(["image", "rm", "example.org/team/app:1"]);
    assert!(!browsed.path(&image).exists());
    assert_eq!(browsed.names("images").len(), 1);
}

#[test]
fn an_active_snapshot_is_written_to_and_committed() {
    let (mica, _) = with_image(&two_layers());
    mica.ok(["snapshot", "prepare", "work", "example.org/team/app:1"]);
    let browsed = Browsed::new(mica, &["--rw"]);
    assert_eq!(browsed.names("snapshots/work"), ["info.json", "rootfs"]);
    let root = browsed.path("snapshots/work/rootfs");
    fs::write(root.join("added"), "added").unwrap();
    fs::remove_file(root.join("new")).unwrap();
    let used = fs::File::open(root.join("added")).unwrap();
    let mica = &browsed.mica;
    let refused = mica.fails(["snapshot", "commit", "mine", "work"]);
    assert!(refused.contains("in use"), "{refused}");
    drop(used);
    let mut said = String::new();
    let is_committed = eventually(|| {
        let committed = mica.run(["snapshot", "commit", "mine", "work"]);
        said = String::from_utf8(committed.stderr).unwrap();
        committed.status.success()
    });
    assert!(is_committed, "{said}");
    assert!(!browsed.path("snapshots/work").exists());
    assert_eq!(browsed.names("snapshots/mine/diff"), [".wh.new", "added"]);
    assert_eq!(browsed.read("snapshots/mine/rootfs/added"), "added");
    let error = fs::write(browsed.path("snapshots/mine/rootfs/x"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn it_is_listed_and_taken_away_as_other_mounts() {
    let (mica, _) = with_image(&two_layers());
    let browsed = Browsed::new(mica, &["--rw"]);
    let (mica, point) = (&browsed.mica, browsed.point.path());
    let listed = mica.json(["mounts"]);
    assert_eq!(listed[0]["mountpoint"], point.to_str().unwrap());
    assert_eq!(listed[0]["browse"]["namespace"], "default");
    let table = mica.ok(["mounts"]);
    assert!(
        table.contains(mica.root().to_str().unwrap()) && table.contains(" rw "),
        "{table}"
    );
    mica.ok([Path::new("umount"), point]);
    assert!(browsed.names(".").is_empty());
    assert_eq!(mica.json(["mounts"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_namespace_shows_its_own() {
    let layout = two_layers();
    let (mica, _) = with_image(&layout);
    let browsed = Browsed::new(mica, &["-n", "other"]);
    assert!(browsed.names("images").is_empty());
    assert!(browsed.names("content").is_empty());
    assert_eq!(browsed.names("layers").len(), 2, "all share layers");
    browsed
        .mica
        .ok(["-n", "other", "pull", "-q", &layout.source()]);
    assert_eq!(browsed.names("images").len(), 1);
}

/// Makes a registry have an image as `team/app:1`.
fn publish(registry: &Registry, layout: &Layout) {
    for (digest, bytes) in layout.blobs() {
        let answer = Answer::ok(bytes).header("Docker-Content-Digest", digest.to_string());
        for kind in ["blobs", "manifests"] {
            let path = format!("/v2/team/app/{kind}/{digest}");
            registry
                .on(&format!("GET {path}"), [answer.clone()])
                .on(&format!("HEAD {path}"), [answer.clone()]);
        }
    }
    let target = layout.target();
    let answer = Answer::ok(fs::read(layout.blob(&target.digest)).unwrap())
        .header("Content-Type", target.media_type.as_str())
        .header("Docker-Content-Digest", target.digest.to_string());
    registry.on("HEAD /v2/team/app/manifests/1", [answer]);
}

#[test]
fn an_image_is_pulled_when_it_is_named() {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("file", b"content")]));
    let layout = layout.finished();
    let registry = Registry::start();
    publish(&registry, &layout);
    let host = registry.host().replace(':', ",");
    let image = format!("images/{host}+team+app,1");

    let without = Browsed::new(Mica::new(), &[]);
    assert!(!without.path(&image).exists());
    assert!(registry.lines().is_empty());

    let browsed = Browsed::new(Mica::new(), &["--pull"]);
    assert!(!browsed.path("images/.git").exists());
    assert!(!browsed.path("images/autorun.inf").exists());
    assert!(browsed.names("images").is_empty());
    assert!(registry.lines().is_empty());
    assert_eq!(browsed.read(&format!("{image}/rootfs/file")), "content");
    assert_eq!(browsed.names("images"), [format!("{host}+team+app,1")]);
    assert!(!browsed.path(&format!("images/{host}+team+app,2")).exists());
    let asked = registry.lines().len();
    assert!(!browsed.path(&format!("images/{host}+team+app,2")).exists());
    assert_eq!(registry.lines().len(), asked, "not tried again at once");

    registry.on("HEAD /v2/team/app/manifests/3", [Answer::status(403)]);
    registry.on("GET /v2/team/app/manifests/3", [Answer::status(403)]);
    for time in ["at first", "not tried again"] {
        let told = fs::metadata(browsed.path(&format!("images/{host}+team+app,3")));
        assert_eq!(told.unwrap_err().raw_os_error(), Some(libc::EIO), "{time}");
    }
}

#[test]
fn a_short_name_leads_to_the_image() {
    let (mica, _) = with_image(&two_layers());
    mica.ok(["image", "tag", "example.org/team/app:1", "app:latest"]);
    let browsed = Browsed::new(mica, &[]);
    for short in ["app", "app,latest", "docker.io+app"] {
        let path = browsed.path("images").join(short);
        let target = fs::read_link(&path).unwrap();
        assert_eq!(target, Path::new("docker.io+library+app,latest"), "{short}");
        assert!(path.join("rootfs/both").exists());
    }
    assert_eq!(browsed.names("images").len(), 3, "not listed twice");
}

#[test]
fn an_ordinary_user_browses_too() {
    let Some(mica) = Mica::of_nobody() else {
        return;
    };
    let layout = two_layers();
    layout.open_to_all();
    mica.ok(["pull", "-q", &layout.source()]);
    mica.ok(["snapshot", "prepare", "work", layout.target().digest.hex()]);
    let point = mica.directory("point");
    let browse = |arguments: &[&str]| {
        let mut command = mica.command(["browse"]);
        let output = command.args(arguments).arg(&point).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    browse(&["--rw"]);
    let script = r#"
        cd "$1"; cat images/*/rootfs/both; echo more >snapshots/work/rootfs/more
        cat snapshots/work/rootfs/more; ls layers/*/files/etc/.wh.gone | wc -l
    "#;
    let shown = mica.shell(script, &[&point]);
    mica.ok([Path::new("umount"), &point]);
    assert_eq!(shown.as_deref(), Ok("uppermore\n1\n"));
}

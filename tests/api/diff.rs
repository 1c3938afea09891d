//! Blobs unpacked onto snapshots, and blobs of what snapshots have changed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use mica::oci::Digest;
use mica_proto::content::content_client::ContentClient;
use mica_proto::content::{InfoRequest, WriteAction, WriteContentRequest};
use mica_proto::diff::diff_client::DiffClient;
use mica_proto::diff::{ApplyRequest, DiffRequest};
use mica_proto::types::{Descriptor, Mount};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::client::Snapshots;
use crate::client::request;
use crate::server::{Server, refused};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// A server, and what is asked of it.
struct Stage {
    server: Server,
    snapshots: Snapshots,
    content: ContentClient<Channel>,
    diff: DiffClient<Channel>,
}

impl Stage {
    async fn new() -> Self {
        let server = Server::start();
        Self {
            snapshots: Snapshots::on(server.way().await),
            content: ContentClient::new(server.channel().await),
            diff: DiffClient::new(server.channel().await),
            server,
        }
    }

    /// Stores a blob.
    async fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = digest(bytes);
        let write = WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: digest.clone(),
            data: bytes.to_vec().into(),
            ..WriteContentRequest::default()
        };
        let stream = tokio_stream::iter([write]);
        let answers = self.content.write(request(stream)).await.unwrap();
        answers.into_inner().message().await.unwrap();
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size: i64::try_from(bytes.len()).unwrap(),
            ..Descriptor::default()
        }
    }

    async fn apply(&mut self, blob: &Descriptor, mounts: &[Mount]) -> Result<Descriptor, Status> {
        let apply = ApplyRequest {
            diff: Some(blob.clone()),
            mounts: mounts.to_vec(),
            ..ApplyRequest::default()
        };
        let applied = self.diff.apply(request(apply)).await?.into_inner();
        Ok(applied.applied.unwrap())
    }

    /// Commits a snapshot of one layer on a parent.
    async fn commit(&mut self, name: &str, parent: &str, blob: &Descriptor) {
        let mounts = self.snapshots.prepare("preparing", parent).await.unwrap();
        self.apply(blob, &mounts).await.unwrap();
        self.snapshots.commit(name, "preparing").await.unwrap();
    }

    async fn diff(
        &mut self,
        left: &[Mount],
        right: &[Mount],
        media_type: &str,
    ) -> Result<Descriptor, Status> {
        let diff = DiffRequest {
            left: left.to_vec(),
            right: right.to_vec(),
            media_type: media_type.to_owned(),
            r#ref: "diff".to_owned(),
            ..DiffRequest::default()
        };
        let made = self.diff.diff(request(diff)).await?.into_inner();
        Ok(made.diff.unwrap())
    }

    async fn labels(&mut self, blob: &Descriptor) -> BTreeMap<String, String> {
        let digest = blob.digest.clone();
        let info = self.content.info(request(InfoRequest { digest })).await;
        info.unwrap().into_inner().info.unwrap().labels
    }

    /// Returns the file that a blob is in.
    fn file(&self, blob: &Descriptor) -> PathBuf {
        let blobs = self.server.store().join("content/blobs");
        blobs.join(blob.digest.replace(':', "/"))
    }
}

fn digest(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

/// Returns an archive of files with their own names as contents.
fn tar(names: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(name.len() as u64);
        let content = name.as_bytes();
        builder.append_data(&mut header, name, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

#[tokio::test]
async fn blobs_of_all_forms_are_unpacked_onto_snapshots() {
    let mut stage = Stage::new().await;
    let (base, next) = (tar(&["kept", "removed"]), tar(&["new", ".wh.removed"]));
    let table = [
        ("plain", TAR, base.clone(), next.clone()),
        ("gzip", GZIP, gzip(&base), gzip(&next)),
        (
            "zstd",
            ZSTD,
            zstd::encode_all(&base[..], 1).unwrap(),
            zstd::encode_all(&next[..], 1).unwrap(),
        ),
    ];
    for (why, media_type, below, above) in table {
        let (below, above) = (
            stage.blob(media_type, &below).await,
            stage.blob(media_type, &above).await,
        );
        let bottom = format!("{why} base");
        stage.commit(&bottom, "", &below).await;
        let mounts = stage.snapshots.prepare(why, &bottom).await.unwrap();
        let applied = stage.apply(&above, &mounts).await.unwrap();
        assert_eq!(applied.media_type, TAR, "{why}");
        assert_eq!(applied.digest, digest(&next), "{why}");
        assert_eq!(applied.size, i64::try_from(next.len()).unwrap(), "{why}");
        assert_eq!(stage.labels(&above).await[UNCOMPRESSED], digest(&next));
        let active = stage.snapshots.mounts(why).await.unwrap();
        {
            let active = stage.server.mount(&active);
            assert_eq!(names(active.path()), ["kept", "new"], "{why}");
        }
        stage
            .snapshots
            .commit(&format!("{why} top"), why)
            .await
            .unwrap();
        let view = format!("{why} view");
        let view = stage.snapshots.view(&view, &format!("{why} top")).await;
        let view = stage.server.mount(&view.unwrap());
        assert_eq!(names(view.path()), ["kept", "new"], "{why}");
        assert_eq!(fs::read(view.path().join("new")).unwrap(), b"new");
    }
}

#[tokio::test]
async fn a_known_layer_is_not_unpacked_again() {
    let mut stage = Stage::new().await;
    let blob = stage.blob(GZIP, &gzip(&tar(&["file"]))).await;
    stage.commit("first", "", &blob).await;
    fs::write(stage.file(&blob), "damaged").unwrap();
    stage.commit("second", "first", &blob).await;
    let view = stage.snapshots.view("view", "second").await.unwrap();
    let view = stage.server.mount(&view);
    assert_eq!(names(view.path()), ["file"]);
}

#[tokio::test]
async fn mounts_that_cannot_take_a_layer_are_left_to_the_next_differ() {
    let mut stage = Stage::new().await;
    let blob = stage.blob(GZIP, &gzip(&tar(&["file"]))).await;
    let other = stage.blob(GZIP, &gzip(&tar(&["other"]))).await;
    stage.commit("base", "", &blob).await;
    let taken = stage.snapshots.prepare("taken", "base").await.unwrap();
    stage.apply(&blob, &taken).await.unwrap();
    stage.apply(&blob, &taken).await.unwrap();
    let written = stage.snapshots.prepare("written", "base").await.unwrap();
    fs::write(stage.server.mount(&written).path().join("new"), "").unwrap();
    let mounted = stage.snapshots.prepare("mounted", "base").await.unwrap();
    let _mounted = stage.server.mount(&mounted);
    let elsewhere = Mount {
        r#type: "bind".to_owned(),
        source: "/tmp".to_owned(),
        options: vec!["rbind".to_owned(), "rw".to_owned()],
        ..Mount::default()
    };
    let view = stage.snapshots.view("view", "base").await.unwrap();
    for (why, blob, mounts) in [
        ("another layer", &other, &taken[..]),
        ("changes", &blob, &written),
        ("in use", &blob, &mounted),
        ("a view", &blob, &view),
        ("others' mounts", &blob, &[elsewhere]),
        ("none", &blob, &[]),
        (
            "an unknown form",
            &Descriptor {
                media_type: format!("{GZIP}+encrypted"),
                ..blob.clone()
            },
            &taken,
        ),
    ] {
        let applied = stage.apply(blob, mounts).await;
        let status = applied.expect_err(why);
        assert_eq!(status.code(), Code::Unimplemented, "{why}: {status}");
        assert!(status.message().ends_with(": not implemented"), "{status}");
    }
}

#[tokio::test]
async fn a_bad_blob_leaves_the_snapshot_as_it_was() {
    let mut stage = Stage::new().await;
    let blob = stage.blob(GZIP, &gzip(&tar(&["file"]))).await;
    let cut = gzip(&tar(&["file"]));
    let cut = stage.blob(GZIP, &cut[..cut.len() - 4]).await;
    let damaged = stage.blob(GZIP, &gzip(&tar(&["damaged"]))).await;
    fs::write(stage.file(&damaged), gzip(&tar(&["changed"]))).unwrap();
    let absent = Descriptor {
        digest: digest(b"absent"),
        ..blob.clone()
    };
    let mounts = stage.snapshots.prepare("key", "").await.unwrap();
    for (blob, code, end) in [
        (&cut, Code::InvalidArgument, "invalid argument"),
        (&damaged, Code::InvalidArgument, "invalid argument"),
        (&absent, Code::NotFound, "not found"),
    ] {
        refused(stage.apply(blob, &mounts).await, code, end);
    }
    let applied = stage.apply(&blob, &mounts).await.unwrap();
    assert_eq!(applied.digest, digest(&tar(&["file"])));
    assert!(names(&stage.server.store().join("tmp")).is_empty());
}

#[tokio::test]
async fn what_a_snapshot_has_changed_is_made_a_blob_and_unpacked_again() {
    let mut stage = Stage::new().await;
    let blob = stage.blob(GZIP, &gzip(&tar(&["kept", "removed"]))).await;
    let applied = stage.blob(GZIP, &gzip(&tar(&["applied", "hidden"]))).await;
    stage.commit("base", "", &blob).await;
    let mounts = stage.snapshots.prepare("key", "base").await.unwrap();
    stage.apply(&applied, &mounts).await.unwrap();
    let mounts = stage.snapshots.mounts("key").await.unwrap();
    {
        let active = stage.server.mount(&mounts);
        fs::write(active.path().join("new"), "new").unwrap();
        for name in ["removed", "hidden"] {
            fs::remove_file(active.path().join(name)).unwrap();
        }
    }
    let below = stage.snapshots.view("below", "base").await.unwrap();
    for media_type in [TAR, GZIP, ZSTD, ""] {
        let made = stage.diff(&below, &mounts, media_type).await.unwrap();
        let expected = if media_type.is_empty() {
            GZIP
        } else {
            media_type
        };
        assert_eq!(made.media_type, expected);
        let name = format!("again {media_type}");
        stage.commit(&name, "base", &made).await;
        let label = &stage.labels(&made).await[UNCOMPRESSED];
        assert!(label.starts_with("sha256:"));
        let view = format!("view {media_type}");
        let view = stage.snapshots.view(&view, &name).await.unwrap();
        let view = stage.server.mount(&view);
        assert_eq!(
            names(view.path()),
            ["applied", "kept", "new"],
            "{media_type}"
        );
    }
    let other = stage.diff(&below, &mounts, "text/plain").await;
    refused(other, Code::Unimplemented, "not implemented");
    stage.snapshots.commit("mine", "key").await.unwrap();
    let view = stage.snapshots.view("mine view", "mine").await.unwrap();
    let view = stage.server.mount(&view);
    assert_eq!(names(view.path()), ["applied", "kept", "new"]);
}

//! What containerd has no word for: pulls in one call, mounts, checks, garbage collection.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use mica_proto::mica::mica_client::MicaClient;
use mica_proto::mica::pull_response::What;
use mica_proto::mica::{MountRequest, PullRequest, UmountRequest, blob_progress::State};
use tonic::client::Grpc;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::client::{Snapshots, request};
use crate::layout::{Layout, tar_of};
use crate::server::{Server, refused};

fn image() -> Layout {
    let mut layout = Layout::new();
    layout.add_tar(&tar_of(&[("file", b"contents")]));
    layout.add_tar(&tar_of(&[("above", b"more")]));
    layout.finish();
    layout
}

#[tokio::test]
async fn an_image_is_pulled_mounted_checked_and_collected() {
    let server = Server::start();
    let layout = image();
    let mut mica = MicaClient::new(server.way().await);
    let pull = PullRequest {
        source: layout.source(),
        ..PullRequest::default()
    };
    let mut told = mica.pull(request(pull)).await.unwrap().into_inner();
    let (mut done, mut pulled) = (0, None);
    while let Some(answer) = told.message().await.unwrap() {
        assert_eq!(pulled, None, "the last message says what came");
        match answer.what.unwrap() {
            What::Blob(blob) => done += usize::from(blob.state() == State::Done),
            What::Pulled(image) => pulled = Some(image),
        }
    }
    let pulled = pulled.unwrap();
    let target = layout.target().digest.to_string();
    assert_eq!(pulled.target.unwrap().digest, target);
    assert_eq!(done, 2, "each layer");

    // No text.
    let directory = tempfile::Builder::new()
        .prefix(OsStr::from_bytes(b"\xff"))
        .tempdir()
        .unwrap();
    let mountpoint = directory.path().as_os_str().as_bytes().to_vec();
    let mount = |what: &str, rw| MountRequest {
        what: what.to_owned(),
        mountpoint: mountpoint.clone(),
        rw,
    };
    let umount = UmountRequest {
        mountpoint: mountpoint.clone(),
        lazy: false,
    };
    let mounted = mica.mount(request(mount(&pulled.chain_id, false))).await;
    let info = mounted.unwrap().into_inner().mount.unwrap();
    assert_eq!((&info.snapshot, info.rw), (&pulled.chain_id, false));
    let file = directory.path().join("file");
    assert_eq!(fs::read(&file).unwrap(), b"contents");
    let listed = mica.mounts(request(())).await.unwrap().into_inner();
    assert_eq!(listed.mounts, [info]);
    mica.umount(request(umount.clone())).await.unwrap();
    assert!(!file.exists());

    let mut snapshots = Snapshots::on(server.way().await);
    let prepared = snapshots.prepare("key", &pulled.chain_id).await;
    prepared.unwrap();
    mica.mount(request(mount("key", true))).await.unwrap();
    fs::write(directory.path().join("new"), "").unwrap();
    mica.umount(request(umount)).await.unwrap();

    let checked = mica.check(request(())).await.unwrap().into_inner();
    assert_eq!((checked.findings.len(), checked.layers), (0, 2));
    snapshots.remove("key").await.unwrap();
    let collected = mica.gc(request(())).await.unwrap().into_inner();
    assert_eq!((collected.layers, collected.blobs), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_pulled_or_mounted_is_refused() {
    let server = Server::start();
    let mut mica = MicaClient::new(server.way().await);
    let pull = |source: &str, platform: &str| PullRequest {
        source: source.to_owned(),
        platforms: vec![platform.to_owned()],
        ..PullRequest::default()
    };
    for (source, platform) in [("UPPER", "amd64"), ("a/b:1", "a/b/c/d")] {
        let pulled = mica.pull(request(pull(source, platform))).await;
        refused(pulled, Code::InvalidArgument, "invalid argument");
    }
    let nameless = mica.pull(Request::new(pull("a", "amd64"))).await;
    refused(nameless, Code::FailedPrecondition, "failed precondition");
    let unreachable = mica.pull(request(pull("127.0.0.1:1/app:1", "amd64"))).await;
    let mut told = unreachable.unwrap().into_inner();
    let failed = told.message().await;
    refused(failed, Code::Unavailable, "unavailable");
    let mount = |what: &str, mountpoint: &str, rw| MountRequest {
        what: what.to_owned(),
        mountpoint: mountpoint.into(),
        rw,
    };
    let mut snapshots = Snapshots::on(server.way().await);
    snapshots.view("view", "").await.unwrap();
    for (why, mount, code) in [
        ("nothing", mount("none", "/mnt", false), Code::NotFound),
        ("a view", mount("view", "/mnt", true), Code::InvalidArgument),
        (
            "a place",
            mount("view", "mnt", false),
            Code::InvalidArgument,
        ),
    ] {
        let status = mica.mount(request(mount)).await.expect_err(why);
        assert_eq!(status.code(), code, "{why}: {status}");
    }
}

#[tokio::test]
async fn services_that_are_not_there_are_unimplemented() {
    let server = Server::start();
    let mut client = Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let path = "/containerd.services.mounts.v1.Mounts/Activate".parse();
    let codec = ProstCodec::<(), ()>::default();
    let activated = client.unary(request(()), path.unwrap(), codec).await;
    refused(activated, Code::Unimplemented, "");
}

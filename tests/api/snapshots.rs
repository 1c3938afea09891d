//! The life of snapshots, seen through what a client mounts.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mica_proto::prost_types::FieldMask;
use mica_proto::snapshots::snapshots_client::SnapshotsClient;
use mica_proto::snapshots::{
    CommitSnapshotRequest, Info, Kind, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest, StatSnapshotRequest, UpdateSnapshotRequest, ViewSnapshotRequest,
};
use mica_proto::types::Mount;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::server::{Server, refused, request};

/// Calls with the snapshotter filled in.
pub(crate) struct Snapshots(pub(crate) SnapshotsClient<Channel>);

fn mica() -> String {
    "mica".to_owned()
}

impl Snapshots {
    pub(crate) fn on(channel: Channel) -> Self {
        Self(SnapshotsClient::new(channel))
    }

    pub(crate) async fn prepare(&mut self, key: &str, parent: &str) -> Result<Vec<Mount>, Status> {
        let prepare = PrepareSnapshotRequest {
            snapshotter: mica(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        Ok(self.0.prepare(request(prepare)).await?.into_inner().mounts)
    }

    pub(crate) async fn view(&mut self, key: &str, parent: &str) -> Result<Vec<Mount>, Status> {
        let view = ViewSnapshotRequest {
            snapshotter: mica(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        Ok(self.0.view(request(view)).await?.into_inner().mounts)
    }

    pub(crate) async fn mounts(&mut self, key: &str) -> Result<Vec<Mount>, Status> {
        let (snapshotter, key) = (mica(), key.to_owned());
        let mounts = MountsRequest { snapshotter, key };
        Ok(self.0.mounts(request(mounts)).await?.into_inner().mounts)
    }

    pub(crate) async fn commit(&mut self, name: &str, key: &str) -> Result<(), Status> {
        let commit = CommitSnapshotRequest {
            snapshotter: mica(),
            name: name.to_owned(),
            key: key.to_owned(),
            ..CommitSnapshotRequest::default()
        };
        self.0.commit(request(commit)).await.map(drop)
    }

    pub(crate) async fn remove(&mut self, key: &str) -> Result<(), Status> {
        let (snapshotter, key) = (mica(), key.to_owned());
        let remove = RemoveSnapshotRequest { snapshotter, key };
        self.0.remove(request(remove)).await.map(drop)
    }

    pub(crate) async fn stat(&mut self, key: &str) -> Result<Info, Status> {
        let (snapshotter, key) = (mica(), key.to_owned());
        let stat = StatSnapshotRequest { snapshotter, key };
        Ok(self.0.stat(request(stat)).await?.into_inner().info.unwrap())
    }

    pub(crate) async fn names(&mut self, filters: &[&str]) -> Result<Vec<String>, Status> {
        let list = ListSnapshotsRequest {
            snapshotter: mica(),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        let mut blocks = self.0.list(request(list)).await?.into_inner();
        let mut names = Vec::new();
        while let Some(block) = blocks.message().await? {
            names.extend(block.info.into_iter().map(|info| info.name));
        }
        Ok(names)
    }
}

#[tokio::test]
async fn a_snapshot_is_prepared_committed_and_stood_on() {
    let server = Server::start();
    let mut snapshots = Snapshots(server.snapshots().await);
    {
        let base = server.mount(&snapshots.prepare("preparing", "").await.unwrap());
        let mode = fs::metadata(base.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        fs::write(base.path().join("foo"), "foo\n").unwrap();
        fs::create_dir_all(base.path().join("a/b/c")).unwrap();
    }
    snapshots.commit("base", "preparing").await.unwrap();
    let info = snapshots.stat("base").await.unwrap();
    assert_eq!((info.kind(), info.parent.as_str()), (Kind::Committed, ""));
    refused(
        snapshots.stat("preparing").await,
        Code::NotFound,
        "snapshot preparing does not exist: not found",
    );
    {
        let next = server.mount(&snapshots.prepare("next", "base").await.unwrap());
        assert_eq!(fs::read(next.path().join("foo")).unwrap(), b"foo\n");
        fs::write(next.path().join("foo"), "changed\n").unwrap();
        fs::write(next.path().join("bar"), "bar\n").unwrap();
        fs::remove_dir_all(next.path().join("a/b")).unwrap();
    }
    snapshots.commit("top", "next").await.unwrap();
    let view = server.mount(&snapshots.view("view", "top").await.unwrap());
    assert_eq!(fs::read(view.path().join("foo")).unwrap(), b"changed\n");
    assert!(!view.path().join("a/b").exists() && view.path().join("a").exists());
    let error = fs::write(view.path().join("new"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    drop(view);
    let end = "cannot remove snapshot with child: failed precondition";
    refused(
        snapshots.remove("base").await,
        Code::FailedPrecondition,
        end,
    );
    for key in ["view", "top", "base"] {
        snapshots.remove(key).await.unwrap();
    }
    assert_eq!(snapshots.names(&[]).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn keys_and_kinds_are_checked() {
    let server = Server::start();
    let mut snapshots = Snapshots(server.snapshots().await);
    snapshots.prepare("a", "").await.unwrap();
    let taken = "already exists";
    refused(snapshots.prepare("a", "").await, Code::AlreadyExists, taken);
    refused(snapshots.view("a", "").await, Code::AlreadyExists, taken);
    refused(snapshots.commit("a", "a").await, Code::AlreadyExists, taken);
    refused(
        snapshots.prepare("b", "none").await,
        Code::NotFound,
        "parent snapshot none does not exist: not found",
    );
    refused(
        snapshots.prepare("b", "a").await,
        Code::InvalidArgument,
        "invalid argument",
    );
    snapshots.commit("base", "a").await.unwrap();
    // Also the sequence after which one snapshotter's database takes no writers any more.
    refused(
        snapshots.mounts("base").await,
        Code::FailedPrecondition,
        "failed precondition",
    );
    for number in 0..20 {
        snapshots.prepare(&format!("{number}"), "").await.unwrap();
    }
    refused(snapshots.remove("none").await, Code::NotFound, "not found");
}

#[tokio::test]
async fn mounts_are_those_of_the_preparation_also_after_a_restart() {
    let mut server = Server::start();
    let mut snapshots = Snapshots(server.snapshots().await);
    snapshots.prepare("a", "").await.unwrap();
    snapshots.commit("base", "a").await.unwrap();
    let prepared = snapshots.prepare("key", "base").await.unwrap();
    let mounted = server.mount(&prepared);
    fs::write(mounted.path().join("file"), "before").unwrap();
    server.restart();
    assert_eq!(fs::read(mounted.path().join("file")).unwrap(), b"before");
    fs::write(mounted.path().join("file"), "after").unwrap();
    let mut snapshots = Snapshots(server.snapshots().await);
    assert_eq!(snapshots.mounts("key").await.unwrap(), prepared);
    refused(
        snapshots.remove("key").await,
        Code::FailedPrecondition,
        "is in use: failed precondition",
    );
    snapshots.commit("name", "key").await.unwrap();
    let error = fs::write(mounted.path().join("file"), "late").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    let view = server.mount(&snapshots.view("view", "name").await.unwrap());
    assert_eq!(fs::read(view.path().join("file")).unwrap(), b"after");
}

#[tokio::test]
async fn labels_are_updated_under_a_mask_and_lists_are_filtered() {
    let server = Server::start();
    let mut snapshots = Snapshots(server.snapshots().await);
    for key in ["a", "b"] {
        snapshots.prepare(key, "").await.unwrap();
    }
    snapshots.commit("c", "a").await.unwrap();
    let update = async |labels: &[(&str, &str)], paths: &[&str]| {
        let pairs = labels.iter();
        let labels = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let update = UpdateSnapshotRequest {
            snapshotter: mica(),
            info: Some(Info {
                name: "c".to_owned(),
                parent: "ignored".to_owned(),
                labels: labels.collect(),
                ..Info::default()
            }),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
        };
        let mut client = snapshots.0.clone();
        client
            .update(request(update))
            .await
            .map(|info| info.into_inner().info.unwrap())
    };
    let info = update(&[("l1", "1"), ("l2", "2")], &[]).await.unwrap();
    assert_eq!((info.labels.len(), info.parent.as_str()), (2, ""));
    let info = update(&[("l1", "x"), ("l4", "4")], &["labels.l1", "labels.l2"])
        .await
        .unwrap();
    assert_eq!(
        info.labels,
        HashMap::from([("l1".to_owned(), "x".to_owned())])
    );
    let refusal = update(&[], &["parent"]).await;
    refused(refusal, Code::InvalidArgument, "invalid argument");
    for (filters, expected) in [
        (&["kind==active"][..], &["b"][..]),
        (&["name==b", "name==c"], &["b", "c"]),
        (&["labels.l1==x"], &["c"]),
        (&["name==c,labels.l9"], &[]),
    ] {
        assert_eq!(
            snapshots.names(filters).await.unwrap(),
            expected,
            "{filters:?}"
        );
    }
    let bad = snapshots.names(&["kind=active"]).await;
    refused(bad, Code::Unknown, "invalid argument");
}

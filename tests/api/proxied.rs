//! The store as the snapshotter of a containerd that keeps names by itself.

use std::collections::BTreeMap;

use mica_proto::snapshots::snapshots_client::SnapshotsClient;
use mica_proto::snapshots::{
    CleanupRequest, CommitSnapshotRequest, ListSnapshotsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::server::{Server, refused};

const REF: &str = "containerd.io/snapshot.ref";

fn mica() -> String {
    "mica".to_owned()
}

/// Returns a request as containerd passes it on, under a lease that only it knows.
fn passed_on<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("containerd-namespace", "default".parse().unwrap());
    metadata.insert("containerd-lease", "unknown".parse().unwrap());
    request
}

fn prepare(key: &str, parent: &str, labels: &[(&str, &str)]) -> PrepareSnapshotRequest {
    let pairs = labels.iter();
    PrepareSnapshotRequest {
        snapshotter: mica(),
        key: key.to_owned(),
        parent: parent.to_owned(),
        labels: pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn commit(name: &str, key: &str) -> CommitSnapshotRequest {
    CommitSnapshotRequest {
        snapshotter: mica(),
        name: name.to_owned(),
        key: key.to_owned(),
        ..CommitSnapshotRequest::default()
    }
}

async fn names(
    client: &mut SnapshotsClient<Channel>,
    request: Request<ListSnapshotsRequest>,
) -> Result<Vec<String>, Status> {
    let mut blocks = client.list(request).await?.into_inner();
    let mut names = Vec::new();
    while let Some(block) = blocks.message().await? {
        names.extend(block.info.into_iter().map(|info| info.name));
    }
    Ok(names)
}

fn list(filters: &[&str]) -> ListSnapshotsRequest {
    ListSnapshotsRequest {
        snapshotter: mica(),
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
    }
}

#[tokio::test]
async fn its_garbage_collector_names_no_namespace() {
    let server = Server::start();
    let mut client = server.snapshots().await;
    let own = Request::new(prepare("own", "", &[]));
    let end = "namespace is required: failed precondition";
    refused(client.prepare(own).await, Code::FailedPrecondition, end);
    let own = crate::client::request(prepare("own", "", &[]));
    client.prepare(own).await.unwrap();
    client
        .prepare(passed_on(prepare("default/1/a", "", &[])))
        .await
        .unwrap();
    client
        .commit(passed_on(commit("default/2/base", "default/1/a")))
        .await
        .unwrap();
    client
        .prepare(passed_on(prepare("default/3/b", "default/2/base", &[])))
        .await
        .unwrap();
    server.mica(&["gc"]);
    let all = names(&mut client, Request::new(list(&[]))).await.unwrap();
    assert_eq!(all, ["default/2/base", "default/3/b"]);
    for key in ["default/3/b", "default/2/base"] {
        let remove = RemoveSnapshotRequest {
            snapshotter: mica(),
            key: key.to_owned(),
        };
        client.remove(Request::new(remove)).await.unwrap();
    }
    let cleanup = CleanupRequest {
        snapshotter: mica(),
    };
    client.cleanup(Request::new(cleanup)).await.unwrap();
    let all = names(&mut client, Request::new(list(&[]))).await.unwrap();
    assert_eq!(all, [""; 0]);
}

#[tokio::test]
async fn a_layer_that_is_known_needs_no_unpacking() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let packed = server.mica(&["layer", "pack", directory.path().to_str().unwrap()]);
    let layer = packed.trim();
    let mut client = server.snapshots().await;
    let other = format!("sha256:{}", "0".repeat(64));
    let labels = [(REF, other.as_str())];
    client
        .prepare(passed_on(prepare("default/1/extract-1 x", "", &labels)))
        .await
        .unwrap();
    let known = prepare("default/2/extract-2 x", "", &[(REF, layer)]);
    let end = "already exists";
    refused(
        client.prepare(passed_on(known)).await,
        Code::AlreadyExists,
        end,
    );
    let question = format!("labels.\"{REF}\"==\"{layer}\",parent==\"\"");
    let found = names(&mut client, passed_on(list(&[&question]))).await;
    let base = format!("default/2/{layer}");
    assert_eq!(found.unwrap(), [base.as_str()]);
    let mounts = client
        .prepare(passed_on(prepare("default/3/b", &base, &[])))
        .await
        .unwrap();
    let source = &mounts.into_inner().mounts[0].source;
    assert!(std::path::Path::new(source).join("file").exists());
}

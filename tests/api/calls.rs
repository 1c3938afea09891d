//! What all calls have in common.

use std::os::unix::fs::PermissionsExt as _;

use mica_proto::introspection::introspection_client::IntrospectionClient;
use mica_proto::leases::leases_client::LeasesClient;
use mica_proto::leases::{CreateRequest, ListResourcesRequest};
use mica_proto::snapshots::{PrepareSnapshotRequest, StatSnapshotRequest};
use mica_proto::version::version_client::VersionClient;
use tonic::{Code, Request};

use crate::client::request;
use crate::server::{Server, refused};

fn stat() -> StatSnapshotRequest {
    StatSnapshotRequest {
        snapshotter: "mica".to_owned(),
        key: "x".to_owned(),
    }
}

#[tokio::test]
async fn a_call_needs_a_namespace_and_a_snapshotter() {
    let server = Server::start();
    let mut snapshots = server.snapshots().await;
    refused(
        snapshots.stat(Request::new(stat())).await,
        Code::FailedPrecondition,
        "namespace is required: failed precondition",
    );
    let mut bad = Request::new(stat());
    let name = "-bad-".parse().unwrap();
    bad.metadata_mut().insert("containerd-namespace", name);
    refused(
        snapshots.stat(bad).await,
        Code::InvalidArgument,
        "invalid argument",
    );
    for (name, message) in [
        ("", "snapshotter argument missing: invalid argument"),
        ("zz", "snapshotter not loaded: zz: invalid argument"),
    ] {
        let snapshotter = name.to_owned();
        let stat = StatSnapshotRequest {
            snapshotter,
            ..stat()
        };
        refused(
            snapshots.stat(request(stat)).await,
            Code::InvalidArgument,
            message,
        );
    }
}

#[tokio::test]
async fn what_is_made_under_a_lease_is_its_resource() {
    let server = Server::start();
    let mut snapshots = server.snapshots().await;
    let mut leases = LeasesClient::new(server.channel().await);
    let prepare = |key: &str, lease: &str| {
        let mut prepare = request(PrepareSnapshotRequest {
            snapshotter: "mica".to_owned(),
            key: key.to_owned(),
            ..PrepareSnapshotRequest::default()
        });
        prepare
            .metadata_mut()
            .insert("containerd-lease", lease.parse().unwrap());
        prepare
    };
    refused(
        snapshots.prepare(prepare("a", "none")).await,
        Code::NotFound,
        "lease does not exist: not found",
    );
    let create = CreateRequest {
        id: "lease".to_owned(),
        ..CreateRequest::default()
    };
    leases.create(request(create.clone())).await.unwrap();
    refused(
        leases.create(request(create)).await,
        Code::AlreadyExists,
        "already exists",
    );
    snapshots.prepare(prepare("a", "lease")).await.unwrap();
    let list = ListResourcesRequest {
        id: "lease".to_owned(),
    };
    let listed = leases
        .list_resources(request(list))
        .await
        .unwrap()
        .into_inner();
    let resources: Vec<_> = listed
        .resources
        .iter()
        .map(|resource| (resource.r#type.as_str(), resource.id.as_str()))
        .collect();
    assert_eq!(resources, [("snapshots/mica", "a")]);
}

#[tokio::test]
async fn the_server_tells_who_it_is() {
    let server = Server::start();
    let mut introspection = IntrospectionClient::new(server.channel().await);
    let told = introspection.server(()).await.unwrap().into_inner();
    assert_eq!(told.uuid.len(), 36);
    assert_ne!(told.pid, 0);
    let mut version = VersionClient::new(server.channel().await);
    let told = version.version(()).await.unwrap().into_inner();
    assert_eq!(told.version, format!("v{}", env!("CARGO_PKG_VERSION")));
    let mode = std::fs::metadata(server.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

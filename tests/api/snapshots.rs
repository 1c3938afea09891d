//! What of the life of snapshots the contract does not say: which refusals, and what a restart of
//! the server leaves.

use std::fs;

use tonic::Code;

use crate::client::Snapshots;
use crate::server::{Server, refused};

#[tokio::test]
async fn keys_and_kinds_are_checked() {
    let server = Server::start();
    let mut snapshots = Snapshots::on(server.way().await);
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
    let mut snapshots = Snapshots::on(server.way().await);
    snapshots.prepare("a", "").await.unwrap();
    snapshots.commit("base", "a").await.unwrap();
    let prepared = snapshots.prepare("key", "base").await.unwrap();
    let mounted = server.mount(&prepared);
    fs::write(mounted.path().join("file"), "before").unwrap();
    server.restart();
    assert_eq!(fs::read(mounted.path().join("file")).unwrap(), b"before");
    fs::write(mounted.path().join("file"), "after").unwrap();
    let mut snapshots = Snapshots::on(server.way().await);
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

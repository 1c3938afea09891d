//! The one mount of all snapshots, and the life of the process that serves it.

use std::fs;
use std::path::Path;

use mica_proto::types::Mount;
use rustix::process::{Signal, kill_process};

use crate::client::Snapshots;
use crate::server::Server;

/// Makes a committed snapshot of a file.
async fn base(server: &Server, snapshots: &mut Snapshots) {
    let mounted = server.mount(&snapshots.prepare("making", "").await.unwrap());
    fs::write(mounted.path().join("file"), "base").unwrap();
    drop(mounted);
    snapshots.commit("base", "making").await.unwrap();
}

fn source(mounts: &[Mount]) -> &Path {
    Path::new(&mounts[0].source)
}

#[tokio::test]
async fn one_process_shows_all_snapshots_and_a_later_server_finds_it() {
    let mut server = Server::start();
    let mut snapshots = Snapshots::on(server.way().await);
    base(&server, &mut snapshots).await;
    assert_eq!(server.views(), None, "nothing is to be shown yet");
    let one = server.mount(&snapshots.prepare("one", "base").await.unwrap());
    let views = server.views().unwrap();
    let two = server.mount(&snapshots.prepare("two", "base").await.unwrap());
    fs::write(one.path().join("file"), "one").unwrap();
    assert_eq!(fs::read(two.path().join("file")).unwrap(), b"base");
    server.restart();
    let mut snapshots = Snapshots::on(server.way().await);
    let three = server.mount(&snapshots.view("three", "base").await.unwrap());
    assert_eq!(fs::read(three.path().join("file")).unwrap(), b"base");
    assert_eq!(fs::read(one.path().join("file")).unwrap(), b"one");
    assert_eq!(server.views(), Some(views));
}

#[tokio::test]
async fn the_process_ends_when_nobody_needs_it() {
    let mut server = Server::start();
    let mut snapshots = Snapshots::on(server.way().await);
    base(&server, &mut snapshots).await;
    let prepared = snapshots.prepare("key", "base").await.unwrap();
    let mounted = server.mount(&prepared);
    server.kill();
    fs::write(mounted.path().join("file"), "changed").unwrap();
    assert!(server.views().is_some());
    drop(mounted);
    server.wait_for_end_of_views();
    assert!(!source(&prepared).exists());
    server.restart();
    let mut snapshots = Snapshots::on(server.way().await);
    assert_eq!(snapshots.mounts("key").await.unwrap(), prepared);
    let changed = fs::read(source(&prepared).join("file")).unwrap();
    assert_eq!(changed, b"changed");
}

#[tokio::test]
async fn a_process_that_was_killed_is_replaced() {
    let server = Server::start();
    let mut snapshots = Snapshots::on(server.way().await);
    base(&server, &mut snapshots).await;
    let prepared = snapshots.prepare("key", "base").await.unwrap();
    let mounted = server.mount(&prepared);
    fs::write(mounted.path().join("file"), "before").unwrap();
    kill_process(server.views().unwrap(), Signal::KILL).unwrap();
    server.wait_for_end_of_views();
    let error = fs::read(mounted.path().join("file")).unwrap_err();
    // The latter of what the kernel still waits for.
    let ends = [Some(libc::ENOTCONN), Some(libc::ECONNABORTED)];
    assert!(ends.contains(&error.raw_os_error()), "{error}");
    assert_eq!(snapshots.mounts("key").await.unwrap(), prepared);
    let again = server.mount(&prepared);
    assert_eq!(fs::read(again.path().join("file")).unwrap(), b"before");
    drop((mounted, again));
    snapshots.commit("top", "key").await.unwrap();
    snapshots.remove("top").await.unwrap();
}

#[tokio::test]
async fn what_was_just_used_is_committed_and_removed_at_once() {
    let server = Server::start();
    let mut snapshots = Snapshots::on(server.way().await);
    base(&server, &mut snapshots).await;
    let mut parent = "base".to_owned();
    for number in 0..8 {
        let key = format!("key {number}");
        let mounted = server.mount(&snapshots.prepare(&key, &parent).await.unwrap());
        fs::write(mounted.path().join("file"), &key).unwrap();
        fs::create_dir_all(mounted.path().join("a/b/c")).unwrap();
        drop(mounted);
        parent = format!("name {number}");
        snapshots.commit(&parent, &key).await.unwrap();
    }
    // The same key shows what stands below it now.
    for number in (0..8).rev() {
        let name = format!("name {number}");
        let shown = snapshots.view("view", &name).await.unwrap();
        let file = fs::read(source(&shown).join("file")).unwrap();
        assert_eq!(file, format!("key {number}").into_bytes());
        assert!(source(&shown).join("a/b/c").is_dir());
        snapshots.remove("view").await.unwrap();
        assert!(!source(&shown).exists());
        snapshots.remove(&name).await.unwrap();
    }
    snapshots.remove("base").await.unwrap();
}

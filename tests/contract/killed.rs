//! Clients that are killed in the middle of something leave nothing locked: this program, started
//! once more as a client, is killed by SIGKILL.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use mica::api::Way;
use mica_proto::diff::ApplyRequest;
use mica_proto::diff::diff_client::DiffClient;
use mica_proto::types::Descriptor;
use tonic::{Code, Status};

use crate::client::{NAMESPACE, Snapshots, labels, request};
use crate::content::blobs::Blobs;
use crate::stage::Stage;

/// The command that makes this program such a client.
pub(crate) const COMMAND: &str = "act-as-client";

/// How long what a client has held may be held still.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does what is to be cut short, and says so before: to write, to apply BLOB, or to list.
pub(crate) async fn act(socket: &str, what: &str, blob: &str) {
    let way = Way::to(socket.as_ref()).await.unwrap();
    match what {
        "write" => {
            let mut blobs = Blobs::on(way, NAMESPACE);
            let mut writer = blobs.writer("cut short", 0, "").await.unwrap();
            writer.write(b"abc").await.unwrap();
            say_ready();
            std::future::pending::<()>().await;
        }
        "apply" => {
            say_ready();
            apply(way, blob).await.unwrap();
        }
        _ => {
            let mut list = Snapshots::on(way).begin_list().await.unwrap();
            list.message().await.unwrap().unwrap();
            say_ready();
            std::future::pending::<()>().await;
        }
    }
}

fn say_ready() {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready").unwrap();
    stdout.flush().unwrap();
}

/// Applies a blob to the snapshot of the tests.
async fn apply(way: Way, digest: &str) -> Result<(), Status> {
    let mounts = Snapshots::on(way.clone()).mounts("key").await?;
    let apply = ApplyRequest {
        diff: Some(Descriptor {
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            digest: digest.to_owned(),
            ..Descriptor::default()
        }),
        mounts,
        ..ApplyRequest::default()
    };
    DiffClient::new(way).apply(request(apply)).await.map(drop)
}

/// Starts a client, and returns it when it is about to do what it is to.
fn client(stage: &Stage, what: &str, blob: &str) -> Child {
    let mut client = Command::new(std::env::current_exe().unwrap())
        .arg(COMMAND)
        .arg(stage.socket())
        .args([what, blob])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = client.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    client
}

fn kill(mut client: Child) {
    client.kill().unwrap();
    client.wait().unwrap();
}

/// Tries until it is not refused because something is in use.
async fn free<T>(mut attempt: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(status) => {
                let is_in_use = matches!(status.code(), Code::Unavailable | Code::Unimplemented);
                assert!(is_in_use, "{status}");
                assert!(Instant::now() < end, "it is in use still: {status}");
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn in_mid_write(stage: &mut Stage) {
    kill(client(stage, "write", ""));
    let mut blobs = Blobs::on(stage.way.clone(), NAMESPACE);
    let writer = free(async || blobs.writer("cut short", 0, "").await).await;
    assert_eq!(writer.last.offset, 3, "what was written is taken up");
    writer.commit(3, "", labels(&[])).await.unwrap();
}

pub(crate) async fn in_mid_apply(stage: &mut Stage) {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(256 << 20);
    let zeros = std::io::repeat(0);
    let contents = std::io::Read::take(zeros, 256 << 20);
    tar.append_data(&mut header, "zeros", contents).unwrap();
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    let blob = Blobs::on(stage.way.clone(), NAMESPACE).add(&bytes).await;
    stage.commit("base", "", |_| {}).await;
    stage.snapshots.prepare("key", "base").await.unwrap();
    let tmp = stage.store().join("tmp");
    let is_at_it = || fs::read_dir(&tmp).unwrap().next().is_some();
    assert!(!is_at_it());
    let applying = client(stage, "apply", &blob);
    let end = Instant::now() + PATIENCE;
    while !is_at_it() {
        assert!(Instant::now() < end, "nothing is unpacked");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kill(applying);
    free(async || apply(stage.way.clone(), &blob).await).await;
    stage.snapshots.commit("name", "key").await.unwrap();
    for name in ["name", "base"] {
        stage.snapshots.remove(name).await.unwrap();
    }
    assert!(!is_at_it(), "what was half-made is removed");
}

pub(crate) async fn in_mid_list(stage: &mut Stage) {
    // More than a client that reads nothing is sent.
    let text = "x".repeat(4000);
    for number in 0..200 {
        let key = format!("{number}");
        let pairs = [("text", text.as_str())];
        let prepared = stage.snapshots.prepare_with(&key, "", &pairs).await;
        prepared.unwrap();
    }
    let listing = client(stage, "list", "");
    stage.snapshots.remove("0").await.unwrap();
    kill(listing);
    stage.snapshots.prepare("0", "").await.unwrap();
    assert_eq!(stage.snapshots.names(&[]).await.unwrap().len(), 200);
}

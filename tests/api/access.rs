//! Who may connect, and what those who may can do to the others.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use mica_proto::content::content_client::ContentClient;
use mica_proto::content::{ReadContentRequest, WriteAction, WriteContentRequest};
use mica_proto::events::SubscribeRequest;
use mica_proto::events::events_client::EventsClient;
use mica_proto::snapshots::{PrepareSnapshotRequest, StatSnapshotResponse};
use mica_proto::version::version_client::VersionClient;
use rustix::process::{
    Gid, Pid, Resource, Rlimit, Signal, Uid, getrlimit, kill_process, setrlimit,
};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use tempfile::TempDir;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::client::{Snapshots, request};
use crate::server::{Server, program, refused};

/// A user who is not this process.
const OTHER: u32 = 65534;

/// Runs its arguments with its standard input as the socket of a service manager.
const SHELL: &str = r#"exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" </dev/null"#;

#[tokio::test]
async fn a_thousand_that_say_nothing_and_some_that_say_nonsense_do_no_harm() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let server = Server::start();
    let connect = || UnixStream::connect(server.socket()).unwrap();
    let silent: Vec<_> = (0..1000).map(|_| connect()).collect();
    for nonsense in [
        vec![0xff; 1 << 20],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // The preface, then a frame of 16 MiB that never comes.
        [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
        ]
        .concat(),
    ] {
        // The server may have hung up before all was said.
        drop(connect().write_all(&nonsense));
    }
    let mut client = VersionClient::new(server.channel().await);
    client.version(()).await.unwrap();
    drop(silent);
}

/// A request of more than any call takes, and one with fields that no call knows.
#[tokio::test]
async fn messages_of_absurd_size_and_unknown_fields_do_no_harm() {
    let server = Server::start();
    let channel = server.channel().await;
    let mut client = Grpc::new(channel.clone());
    let mut stat = async |message: PrepareSnapshotRequest| {
        let path = "/containerd.services.snapshots.v1.Snapshots/Stat";
        let path = path.parse().unwrap();
        client.ready().await.unwrap();
        let codec = ProstCodec::<_, StatSnapshotResponse>::default();
        client.unary(request(message), path, codec).await
    };
    // Of these only the first two are of a stat.
    let message = |text: &str| PrepareSnapshotRequest {
        snapshotter: "mica".to_owned(),
        key: "key".to_owned(),
        parent: text.to_owned(),
        labels: [("key".to_owned(), "value".to_owned())].into(),
    };
    Snapshots::on(server.way().await)
        .prepare("key", "")
        .await
        .unwrap();
    let found = stat(message("unknown")).await.unwrap().into_inner();
    assert_eq!(found.info.unwrap().name, "key");
    let absurd = "x".repeat(17 << 20);
    refused(stat(message(&absurd)).await, Code::OutOfRange, "");
    stat(message("")).await.unwrap();
}

#[tokio::test]
async fn streams_that_nobody_goes_on_with_do_no_harm() {
    // More than there are threads for calls.
    const READERS: usize = 600;
    let server = Server::start();
    let content = ContentClient::new(server.channel().await);
    let blob = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: "blob".to_owned(),
        data: vec![7; 8 << 20].into(),
        ..WriteContentRequest::default()
    };
    let mut content = content.clone().max_encoding_message_size(16 << 20);
    let written = content.write(request(tokio_stream::iter([blob]))).await;
    let answer = written.unwrap().into_inner().message().await.unwrap();
    let digest = answer.unwrap().digest;
    let mut open = Vec::new();
    for number in 0..READERS {
        // A connection takes so many streams.
        if number % 100 == 0 {
            content = ContentClient::new(server.channel().await);
        }
        let read = ReadContentRequest {
            digest: digest.clone(),
            ..ReadContentRequest::default()
        };
        open.push(content.read(request(read)).await.unwrap());
    }
    let mut followed = Vec::new();
    let mut events = EventsClient::new(server.channel().await);
    for _ in 0..16 {
        let all = SubscribeRequest::default();
        followed.push(events.subscribe(request(all)).await.unwrap());
    }
    let (silent, nothing) = channel(1);
    let unwritten = request(ReceiverStream::new(nothing));
    let unwritten = tokio::spawn(async move { content.write(unwritten).await.map(drop) });
    let mut snapshots = Snapshots::on(server.way().await);
    snapshots.prepare("key", "").await.unwrap();
    snapshots.remove("key").await.unwrap();
    drop(silent);
    drop(unwritten.await);
    drop((open, followed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_opens_the_socket_and_is_told() {
    let directory = TempDir::with_prefix("mica-api-").unwrap();
    let path = |name: &str| directory.path().join(name);
    let listener = UnixListener::bind(path("socket")).unwrap();
    let manager = UnixDatagram::bind(path("notify")).unwrap();
    let mut process = Command::new("sh")
        .args(["-c", SHELL, "sh"])
        .args([env!("CARGO_BIN_EXE_mica"), "--root"])
        .arg(path("store"))
        .arg("serve")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .env("NOTIFY_SOCKET", path("notify"))
        .spawn()
        .unwrap();
    let mut word = [0; 64];
    let length = manager.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"READY=1");
    let socket = format!("unix://{}", path("socket").display());
    let channel = Endpoint::from_shared(socket).unwrap().connect().await;
    VersionClient::new(channel.unwrap())
        .version(())
        .await
        .unwrap();
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    let length = manager.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"STOPPING=1");
    assert!(process.wait().unwrap().success());
    assert!(path("socket").exists(), "it is the service manager's");
}

/// Does something as another user, of whom this process has one thread.
fn as_user<T: Send + 'static>(user: u32, does: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        let (group, user) = (Gid::from_raw(user), Uid::from_raw(user));
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        does()
    });
    thread.join().unwrap()
}

/// Connects as another user, and says what a client says first; returns whether the server
/// has anything to say to that.
fn connect_as(user: u32, socket: &Path) -> io::Result<bool> {
    let socket = socket.to_owned();
    as_user(user, move || {
        let mut connection = UnixStream::connect(socket)?;
        // The preface, and settings with nothing in them. It may have hung up before.
        drop(connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"));
        match connection.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            other => Ok(other? > 0),
        }
    })
}

#[test]
fn another_user_is_kept_out_by_the_mode_and_by_the_server() {
    let server = Server::start();
    let socket = server.socket();
    let run = socket.parent().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // Whoever made a way to the socket, it is not for all.
    mode(run, 0o755);
    mode(run.parent().unwrap(), 0o755);
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    let refused = connect_as(OTHER, &socket).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    mode(&socket, 0o666);
    assert!(!connect_as(OTHER, &socket).unwrap(), "hung up");
    assert!(connect_as(0, &socket).unwrap());
}

/// A command asks only a server of its own user and of its own store.
#[test]
fn commands_ask_no_server_that_is_not_for_them() {
    let server = Server::start();
    let other = Server::start();
    let asks = |server: &Server| {
        let output = Command::new(program())
            .args(["--debug", "--root"])
            .arg(server.store())
            .arg("images")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        (said.contains(" answers"), said)
    };
    let told = server.store().join("served-at");
    assert_eq!(
        fs::read(&told).unwrap(),
        server.socket().as_os_str().as_bytes()
    );
    assert!(asks(&server).0);
    fs::write(&told, other.socket().as_os_str().as_bytes()).unwrap();
    let (is_asked, said) = asks(&server);
    assert!(
        !is_asked && said.contains("serves something else"),
        "{said}"
    );
    // Of another user.
    fs::remove_file(&told).unwrap();
    let theirs = TempDir::with_prefix("mica-api-").unwrap();
    chown(theirs.path(), Some(OTHER), Some(OTHER)).unwrap();
    let path = theirs.path().join("socket");
    fs::write(&told, path.as_os_str().as_bytes()).unwrap();
    let listener = as_user(OTHER, move || UnixListener::bind(path).unwrap());
    let (is_asked, said) = asks(&server);
    assert!(!is_asked && said.contains("another user's"), "{said}");
    drop(listener);
    // Nobody at all.
    fs::write(&told, "/nowhere").unwrap();
    assert!(!asks(&server).0);
}

#[test]
fn a_store_whose_path_is_no_text_is_not_served() {
    let directory = TempDir::with_prefix("mica-api-").unwrap();
    let name = std::ffi::OsStr::from_bytes(b"st\xffre");
    let output = Command::new(env!("CARGO_BIN_EXE_mica"))
        .arg("--root")
        .arg(directory.path().join(name))
        .args(["serve", "--socket"])
        .arg(directory.path().join("socket"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is not UTF-8"), "{said}");
    assert!(!directory.path().join("socket").exists());
}

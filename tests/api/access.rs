//! Who may connect, and what those who may can do to the others.

use std::io::Write as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use mica_proto::version::version_client::VersionClient;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::server::Server;

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

//! The server: the API of a store on a Unix socket.
//!
//! The socket belongs to the user who serves, and nobody else may connect; a service manager
//! may have opened it. One server at a time serves a store, and says in the file `served-at`
//! where it listens. Commands ask it, or work beside it, since it gives the records up when
//! somebody else wants them. Mounts are served by processes of
//! their own and go on when the server ends.

mod systemd;

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;

use crate::api::{self, Identity};
use crate::containerd::{Containerd, ContainerdError};
use crate::daemon;
use crate::publish;
use crate::store::{LockError, LockName, Store};

/// How long calls that are under way may keep the server from its end.
const PATIENCE: Duration = Duration::from_secs(3);
/// The file of the store that says where its server listens.
const SERVED_AT: &str = "served-at";

/// Why a store could not be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Another server serves the store or the socket.
    #[error("{} is served already", path.display())]
    Served {
        /// The store or the socket.
        path: PathBuf,
    },
    /// What clients are told of files is text, and the path of the store is not.
    #[error("the path of the store, {}, is not UTF-8", path.display())]
    NotText {
        /// The store.
        path: PathBuf,
    },
    /// The socket or a file of the server could not be made.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// Connections could not be served.
    #[error("serve {}", path.display())]
    Transport {
        /// The socket.
        path: PathBuf,
        /// The failure.
        source: tonic::transport::Error,
    },
    /// The containerd cannot be asked.
    #[error(transparent)]
    Containerd(#[from] ContainerdError),
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl ServeError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Served { .. } => Some("one server at a time serves a store"),
            Self::NotText { .. } => Some("move the store, or name it by a path that is UTF-8"),
            _ => None,
        }
    }
}

/// Returns the socket used when none is named: in the system's run-time directory for root,
/// in the user's for others; without one, in the store.
pub fn default_socket(store: &Store) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/mica/mica.sock");
    }
    let run = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    run.filter(|run| run.is_absolute()).map_or_else(
        || store.root().join("mica.sock"),
        |run| run.join("mica/mica.sock"),
    )
}

/// Serves until SIGTERM or SIGINT; `ready` is called once clients can connect. What is to be
/// unpacked may be in the store of the containerd of a socket.
pub async fn serve(
    store: &Arc<Store>,
    socket: &Path,
    containerd: Option<&Path>,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    if store.root().to_str().is_none() {
        return Err(ServeError::NotText {
            path: store.root().to_owned(),
        });
    }
    let only = store.locks().exclusive_in_a_moment(&LockName::Server)?;
    let _only = only.ok_or_else(|| ServeError::Served {
        path: store.root().to_owned(),
    })?;
    let containerd = containerd.map(Containerd::at).transpose()?;
    store.meta().keep_open();
    let views = store.views().clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = views.resume() {
            tracing::warn!(%error, "have the views back");
        }
    });
    let identity = Identity { uuid: uuid(store)? };
    let inherited = systemd::inherited().and_then(|inherited| {
        let inherited = inherited.map(UnixListener::from_std);
        inherited.transpose()
    });
    let inherited = inherited.map_err(failed("take over", socket))?;
    let is_ours = inherited.is_none();
    let listener = match inherited {
        Some(listener) => listener,
        None => listen(socket).await?,
    };
    tell_where(store, &listener, socket)?;
    daemon::raise_descriptor_limit();
    let ended = ended().map_err(failed("catch signals for", socket))?;
    let owner = rustix::process::geteuid().as_raw();
    let connections =
        UnixListenerStream::new(listener).filter(move |connection| match connection {
            Ok(connection) => is_of(connection, owner),
            Err(_) => true,
        });
    ready();
    tell("READY=1");
    let routes = api::routes(store, identity, containerd);
    let served = until_ended(Server::builder().add_routes(routes), connections, ended).await;
    remove(&store.root().join(SERVED_AT))?;
    if is_ours {
        remove(socket)?;
    }
    served.map_err(|source| ServeError::Transport {
        path: socket.to_owned(),
        source,
    })
}

/// Serves until it is to end, and then for a moment those whose calls are under way.
async fn until_ended(
    server: tonic::transport::server::Router,
    connections: impl Stream<Item = io::Result<UnixStream>>,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), tonic::transport::Error> {
    let (told, mut is_told) = watch::channel(false);
    let mut is_to_leave = is_told.clone();
    tokio::spawn(async move {
        ended.await;
        tell("STOPPING=1");
        told.send_replace(true);
    });
    let stop = async move { drop(is_told.wait_for(|told| *told).await) };
    let leave = async move {
        drop(is_to_leave.wait_for(|told| *told).await);
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        outcome = server.serve_with_incoming_shutdown(connections, stop) => outcome,
        () = leave => Ok(()),
    }
}

/// Tells the service manager, if there is one.
fn tell(state: &str) {
    if let Err(error) = systemd::notify(state) {
        tracing::warn!(%error, "tell the service manager {state}");
    }
}

/// Makes the socket, in place of one that a dead server has left.
async fn listen(socket: &Path) -> Result<UnixListener, ServeError> {
    if let Some(directory) = socket.parent() {
        publish::create_private(directory).map_err(failed("create", directory))?;
    }
    match UnixStream::connect(socket).await {
        Ok(_) => {
            let path = socket.to_owned();
            return Err(ServeError::Served { path });
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(socket).map_err(failed("remove", socket))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("connect to", socket)(error)),
    }
    let listener = UnixListener::bind(socket).map_err(failed("listen on", socket))?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))
        .map_err(failed("set the mode of", socket))?;
    Ok(listener)
}

/// Writes down where clients find the server.
fn tell_where(store: &Store, listener: &UnixListener, socket: &Path) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(failed("name", socket))?;
    let listens_at = address.as_pathname().unwrap_or(socket);
    let path = store.root().join(SERVED_AT);
    let written = std::path::absolute(listens_at)
        .and_then(|at| publish::write_file(&path, at.as_os_str().as_encoded_bytes()));
    written.map_err(failed("write", &path))
}

/// Returns where the server of a store listens, or has listened if it was killed.
pub(crate) fn socket_of(store: &Store) -> Result<Option<PathBuf>, ServeError> {
    let path = store.root().join(SERVED_AT);
    match fs::read(&path) {
        Ok(socket) => Ok(Some(OsString::from_vec(socket).into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

/// Removes a file that may have gone already.
fn remove(path: &Path) -> Result<(), ServeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", path)),
    }
}

/// Returns whether the owner or root has connected; a process whose user cannot be told has
/// not.
fn is_of(connection: &UnixStream, owner: u32) -> bool {
    connection
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0)
}

/// Ends with the first signal that says to end.
fn ended() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Returns the number that all servers of a store have in common; the first makes it.
fn uuid(store: &Store) -> Result<String, ServeError> {
    let path = store.root().join("uuid");
    match fs::read_to_string(&path) {
        Ok(uuid) => return Ok(uuid.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &path)(error)),
    }
    let random = Path::new("/proc/sys/kernel/random/uuid");
    let uuid = fs::read_to_string(random).map_err(failed("read", random))?;
    publish::write_file(&path, uuid.as_bytes()).map_err(failed("write", &path))?;
    Ok(uuid.trim().to_owned())
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> ServeError {
    move |source| ServeError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

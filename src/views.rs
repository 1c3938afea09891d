//! The views of a store's snapshots: one mount for all of them, served by one process.
//!
//! ```text
//! views/shown/<id>   the mount, and in it the tree of a snapshot
//! views/plans/<id>   what that tree is made of
//! views/socket       how the process is asked to let go of a tree
//! views/log          its warnings and errors
//! ```
//! The process is started by the first server that needs it and goes on without one: it
//! ends when no server is left and nothing of the mount is mounted elsewhere. It knows no
//! records. A plan is written before anybody is told of its path, and a tree is opened when
//! the path is first looked up. Numbers of snapshots never come again, so a path shows one
//! snapshot and no later one.
//!
//! Before a snapshot is committed or removed, its plan goes first and then the process is
//! asked to let go; it opens no tree whose plan is gone ([`catalogue`]). So the directory of
//! a snapshot is nobody's when that is done, though its tree may be in use still.

mod catalogue;
mod child;
mod control;
mod link;
mod plan;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mica_fuse::session::{self, MountError};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use thiserror::Error;

use crate::daemon::{self, DaemonError};
use crate::meta::SnapshotId;
use crate::mounts::TreePlan;
use crate::publish;
use crate::store::{LockError, StoreError};

pub use child::serve_child;
use link::{Heard, Link, Order};
use plan::Written;

/// The command of the executable that serves the views of a store; not for people.
pub const SERVE_COMMAND: &str = "serve-views";

/// Why a view could not be shown or taken away.
#[derive(Debug, Error)]
pub enum ViewsError {
    /// The process could not be started.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The views could not be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A lock could not be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another process serves the views.
    #[error("the views in {} are served already", path.display())]
    Served {
        /// The directory.
        path: PathBuf,
    },
    /// The process could not do what it was asked for.
    #[error("the process that serves {} has failed: {message}", path.display())]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// What one process said, the other did not understand.
    #[error("understand {}", path.display())]
    Word {
        /// The file or socket.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A system call failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The views of one store, and connections to the process that serves them.
#[derive(Debug, Clone)]
pub(crate) struct Views {
    store: PathBuf,
    places: Places,
    /// Connections that nobody uses now; a process with one goes on.
    idle: Arc<Mutex<Vec<Link>>>,
    /// Held while a process is started.
    starting: Arc<Mutex<()>>,
}

/// Where everything is.
#[derive(Debug, Clone)]
struct Places {
    directory: PathBuf,
}

impl Places {
    fn in_store(root: &Path) -> Self {
        let directory = root.join("views");
        Self { directory }
    }

    fn shown(&self) -> PathBuf {
        self.directory.join("shown")
    }

    fn plans(&self) -> PathBuf {
        self.directory.join("plans")
    }

    fn plan(&self, id: SnapshotId) -> PathBuf {
        self.plans().join(id.to_string())
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Returns whether anything is mounted, without asking who serves it.
    fn is_mounted(&self) -> Result<bool, ViewsError> {
        let device = |path: &Path| {
            let flags = AtFlags::STATX_DONT_SYNC | AtFlags::SYMLINK_NOFOLLOW;
            match statx(CWD, path, flags, StatxFlags::empty()) {
                Ok(stat) => Ok(Some((stat.stx_dev_major, stat.stx_dev_minor))),
                Err(Errno::NOENT | Errno::NOTCONN) => Ok(None),
                Err(errno) => Err(failed("stat", path)(errno.into())),
            }
        };
        let shown = device(&self.shown())?;
        Ok(shown.is_some() && shown != device(&self.directory)?)
    }
}

impl Views {
    /// Names the views of a store; nothing is made or started.
    pub(crate) fn of_store(root: &Path) -> Self {
        Self {
            store: root.to_owned(),
            places: Places::in_store(root),
            idle: Arc::default(),
            starting: Arc::default(),
        }
    }

    /// Shows a snapshot and returns where.
    pub(crate) fn show(&self, id: SnapshotId, plan: &TreePlan) -> Result<PathBuf, ViewsError> {
        let link = self.started()?;
        if plan.write(&self.places.plan(id))? == Written::Changed {
            // Whoever looks the path up from now on finds the new tree.
            self.ask(link, Order::Uproot(id))?;
        } else {
            self.idle().push(link);
        }
        Ok(self.places.shown().join(id.to_string()))
    }

    /// Has a snapshot that is about to be committed take no more changes, and nobody hold
    /// its directory. What was written is in the directory when this returns.
    pub(crate) fn freeze(&self, id: SnapshotId) -> Result<(), ViewsError> {
        self.let_go(id, Order::Freeze(id))
    }

    /// Has a snapshot that is about to be removed shown no more, and nobody hold its
    /// directory.
    pub(crate) fn take_away(&self, id: SnapshotId) -> Result<(), ViewsError> {
        self.let_go(id, Order::Uproot(id))
    }

    /// Returns whether a tree is mounted elsewhere too, as far as this process sees.
    pub(crate) fn is_mounted_elsewhere(&self, id: SnapshotId) -> Result<bool, ViewsError> {
        if !self.places.plan(id).exists() {
            return Ok(false);
        }
        let mounts = session::mounts()?;
        let shown = self.places.shown();
        let is_views = |mount: &&session::Mount| mount.point == shown && mount.is_ours();
        let Some(views) = mounts.iter().rfind(is_views) else {
            return Ok(false);
        };
        let root = Path::new("/").join(id.to_string());
        Ok(mounts.iter().any(|mount| {
            mount.device == views.device && mount.point != shown && mount.root.starts_with(&root)
        }))
    }

    /// Returns the snapshot whose tree is shown at a path.
    pub(crate) fn snapshot_at(&self, path: &Path) -> Option<SnapshotId> {
        let name = path.strip_prefix(self.places.shown()).ok()?.to_str()?;
        SnapshotId::named(name)
    }

    /// Has the mount back after a restart: forgets plans whose snapshots are gone, and
    /// starts the process if one is left.
    pub(crate) fn resume(&self) -> Result<(), ViewsError> {
        let mut is_needed = false;
        for id in plan::list(&self.places.plans())? {
            let snapshot = self.store.join("snapshots").join(id.to_string());
            if snapshot.try_exists().map_err(failed("stat", &snapshot))? {
                is_needed = true;
            } else {
                plan::remove(&self.places.plan(id))?;
            }
        }
        let link = if is_needed {
            Some(self.started()?)
        } else {
            self.running()?
        };
        self.idle().extend(link);
        Ok(())
    }

    fn let_go(&self, id: SnapshotId, order: Order) -> Result<(), ViewsError> {
        plan::remove(&self.places.plan(id))?;
        match self.running()? {
            Some(link) => self.ask(link, order),
            None => Ok(()),
        }
    }

    /// Asks for something. A process that has died holds nothing and shows nothing.
    fn ask(&self, mut link: Link, order: Order) -> Result<(), ViewsError> {
        if link.ask(order)? == Heard::Done {
            self.idle().push(link);
        }
        Ok(())
    }

    /// Returns a connection to the process, which is started if none runs.
    fn started(&self) -> Result<Link, ViewsError> {
        if let Some(link) = self.running()? {
            return Ok(link);
        }
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = self.running()? {
            return Ok(link);
        }
        self.start()?;
        self.running()?.ok_or_else(|| ViewsError::Failed {
            path: self.places.directory.clone(),
            message: "it has ended at once".to_owned(),
        })
    }

    /// Returns a connection to the process, if one runs.
    fn running(&self) -> Result<Option<Link>, ViewsError> {
        let idle = self.idle().pop().filter(Link::is_alive);
        let link = match idle {
            Some(link) => Some(link),
            None => Link::connect(&self.places.directory)?,
        };
        let Some(mut link) = link else {
            self.idle().clear();
            return Ok(None);
        };
        if self.places.is_mounted()? {
            return Ok(Some(link));
        }
        // Somebody has taken the mount away.
        link.ask(Order::Retire)?;
        self.idle().clear();
        Ok(None)
    }

    fn start(&self) -> Result<(), ViewsError> {
        for directory in [
            &self.places.directory,
            &self.places.plans(),
            &self.places.shown(),
        ] {
            match publish::create_private(directory) {
                // The mount of a process that has died.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(failed("create", directory))?,
            }
        }
        let program = std::env::current_exe();
        let program = program.map_err(failed("find the program for", &self.places.directory))?;
        let mut command = Command::new(program);
        command.arg(SERVE_COMMAND).arg(&self.store);
        Ok(daemon::start(&mut command, b"", &self.places.shown())?)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> ViewsError {
    move |source| ViewsError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

fn failed_word(path: &Path) -> impl Fn(serde_json::Error) -> ViewsError {
    move |source| ViewsError::Word {
        path: path.to_owned(),
        source,
    }
}

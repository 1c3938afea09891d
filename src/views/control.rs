//! What the serving process does when it is asked to, and when nobody is left who could.

use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mica_fuse::Forest;
use mica_fuse::session::{self, Busy, MountError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tracing::{error, warn};

use super::catalogue::Catalogue;
use super::link::{self, Answer, Order};
use super::{Places, ViewsError, failed};
use crate::meta::SnapshotId;
use crate::store::FileLock;

/// How long the process waits for another server when the last one has gone and nothing is
/// mounted elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// The control of a serving process.
#[derive(Debug)]
pub(super) struct Control {
    trees: Trees,
    listener: UnixListener,
    place: Arc<Place>,
}

/// What orders are about.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    pub(super) places: Places,
    pub(super) catalogue: Catalogue,
    pub(super) forest: Arc<Forest>,
}

/// What tells others that this process serves.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    /// `None` once the process has made room.
    lock: Mutex<Option<FileLock>>,
    connections: AtomicUsize,
}

impl Control {
    pub(super) fn new(trees: Trees, lock: FileLock) -> Result<Self, ViewsError> {
        let directory = trees.places.directory.clone();
        Ok(Self {
            listener: link::listen(&directory)?,
            trees,
            place: Arc::new(Place {
                directory,
                lock: Mutex::new(Some(lock)),
                connections: AtomicUsize::new(0),
            }),
        })
    }

    /// Does what it is asked for until it is to make room for another, or is needed by
    /// nobody; then the mount is gone, and the session ends with its last user.
    pub(super) fn run(self) {
        let mut alone_since = None;
        loop {
            let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut listener, Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => self.accept(),
                Err(errno) => return error!("wait for connections: {errno}"),
            }
            if self.place.is_given_up() {
                return;
            }
            if self.place.connections.load(Ordering::Acquire) > 0 {
                alone_since = None;
                continue;
            }
            let since = *alone_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= PATIENCE && self.is_unmounted() {
                return self.place.give_up();
            }
        }
    }

    fn accept(&self) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => return warn!("accept a connection: {error}"),
        };
        self.place.connections.fetch_add(1, Ordering::AcqRel);
        let (trees, place) = (self.trees.clone(), Arc::clone(&self.place));
        std::thread::spawn(move || {
            trees.answer(stream, &place);
            place.connections.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Takes the mount away unless somebody uses it; returns whether it is gone.
    fn is_unmounted(&self) -> bool {
        let shown = self.trees.places.shown();
        let mounts = session::mounts().unwrap_or_default();
        let Some(views) = mounts.iter().rfind(|mount| mount.point == shown) else {
            return true;
        };
        let is_elsewhere =
            |mount: &session::Mount| mount.device == views.device && mount.point != shown;
        if mounts.iter().any(is_elsewhere) {
            return false;
        }
        match session::unmount(&shown, Busy::Refuse) {
            Ok(()) | Err(MountError::NotMounted { .. }) => true,
            Err(MountError::Busy { .. }) => false,
            Err(error) => {
                warn!("{error}");
                false
            }
        }
    }
}

impl Place {
    fn give_up(&self) {
        let lock = self.lock().take();
        if lock.is_some()
            && let Err(error) = link::remove(&self.directory)
        {
            warn!("{error}");
        }
        // After the socket: the next to have it makes another one.
        drop(lock);
    }

    fn is_given_up(&self) -> bool {
        self.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<FileLock>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trees {
    fn answer(&self, stream: UnixStream, place: &Place) {
        let mut stream = BufReader::new(stream);
        loop {
            let order = match link::hear(&mut stream) {
                Ok(line) if line.is_empty() => return,
                Ok(line) => serde_json::from_slice(&line),
                Err(error) => return warn!("hear an order: {error}"),
            };
            let done = match order {
                Ok(order) => self.follow(order, place).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let answer = match done {
                Ok(()) => Answer::Done,
                Err(message) => Answer::Failed(message),
            };
            if let Err(error) = link::say(stream.get_mut(), &answer) {
                return warn!("answer an order: {error}");
            }
        }
    }

    fn follow(&self, order: Order, place: &Place) -> Result<(), ViewsError> {
        match order {
            Order::Hello => {}
            Order::Freeze(id) => self.freeze(id)?,
            Order::Uproot(id) => {
                self.forest.uproot(id.to_string().as_bytes());
                self.catalogue.let_go(id);
            }
            Order::Retire => place.give_up(),
        }
        Ok(())
    }

    fn freeze(&self, id: SnapshotId) -> Result<(), ViewsError> {
        if self.catalogue.is_writable(id) {
            self.flush()?;
        }
        self.forest.freeze(id.to_string().as_bytes());
        self.catalogue.let_go(id);
        Ok(())
    }

    /// Has the kernel pass on what was written, before it is refused.
    fn flush(&self) -> Result<(), ViewsError> {
        let shown = self.places.shown();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&shown, flags, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .map_err(|errno| failed("sync", &shown)(errno.into()))
    }
}

//! Files that the kernel reads and writes by itself (`FUSE_PASSTHROUGH`).
//!
//! A file is registered with the connection and known by a number from then on, which the
//! answer to an open names. Files that are open keep what is behind them when the number is
//! given back.
//!
//! What is registered may outlive the session. It does not keep the connection: when the
//! session closes its descriptors, whoever still waits for an answer gets an error.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use tracing::debug;

use crate::sys;

/// The registered files of one session.
#[derive(Clone, Debug)]
pub(crate) struct Backings {
    session: Weak<OwnedFd>,
}

impl Backings {
    /// Returns the registry of a session, or why the kernel has none for this process.
    ///
    /// `EPERM` is the answer both to a process without `CAP_SYS_ADMIN` and where passing
    /// through was not agreed on.
    pub(crate) fn of(session: &Arc<OwnedFd>) -> rustix::io::Result<Self> {
        let backings = Self {
            session: Arc::downgrade(session),
        };
        let probe = rustix::fs::memfd_create("mica-probe", MemfdFlags::CLOEXEC)?;
        let id = backings.register(probe.as_fd())?.id();
        debug!(id, "the kernel takes files to read and write by itself");
        Ok(backings)
    }

    /// Registers a regular file that is open for reading and writing.
    ///
    /// Fails with `ELOOP` where the file lies on a stacked file system itself, and with
    /// `ENODEV` once the session is over.
    pub(crate) fn register(&self, file: BorrowedFd<'_>) -> rustix::io::Result<Backing> {
        let session = self.session.upgrade().ok_or(Errno::NODEV)?;
        Ok(Backing {
            id: sys::open_fuse_backing(session.as_fd(), file)?,
            session: self.session.clone(),
        })
    }
}

/// One registered file; its number is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Backing {
    id: i32,
    session: Weak<OwnedFd>,
}

impl Backing {
    /// Returns the number, for [`Opened::backing`](crate::Opened).
    pub(crate) fn id(&self) -> i32 {
        self.id
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        // The number went with the session.
        let Some(session) = self.session.upgrade() else {
            return;
        };
        if let Err(errno) = sys::close_fuse_backing(session.as_fd(), self.id) {
            debug!("give back a registered file: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::session::{CacheMode, MountOptions};
    use crate::{Access, session};

    /// Mounts and shakes hands, calls `check` with what there is, and unmounts.
    fn with_backings<T>(cache: CacheMode, check: impl FnOnce(&Result<Backings, Errno>) -> T) -> T {
        let point = tempfile::tempdir().unwrap();
        let mut options = MountOptions::new("mica-test", Access::Enforce);
        options.writable = true;
        options.cache = cache;
        let session = session::handshake::mount(point.path(), &options, true, false);
        let session = Arc::new(session.unwrap().descriptor);
        let backings = Backings::of(&session);
        let checked = check(&backings);
        session::unmount(point.path(), session::Busy::Detach).unwrap();
        drop(session);
        if let Ok(backings) = backings {
            let late = backings.register(tempfile::tempfile().unwrap().as_fd());
            assert_eq!(late.unwrap_err(), Errno::NODEV, "the session is over");
        }
        checked
    }

    /// Registers twice, gives both back, and registers once more; then a directory.
    fn register(backings: &Backings) -> Result<([i32; 3], Result<Backing, Errno>), Errno> {
        let file = tempfile::tempfile().unwrap();
        let ids = {
            let first = backings.register(file.as_fd())?;
            let second = backings.register(file.as_fd())?;
            [first.id(), second.id()]
        };
        let again = backings.register(file.as_fd())?.id();
        let directory = File::open(std::env::temp_dir()).unwrap();
        Ok((
            [ids[0], ids[1], again],
            backings.register(directory.as_fd()),
        ))
    }

    #[test]
    fn files_are_registered_where_passing_through_was_agreed_on() {
        let outcome = with_backings(CacheMode::Passthrough, |backings| {
            backings.as_ref().map_err(|errno| *errno).and_then(register)
        });
        let (ids, directory) = match outcome {
            Err(Errno::PERM | Errno::NOTTY | Errno::OPNOTSUPP) => {
                println!("skipped: no CAP_SYS_ADMIN, or a kernel that passes nothing through");
                return;
            }
            other => other.unwrap(),
        };
        assert!(ids.iter().all(|id| *id > 0) && ids[0] != ids[1], "{ids:?}");
        assert!(directory.is_err(), "only regular files");
    }

    #[test]
    fn nothing_is_registered_where_it_was_not_agreed_on() {
        with_backings(CacheMode::Through, |backings| assert!(backings.is_err()));
    }
}

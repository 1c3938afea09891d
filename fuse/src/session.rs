//! Mounts: a view shown at a directory, from the handshake to the unmount.
//!
//! fuser mounts (directly, or through `fusermount3` without privilege) and shakes
//! hands; the descriptor and the mount are then this module's own. A session serves
//! until the mount is gone; to drop it takes the mount away.

mod error;
pub(crate) mod handshake;
mod mountinfo;
mod mountpoint;
mod options;
mod stop;
mod unmount;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use tracing::{debug, warn};

pub use error::MountError;
pub use mountinfo::{Device, Mount, mounts};
pub use mountpoint::resolve;
pub use options::{CacheMode, MountOptions};
pub use stop::StopHandle;
pub use unmount::{Busy, unmount};

use crate::Tree;
pub use crate::kernel::Statistics;
use crate::kernel::backing::Backings;
use crate::kernel::crew::Crew;
use crate::kernel::device;
use crate::kernel::notify::Notifier;
use crate::kernel::serve::{Server, Service};
use unmount::unmount_if;

/// The type of a mount of this crate in `/proc/mounts`, unless it was asked for another.
pub const FILE_SYSTEM_TYPE: &str = "fuse.mica";

/// The name of the threads that serve, at most 15 bytes (`PR_SET_NAME`).
const THREAD_NAME: &str = "mica-serve";

/// What the read-ahead of a mount is raised to, in KiB, where that is allowed.
const READ_AHEAD_KIB: u32 = 1024;

/// A tree that is mounted. The kernel has the answer to INIT; its requests wait until
/// [`Session::serve`] is called.
#[derive(Debug)]
pub struct Session {
    tree: Arc<Tree>,
    mount: Mounted,
    descriptor: Arc<OwnedFd>,
    options: MountOptions,
    statistics: Arc<Statistics>,
    stop: stop::Stop,
}

/// A mount that is taken away when this is dropped, unless it is gone already.
#[derive(Debug)]
struct Mounted {
    point: PathBuf,
    device: Device,
    file_system_type: String,
}

impl Session {
    /// Mounts `tree` at `mountpoint` and answers INIT.
    ///
    /// The layers of the tree are open already, so a layer below the mount point does
    /// not matter.
    pub fn mount(
        tree: Arc<Tree>,
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let mut options = options.clone();
        // A view answers no open, so the kernel would truncate on its own word.
        options.writable &= tree.is_writable();
        let point = mountpoint::check(mountpoint, &options)?;
        let stop = stop::Stop::new().map_err(MountError::system("make a pipe", &point))?;
        let descriptor = handshake::mount(&point, &options, tree.has_xattrs())?;
        let file_system_type = options.file_system_type();
        let is_made = |mount: &Mount| mount.file_system_type == file_system_type;
        let device = device_of(&point, is_made)
            .inspect_err(|_| drop(unmount_if(&point, Busy::Detach, is_made)))?;
        let mount = Mounted {
            point,
            device,
            file_system_type,
        };
        raise_read_ahead(device);
        let descriptor = Arc::new(descriptor);
        introduce(&tree, &options, &descriptor);
        Ok(Self {
            tree,
            mount,
            descriptor,
            options,
            statistics: Arc::default(),
            stop,
        })
    }

    /// Returns the mount point, absolute and free of symbolic links.
    pub fn mountpoint(&self) -> &Path {
        &self.mount.point
    }

    /// Returns the counts of this session's messages.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    /// Returns a handle that ends [`Session::serve`] from another thread or a signal handler.
    pub fn stop_handle(&self) -> Result<StopHandle, MountError> {
        self.stop.handle().map_err(MountError::system(
            "duplicate the stop pipe of",
            self.mountpoint(),
        ))
    }

    /// Serves until the file system is unmounted or a [`StopHandle`] fires; the mount is
    /// gone when this returns, from under its users if need be.
    pub fn serve(self) -> Result<(), MountError> {
        let failed = |what| MountError::system(what, &self.mount.point);
        let over = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(failed("make an event descriptor for"))?;
        let crew = Crew::default();
        let company = self.options.company();
        let service = Service {
            tree: &self.tree,
            crew: &crew,
            company: company.as_ref(),
            statistics: &self.statistics,
            over: over.as_fd(),
            patience: self.options.effective_patience(),
            buffer: handshake::MAX_WRITE as usize + 4096,
        };
        let mut servers = Vec::new();
        for _ in 0..self.options.effective_threads() {
            let device = device::Device::another(self.descriptor.as_fd())
                .map_err(failed("open another descriptor for"))?;
            servers.push(Server::new(&service, device).map_err(failed("map a buffer for"))?);
        }
        let (over, company) = (&over, company.as_ref());
        thread::scope(|scope| {
            let mut outcome = Ok(());
            let mut threads = Vec::new();
            for server in servers {
                let run = move || {
                    let _end = End(over);
                    server.run()
                };
                match start(scope, run) {
                    Ok(thread) => threads.push(thread),
                    Err(errno) => {
                        outcome = outcome.and(Err(failed("start a thread for")(errno)));
                        announce(over);
                    }
                }
            }
            if let Some(company) = company
                && let Err(errno) = start(scope, || company.keep())
            {
                debug!("start a companion: {errno}");
            }
            outcome = outcome.and(self.wait_for_end(over));
            crew.dismiss();
            if let Some(company) = company {
                company.dismiss();
            }
            announce(over);
            for thread in threads {
                // A panic has been printed by its thread; the mount ends as after a failure.
                let served = thread.join().unwrap_or(Err(Errno::IO));
                outcome = outcome.and(served.map_err(failed("serve")));
            }
            outcome
        })
    }

    /// Waits until the threads say that it is over, or unmounts when told to stop.
    fn wait_for_end(&self, over: &OwnedFd) -> Result<(), MountError> {
        loop {
            let mut descriptors = [
                PollFd::new(&over, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
            ];
            match poll(&mut descriptors, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(MountError::system("wait for", &self.mount.point)(errno)),
            }
            let [over, stop] = descriptors.map(|descriptor| descriptor.revents());
            if !over.is_empty() {
                return Ok(());
            }
            if !stop.is_empty() {
                return self.mount.remove();
            }
        }
    }
}

/// Gives a writable tree its ways to the kernel: to tell what changed, and to have files
/// read and written without it, where that was asked for and is allowed.
fn introduce(tree: &Tree, options: &MountOptions, descriptor: &Arc<OwnedFd>) {
    let Some(active) = tree.active() else {
        return;
    };
    active.set_notifier(Notifier::of(descriptor));
    if options.cache == CacheMode::Writeback {
        active.set_behind();
    }
    if !options.writable || options.cache != CacheMode::Passthrough {
        return;
    }
    match Backings::of(descriptor) {
        Ok(backings) => active.set_backings(backings),
        // Only a matter of speed: without privilege, or of a kernel that cannot.
        Err(errno) => debug!("pass nothing through: {errno}"),
    }
}

/// Starts a thread of a session.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Errno> {
    thread::Builder::new()
        .name(THREAD_NAME.into())
        .spawn_scoped(scope, run)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
}

/// Returns the device of the mount that was just made.
fn device_of(point: &Path, is_made: impl Fn(&Mount) -> bool) -> Result<Device, MountError> {
    let mount = mountinfo::topmost(point)?.filter(is_made);
    let missing = || MountError::NotMounted {
        point: point.to_path_buf(),
    };
    mount.map(|mount| mount.device).ok_or_else(missing)
}

impl Mounted {
    /// Takes the mount away, also from under its users; it may be gone already.
    fn remove(&self) -> Result<(), MountError> {
        let is_this = |mount: &Mount| {
            mount.device == self.device && mount.file_system_type == self.file_system_type
        };
        match mountinfo::topmost(&self.point)? {
            Some(mount) if is_this(&mount) => unmount_if(&self.point, Busy::Detach, is_this),
            _ => Ok(()),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            warn!("{error}");
        }
    }
}

/// Says that the session is over when a thread ends, however it ends.
struct End<'s>(&'s OwnedFd);

impl Drop for End<'_> {
    fn drop(&mut self) {
        announce(self.0);
    }
}

/// Makes the event descriptor readable for good: nobody reads it.
fn announce(over: &OwnedFd) {
    if let Err(errno) = rustix::io::write(over, &1_u64.to_ne_bytes()) {
        debug!("event descriptor: {errno}");
    }
}

/// Lets the kernel ask for more at a time than its 128 KiB, where root may say so.
fn raise_read_ahead(device: Device) {
    let path = format!(
        "/sys/class/bdi/{}:{}/read_ahead_kb",
        device.major, device.minor
    );
    let Err(error) = std::fs::write(&path, READ_AHEAD_KIB.to_string()) else {
        return;
    };
    // Only a matter of speed. EACCES, EPERM: without privilege; ENOENT: no sysfs, or that
    // of another network namespace; EROFS: sysfs of a container.
    if !matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::ENOENT | libc::EROFS)
    ) {
        warn!("write {path}: {error}");
    }
}

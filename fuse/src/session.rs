//! Mounts: a view shown at a directory, from the handshake to the unmount.
//!
//! fuser mounts (directly, or through `fusermount3` without privilege) and shakes
//! hands; the descriptor and the mount are then this module's own. A session serves
//! until the mount is gone; to drop it takes the mount away.

mod error;
mod handover;
pub(crate) mod handshake;
mod introduction;
mod mountinfo;
mod mountpoint;
mod options;
mod serving;
mod stop;
mod unmount;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

pub use error::MountError;
pub use handover::Handover;
pub(crate) use introduction::Introduction;
pub use mountinfo::{Device, Mount, mounts};
pub use mountpoint::resolve;
pub use options::{CacheMode, MountOptions, Transport};
pub use stop::StopHandle;
pub use unmount::{Busy, unmount};

use crate::Shown;
use crate::kernel::ring::Rings;
pub use crate::kernel::{Counts, RequestCounts, Statistics};
use unmount::unmount_if;

/// The type of a mount of this crate in `/proc/mounts`, unless it was asked for another.
pub const FILE_SYSTEM_TYPE: &str = "fuse.mica";

/// What the read-ahead of a mount is raised to, in KiB, where that is allowed.
const READ_AHEAD_KIB: u32 = 1024;

/// Trees that are mounted. The kernel has the answer to INIT; its requests wait until
/// [`Session::serve`] is called.
#[derive(Debug)]
pub struct Session {
    shown: Shown,
    mount: Mounted,
    descriptor: Arc<OwnedFd>,
    options: MountOptions,
    statistics: Arc<Statistics>,
    stop: stop::Stop,
    /// What the kernel was told that it will get.
    rings: Option<Rings>,
    /// Whether another process has served before.
    resumes: bool,
}

/// A mount that is taken away when this is dropped, unless it is gone already.
#[derive(Debug)]
struct Mounted {
    point: PathBuf,
    device: Device,
    file_system_type: String,
}

impl Session {
    /// Mounts a tree or a forest at `mountpoint` and answers INIT.
    ///
    /// The layers of a tree are open already, so a layer below the mount point does
    /// not matter.
    pub fn mount(
        shown: impl Into<Shown>,
        mountpoint: &Path,
        options: &MountOptions,
    ) -> Result<Self, MountError> {
        let shown = shown.into();
        let mut options = options.clone();
        // A view answers no open, so the kernel would truncate on its own word.
        options.writable &= shown.is_writable();
        let point = mountpoint::check(mountpoint, &options)?;
        let stop = stop::Stop::new().map_err(MountError::system("make a pipe", &point))?;
        let rings = options.rings(handshake::MAX_WRITE as usize);
        let agreed = handshake::mount(&point, &options, shown.has_xattrs(), rings.is_some())?;
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
        let descriptor = Arc::new(agreed.descriptor);
        let statistics = counting(&mount.point)?;
        shown.introduce(Introduction::of(&options, &descriptor));
        Ok(Self {
            shown,
            mount,
            descriptor,
            options,
            statistics,
            stop,
            rings: rings.filter(|_| agreed.rings),
            resumes: false,
        })
    }

    /// Returns how requests come, as agreed with the kernel; [`Session::serve_telling`]
    /// knows what became of that.
    pub fn transport(&self) -> Transport {
        match (&self.rings, self.options.transport) {
            (Some(_), _) => Transport::Ring,
            (None, Transport::Block) => Transport::Block,
            (None, _) => Transport::Poll,
        }
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
}

/// Begins to count.
fn counting(point: &Path) -> Result<Arc<Statistics>, MountError> {
    let failed = MountError::system("make a file in memory for", point);
    Statistics::new().map(Arc::new).map_err(failed)
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
    /// Takes the mount away, also from under its users; it may be gone already. Closing the
    /// descriptors is not enough: a process that was forked from this one may have them too,
    /// and wait for an answer that nobody gives.
    fn remove(&self) -> Result<(), MountError> {
        let is_this = |mount: &Mount| {
            mount.device == self.device && mount.file_system_type == self.file_system_type
        };
        match mountinfo::topmost(&self.point)? {
            Some(mount) if is_this(&mount) => unmount_if(&self.point, Busy::Abort, is_this),
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

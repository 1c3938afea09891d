//! Why a mount could not be made or taken away.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a mount could not be made, served or taken away.
#[derive(Debug, Error)]
pub enum MountError {
    /// The kernel offers no FUSE.
    #[error("there is no /dev/fuse")]
    NoDevice,
    /// `/dev/fuse` may not be opened.
    #[error("/dev/fuse may not be opened by this user")]
    DeviceRefused,
    /// Without privilege a helper must mount, and there is none.
    #[error("fusermount3 was not found")]
    NoFusermount,
    /// The helper is there, and not for everybody.
    #[error("fusermount3 may not be run by this user")]
    HelperRefused,
    /// The helper refused.
    #[error("fusermount3 refused to mount at {}: {message}", point.display())]
    FusermountRefused {
        /// The mount point.
        point: PathBuf,
        /// What the helper printed.
        message: String,
    },
    /// The mount point is not there.
    #[error("mount point {} does not exist", point.display())]
    Missing {
        /// The mount point.
        point: PathBuf,
    },
    /// The mount point is no directory.
    #[error("mount point {} is not a directory", point.display())]
    NotADirectory {
        /// The mount point.
        point: PathBuf,
    },
    /// The mount would hide entries.
    #[error("mount point {} is not empty", point.display())]
    NotEmpty {
        /// The mount point.
        point: PathBuf,
    },
    /// The mount point has a mount of this kind.
    #[error("{} is already a mount of mica", point.display())]
    AlreadyMounted {
        /// The mount point.
        point: PathBuf,
    },
    /// Nothing is mounted there.
    #[error("{} is not mounted", point.display())]
    NotMounted {
        /// The mount point.
        point: PathBuf,
    },
    /// What is mounted there is not ours to take away.
    #[error("{} is a mount of type {file_system_type}, not of mica", point.display())]
    NotOurs {
        /// The mount point.
        point: PathBuf,
        /// The type of the topmost mount there.
        file_system_type: String,
    },
    /// Files below the mount point are in use.
    #[error("{} is in use", point.display())]
    Busy {
        /// The mount point.
        point: PathBuf,
    },
    /// The helper did not unmount.
    #[error("fusermount3 did not unmount {}: {message}", point.display())]
    FusermountFailed {
        /// The mount point.
        point: PathBuf,
        /// What the helper printed.
        message: String,
    },
    /// What the session knows would be lost with its process.
    #[error("no other process can go on with the mount at {}", point.display())]
    NotTransferable {
        /// The mount point.
        point: PathBuf,
    },
    /// Mounting or the handshake failed.
    #[error("mount at {}", point.display())]
    Mount {
        /// The mount point.
        point: PathBuf,
        /// What the kernel or the helper said.
        source: io::Error,
    },
    /// A system call failed.
    #[error("{operation} {}", object.display())]
    System {
        /// What was tried.
        operation: &'static str,
        /// What it was tried on.
        object: PathBuf,
        /// The errno that the kernel gave.
        source: Errno,
    },
}

impl MountError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDevice => Some(
                "load the module (modprobe fuse), or give the container the device (--device /dev/fuse)",
            ),
            Self::DeviceRefused => Some("give the device mode 0666"),
            Self::NoFusermount => Some("install fuse3 (apt-get install fuse3), or mount as root"),
            Self::HelperRefused => {
                Some("let its group or everybody run it (chmod 4755), or mount as root")
            }
            Self::FusermountRefused { .. } => {
                Some("mount on a directory of your own; `mica doctor` looks at the rest")
            }
            Self::Missing { .. } | Self::NotEmpty { .. } => Some("mount on an empty directory"),
            Self::AlreadyMounted { .. } => Some("`mica umount` it first"),
            Self::Busy { .. } => Some("`mica umount --lazy` takes it away from under its users"),
            _ => None,
        }
    }

    pub(crate) fn system(operation: &'static str, object: &Path) -> impl Fn(Errno) -> Self {
        move |source| Self::System {
            operation,
            object: object.to_path_buf(),
            source,
        }
    }
}

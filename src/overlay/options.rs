//! The options of `-o`, one by one: the last of a name holds.

mod draft;
mod flags;

use std::path::PathBuf;
use std::time::Duration;

use mica_fuse::IdMaps;
use mica_fuse::session::Transport;

pub(super) use draft::Draft;
pub use flags::Flags;

/// All that a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct OverlayOptions {
    /// The directories below, uppermost first.
    pub lower: Vec<PathBuf>,
    /// Where changes go; without it there are none.
    pub upper: Option<UpperPaths>,
    /// Where to mount.
    pub mountpoint: PathBuf,
    /// Whose the files are shown as (`uidmapping`, `gidmapping`, `squash_to_*`).
    pub ids: IdMaps,
    /// Where owners and modes are kept, if not with the files themselves.
    pub xattr_permissions: Option<StatOverride>,
    /// Whether extended attributes are shown and taken (`noxattrs`).
    pub xattrs: bool,
    /// Whether access control lists have effect (`noacl`).
    pub acl: bool,
    /// Whether every directory is shown with one link (`static_nlink`).
    pub static_nlink: bool,
    /// Whether inode numbers are cut to 32 bits (`ino32_t`).
    pub ino32: bool,
    /// How long the kernel may keep names and attributes, also of what is not there.
    pub timeout: Duration,
    /// Whether `fsync` has effect (`fsync`, `volatile`).
    pub syncs: bool,
    /// Whether the kernel may write later what it was given; `None` if nothing was said.
    pub writeback: Option<bool>,
    /// How requests come from the kernel (`transport`, which fuse-overlayfs has not).
    pub transport: Transport,
    /// What the kernel is told at the mount.
    pub flags: Flags,
    /// Whether the process that was called serves (`-f`, `-d`).
    pub foreground: bool,
    /// Whether it tells what it does (`-d`).
    pub debug: bool,
}

/// The two directories of an upper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpperPaths {
    /// What changes go to.
    pub upper: PathBuf,
    /// Where they are prepared, on the same file system.
    pub work: PathBuf,
}

/// In which attribute the owner, mode and type of a file of the upper are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatOverride {
    /// `security.fuseoverlayfs.override_stat` (`xattr_permissions=1`).
    Privileged,
    /// `user.containers.override_stat` (`xattr_permissions=2`).
    Containers,
}

/// What `timeout` is without being set, and at most, in seconds.
const LONGEST_TIMEOUT: f64 = 1e9;

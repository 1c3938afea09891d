//! From options to a tree and how it is mounted.
//!
//! Every directory is opened before anything is mounted, so the mount point may be the
//! upper, or lie above a lower.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mica_fuse::session::{CacheMode, MountOptions};
use mica_fuse::{
    Access, ActiveView, Appearance, DirectoryLayer, Layer, Ownership, Tree, Upper, UpperOptions,
    View, ViewOptions, XattrSpace,
};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::environment;
use super::{Identity, OverlayError, OverlayOptions, StatOverride, UpperPaths};

/// The attribute that tells whether this process can write those of overlayfs.
const PROBE: &str = "trusted.overlay.probe";

/// How long an upper may be in use by another mount: an unmount returns before the process
/// that served has ended, and callers mount the same directories again at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens what the options name. Relative paths are those of this process.
pub(super) fn open(options: &OverlayOptions) -> Result<Tree, OverlayError> {
    let mut layers = Vec::with_capacity(options.lower.len());
    for path in &options.lower {
        let layer = DirectoryLayer::open(path).map_err(OverlayError::Lower)?;
        layers.push(Layer::Directory(Arc::new(layer)));
    }
    let shown = ViewOptions {
        access: Access::Enforce,
    };
    let tree = match &options.upper {
        None => View::open(layers, shown).map(Tree::from),
        Some(paths) => {
            let upper = open_upper(paths, options).map_err(OverlayError::Upper)?;
            ActiveView::open(layers, upper, shown).map(Tree::from)
        }
    };
    let tree = tree.map_err(OverlayError::View)?;
    Ok(tree.with_appearance(Appearance {
        ids: options.ids.clone(),
        xattrs: options.xattrs,
        static_nlink: options.static_nlink,
        ino32: options.ino32,
        by_xattr: false,
        owners: None,
        timeout: options.timeout,
    }))
}

/// Returns how the tree is mounted.
pub(super) fn mount_options(options: &OverlayOptions, identity: Identity) -> MountOptions {
    let flags = options.flags;
    let mut mount = MountOptions::new(identity.name(), Access::Enforce);
    identity.name().clone_into(&mut mount.subtype);
    mount.allow_other = flags.allow_other;
    mount.suid = flags.suid;
    mount.dev = flags.dev;
    mount.exec = flags.exec;
    mount.noatime = !flags.atime;
    mount.allow_nonempty = true;
    mount.writable = options.upper.is_some() && !flags.read_only;
    mount.acl = options.acl;
    mount.transport = options.transport;
    let best = if environment::forbids_passthrough() {
        CacheMode::Writeback
    } else {
        CacheMode::best_for_process()
    };
    mount.cache = match (options.writeback, best) {
        (Some(true), _) => CacheMode::Writeback,
        (Some(false), CacheMode::Writeback) => CacheMode::Through,
        (_, best) => best,
    };
    mount
}

fn open_upper(paths: &UpperPaths, options: &OverlayOptions) -> mica_fuse::Result<Upper> {
    let how = UpperOptions {
        ownership: ownership(options),
        xattrs: xattr_space(&paths.work),
        volatile: !options.syncs,
        whiteouts: environment::whiteouts(),
        // Other programs read these uppers, which take a file for a file.
        links_are_files: false,
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Upper::open(&paths.upper, &paths.work, how) {
            Err(error) if error.errno() == Errno::BUSY && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// Returns what becomes of the owners of what is made.
fn ownership(options: &OverlayOptions) -> Ownership {
    match options.xattr_permissions {
        Some(StatOverride::Privileged) => Ownership::Privileged,
        Some(StatOverride::Containers) => Ownership::Containers,
        None if options.ids.users.is_squashed() || options.ids.groups.is_squashed() => {
            Ownership::Attempted
        }
        None => Ownership::Real,
    }
}

/// Returns where the marks of overlayfs can be written: root of a user namespace looks
/// like root and may not write what root may.
fn xattr_space(work: &Path) -> XattrSpace {
    let probed = rustix::fs::setxattr(work, PROBE, b"", XattrFlags::empty())
        .and_then(|()| rustix::fs::removexattr(work, PROBE));
    match probed {
        Ok(()) => XattrSpace::Trusted,
        // EPERM, EOPNOTSUPP. Whatever else is wrong is told when the directory is opened.
        Err(_) => XattrSpace::User,
    }
}

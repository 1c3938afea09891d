//! What fuse-overlayfs is told by its environment.

use std::env;
use std::fs::OpenOptions;
use std::io;
use std::sync::Mutex;

use mica_fuse::Whiteouts;

/// Names a file to which a process in the background appends what it does.
const DEBUG_LOG: &str = "FUSE_OVERLAYFS_DEBUG_LOG";

/// Set to anything, it keeps the kernel from reading and writing files by itself.
const NO_PASSTHROUGH: &str = "FUSE_OVERLAYFS_NO_PASSTHROUGH";

/// Set to anything, it makes whiteouts files, which other programs may have to copy.
const NO_WHITEOUT_DEVICES: &str = "FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT";

/// Returns what whiteouts are.
pub(super) fn whiteouts() -> Whiteouts {
    match env::var_os(NO_WHITEOUT_DEVICES) {
        Some(_) => Whiteouts::Files,
        None => Whiteouts::Devices,
    }
}

/// Returns whether the kernel may read and write no files by itself.
pub(super) fn forbids_passthrough() -> bool {
    env::var_os(NO_PASSTHROUGH).is_some()
}

/// Appends from now on what is done to the file that is named, if one is.
pub(super) fn start_log() -> io::Result<()> {
    let Some(path) = env::var_os(DEBUG_LOG).filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .with_max_level(tracing::Level::DEBUG)
        .init();
    Ok(())
}

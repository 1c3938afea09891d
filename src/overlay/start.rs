//! The command's side: a process of its own serves.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::{Call, OverlayError, OverlayOptions, SERVE_COMMAND};
use crate::daemon;

/// This executable, also where its file has been replaced since.
const PROGRAM: &str = "/proc/self/exe";

/// Mounts in a process of its own and returns when it serves.
///
/// It is given the same command line, which is what a list of processes then shows, and
/// the same working directory.
pub fn start(call: &Call, options: &OverlayOptions) -> Result<(), OverlayError> {
    let mut command = Command::new(Path::new(PROGRAM));
    command
        .arg0(&call.name)
        .arg(SERVE_COMMAND)
        .args(&call.arguments);
    Ok(daemon::start(&mut command, &[], &options.mountpoint)?)
}

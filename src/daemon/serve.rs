//! The process's side: cuts its ties, and says its first word.

use std::error::Error;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::{DaemonError, failed, failed_call};
use crate::causes::causes;
use crate::sys;

/// Descriptors for which the table has room from the start: chains of layers are shorter, and
/// the table takes 8 KiB.
const ROOM: i32 = 1024;

/// What a serving process says first, in one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word<R> {
    /// The kernel has its answer to INIT, and requests are served.
    Ready(R),
    /// What went wrong.
    Failed(Failure),
}

/// An error on its way from one process to another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(super) message: String,
    /// The nearest first.
    pub(super) causes: Vec<String>,
    pub(super) hint: Option<String>,
}

impl<R: Serialize> Word<R> {
    /// Says it to the command that waits for it.
    pub(crate) fn say(&self) -> Result<(), DaemonError> {
        let stdout = Path::new("-");
        let mut line = serde_json::to_vec(self).map_err(|source| DaemonError::Word {
            point: stdout.to_owned(),
            source,
        })?;
        line.push(b'\n');
        let mut output = io::stdout().lock();
        output
            .write_all(&line)
            .and_then(|()| output.flush())
            .map_err(failed("write", stdout))
    }
}

/// Closes what a careless caller left open. Comes before anything is opened.
pub(crate) fn close_inherited() -> Result<(), DaemonError> {
    sys::close_inherited().map_err(failed_call("close", Path::new("inherited descriptors")))
}

/// Leaves the session and the file mode mask of the command.
pub(crate) fn detach() -> Result<(), DaemonError> {
    rustix::process::setsid()
        .map_err(failed_call("start a session in", Path::new("/proc/self")))?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// Lets go of the standard descriptors, so that who waits for their end goes on; stderr
/// becomes `log`, or nothing.
pub(crate) fn let_go(log: Option<BorrowedFd<'_>>) -> Result<(), DaemonError> {
    let null = Path::new("/dev/null");
    let descriptor = rustix::fs::open(null, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed_call("open", null))?;
    rustix::stdio::dup2_stdin(&descriptor)
        .and_then(|()| rustix::stdio::dup2_stdout(&descriptor))
        // Panics say their message there by themselves.
        .and_then(|()| rustix::stdio::dup2_stderr(log.unwrap_or(descriptor.as_fd())))
        .map_err(failed_call("duplicate", null))
}

/// Returns an error with its causes as it is told to the command.
pub(crate) fn describe(error: &(dyn Error + 'static), hint: Option<&str>) -> Failure {
    Failure {
        message: error.to_string(),
        causes: causes(error).map(ToString::to_string).collect(),
        hint: hint.map(str::to_owned),
    }
}

/// Lets this process open as many files as it ever may: directory layers keep files open, and
/// packed ones a directory each.
///
/// Comes before other threads are started: the kernel has who outgrows the table of descriptors
/// beside other threads wait for all processors, many milliseconds each time it doubles.
pub(crate) fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(errno) = rustix::process::setrlimit(Resource::Nofile, raised) {
        warn!("raise the limit of open files: {errno}");
    }
    if let Err(errno) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), ROOM - 1) {
        debug!("make room for descriptors: {errno}");
    }
}

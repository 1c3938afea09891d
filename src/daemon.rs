//! Processes that serve a mount in the background.
//!
//! The command starts this executable again, hands it what it must know on its standard
//! input, and waits for the first [`Word`] on its standard output: ready, or what went
//! wrong. After that the process has no tie to the command, its terminal or its
//! descriptors, and a signal that says to end takes the mount away. What is served, and
//! what is written down about it, is left to the callers.

pub(crate) mod log;
mod serve;
mod signals;
mod start;

pub(crate) use serve::{Word, close_inherited, describe, detach, let_go, raise_descriptor_limit};
pub(crate) use signals::EndSignals;
pub(crate) use start::start;

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a process could not be started, heard from, or let go of its parent.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The process said why it does not serve.
    #[error("{message}")]
    Refused {
        /// Its message.
        message: String,
        /// The causes of it, the nearest first.
        #[source]
        cause: Option<Cause>,
        /// What the user may do about it.
        hint: Option<String>,
    },
    /// The process ended without a word.
    #[error("the process for {} ended at its start ({status})", point.display())]
    Died {
        /// The mount point.
        point: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// What one process said, the other did not understand.
    #[error("hear from the process for {}", point.display())]
    Word {
        /// The mount point, or `-` in the process itself.
        point: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// A system call failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl DaemonError {
    /// Returns what the user may do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

/// One cause out of a chain that another process reported as text.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    pub(crate) fn chain(messages: Vec<String>) -> Option<Self> {
        messages.into_iter().rev().fold(None, |source, message| {
            Some(Self {
                message,
                source: source.map(Box::new),
            })
        })
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> DaemonError {
    move |source| DaemonError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

fn failed_call(operation: &'static str, path: &Path) -> impl Fn(Errno) -> DaemonError {
    move |errno| failed(operation, path)(errno.into())
}

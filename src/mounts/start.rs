//! The command's side: starts the serving process and waits for its first word.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{Cause, MountPlan, MountRecord, MountsError, SERVE_COMMAND, failed};

/// The most bytes of a first word: a record of hundreds of layers fits many times.
const WORD_LIMIT: u64 = 1 << 20;

/// What a serving process says first, in one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FirstWord {
    /// The kernel has its answer to INIT, and requests are served.
    Ready(Box<MountRecord>),
    /// What went wrong.
    Failed(Failure),
}

/// An error on its way from one process to another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// The nearest first.
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

/// Mounts what the plan says in a process of its own and returns when it is served.
pub fn start(plan: &MountPlan) -> Result<MountRecord, MountsError> {
    let point = plan.mountpoint.as_path();
    let program = std::env::current_exe().map_err(failed("find the program to serve", point))?;
    let mut child = Command::new(&program)
        .arg(SERVE_COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed("start", &program))?;
    let word = converse(plan, &mut child);
    match word {
        Ok(Some(FirstWord::Ready(record))) => {
            // A long-lived caller must not collect dead children.
            std::thread::spawn(move || child.wait());
            Ok(*record)
        }
        other => {
            let status = child
                .wait()
                .map_err(failed("wait for the process of", point))?;
            match other? {
                Some(FirstWord::Failed(failure)) => Err(MountsError::Refused {
                    message: failure.message,
                    cause: Cause::chain(failure.causes),
                    hint: failure.hint,
                }),
                _ => Err(MountsError::Died {
                    point: point.to_owned(),
                    status,
                }),
            }
        }
    }
}

/// Sends the plan and returns the first word, or `None` if the process said nothing.
fn converse(plan: &MountPlan, child: &mut Child) -> Result<Option<FirstWord>, MountsError> {
    let point = plan.mountpoint.as_path();
    let described = |source| MountsError::Description {
        path: "-".into(),
        source,
    };
    let json = serde_json::to_vec(plan).map_err(described)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(&json) {
            // EPIPE: the process ended before it read all; its word or status says more.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(failed("send the plan for", point)(error));
            }
            _ => {}
        }
    }
    let mut line = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout.take(WORD_LIMIT))
            .read_until(b'\n', &mut line)
            .map_err(failed("hear from the process of", point))?;
    }
    if line.is_empty() {
        Ok(None)
    } else {
        serde_json::from_slice(&line).map(Some).map_err(described)
    }
}

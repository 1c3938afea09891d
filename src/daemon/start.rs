//! The command's side: starts the process and waits for its first word.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::de::DeserializeOwned;

use super::serve::Word;
use super::{Cause, DaemonError, failed};

/// The most bytes of a first word: a record of hundreds of layers fits many times.
const WORD_LIMIT: u64 = 1 << 20;

/// Starts the process that serves a mount at `point`, writes `input` to it, and returns
/// what it has to say once it serves.
pub(crate) fn start<R: DeserializeOwned>(
    command: &mut Command,
    input: &[u8],
    point: &Path,
) -> Result<R, DaemonError> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed("start", Path::new(command.get_program())))?;
    match converse(input, point, &mut child) {
        Ok(Some(Word::Ready(ready))) => {
            // A long-lived caller must not collect dead children.
            std::thread::spawn(move || child.wait());
            Ok(ready)
        }
        other => {
            let status = child
                .wait()
                .map_err(failed("wait for the process of", point))?;
            match other? {
                Some(Word::Failed(failure)) => Err(DaemonError::Refused {
                    message: failure.message,
                    cause: Cause::chain(failure.causes),
                    hint: failure.hint,
                }),
                _ => Err(DaemonError::Died {
                    point: point.to_owned(),
                    status,
                }),
            }
        }
    }
}

/// Sends the input and returns the first word, or `None` if the process said nothing.
fn converse<R: DeserializeOwned>(
    input: &[u8],
    point: &Path,
    child: &mut Child,
) -> Result<Option<Word<R>>, DaemonError> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input) {
            // EPIPE: the process ended before it read all; its word or status says more.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
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
        return Ok(None);
    }
    let word = serde_json::from_slice(&line).map_err(|source| DaemonError::Word {
        point: point.to_owned(),
        source,
    });
    word.map(Some)
}

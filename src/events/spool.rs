//! The spool: files of JSON lines, `events/<number>`, the last two of which are kept.
//!
//! A writer holds the spool's lock for one append. It goes on in the file of the
//! highest number, or in the next one when that is full, and then removes those before
//! the last two. A line that a crash has torn is ended by the next writer.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use super::{Envelope, Events, EventsError};
use crate::publish;
use crate::store::{self, LockName};

/// Bytes after which a file is full.
const FULL: u64 = 4 << 20;
/// How long an event may keep the operation that it tells of.
const PATIENCE: Duration = Duration::from_secs(1);

/// Appends events.
pub(super) fn append(
    events: &Events,
    envelopes: impl Iterator<Item = Envelope>,
) -> Result<(), EventsError> {
    let mut lines = Vec::new();
    for envelope in envelopes {
        serde_json::to_writer(&mut lines, &envelope).map_err(EventsError::Encode)?;
        lines.push(b'\n');
    }
    if lines.is_empty() {
        return Ok(());
    }
    let _lock = events.locks.exclusive(&LockName::Events, PATIENCE)?;
    append_lines(&events.directory, &lines, FULL)
}

/// Lists the numbers of the files that there are, in their order.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>, EventsError> {
    let names = store::entries(directory).map_err(failed("list", directory))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn append_lines(directory: &Path, lines: &[u8], full: u64) -> Result<(), EventsError> {
    publish::create_private(directory).map_err(failed("create", directory))?;
    let numbers = numbers(directory)?;
    let last = numbers.last().copied().unwrap_or(1);
    let path = directory.join(last.to_string());
    let mut file = open(&path)?;
    let length = file.metadata().map_err(failed("stat", &path))?.len();
    if length < full {
        let torn = is_torn(&file, length).map_err(failed("read", &path))?;
        let ended = if torn {
            [b"\n", lines].concat()
        } else {
            lines.to_vec()
        };
        return file.write_all(&ended).map_err(failed("append to", &path));
    }
    let path = directory.join((last + 1).to_string());
    let appended = open(&path)?.write_all(lines);
    appended.map_err(failed("append to", &path))?;
    for old in numbers.into_iter().filter(|number| *number < last) {
        let path = directory.join(old.to_string());
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, EventsError> {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))
}

fn is_torn(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = length.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != [b'\n'])
}

pub(super) fn failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> EventsError + 'a {
    move |source| EventsError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

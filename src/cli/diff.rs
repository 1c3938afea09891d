//! `mica diff` and `mica snapshot diff`.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use flate2::write::GzEncoder;

use super::arguments::DiffArguments;
use super::mount::{require_layers, resolve};
use super::output::Output;
use super::{CliError, Session};
use crate::diff::{Change, ChangeKind, DiffError, Difference};
use crate::named::Named;
use crate::snapshots::SnapshotMounts;

/// Writes a layer, once.
type Write<'a> = Box<dyn FnOnce(&mut dyn io::Write) -> Result<(), DiffError> + 'a>;

/// How a layer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Bytes that are written at once.
const PIECE: usize = 256 * 1024;
const EPOCH: &str = "SOURCE_DATE_EPOCH";

pub(super) fn run(session: &Session, arguments: &DiffArguments) -> Result<(), CliError> {
    let before = resolve(session, &arguments.before)?;
    require_layers(session, &before, false)?;
    let (store, snapshots) = (&session.store, session.snapshots());
    let difference = if let Some(after) = &arguments.after {
        let after = resolve(session, after)?;
        require_layers(session, &after, false)?;
        Difference::between(store, &snapshots, &before.shown, &after.shown)?
    } else {
        let below = below(session, &before)?;
        Difference::of_top(store, &snapshots, &below, &before.shown)?
    };
    let changes = difference.changes()?;
    if session.output.is_json() {
        return Output::json(&changes);
    }
    let lines: String = changes.iter().map(line).collect();
    Output::copy(lines.as_bytes())
}

/// Writes what a snapshot has changed as a layer. That of a packed one is there already.
pub(super) fn write_layer(
    session: &Session,
    key: &str,
    path: &Path,
    compression: Compression,
) -> Result<(), CliError> {
    let snapshots = session.snapshots();
    let latest = latest()?;
    let record = snapshots.stat(key)?;
    let write: Write = if let Some(diff_id) = record.packed() {
        let mut data = session.store.layers().open_data(diff_id)?;
        Box::new(move |mut output| {
            io::copy(&mut data, &mut output).map_err(DiffError::Write)?;
            Ok(())
        })
    } else {
        let difference = Difference::of_snapshot(&session.store, &snapshots, key)?;
        Box::new(move |output| difference.write_layer(output, latest).map(drop))
    };
    if path == Path::new("-") {
        let output = compressed(io::stdout().lock(), compression, write);
        return output.map_err(|error| match error {
            // As with all results, a reader may have had enough.
            DiffError::Write(error) => CliError::Output(error),
            error => error.into(),
        });
    }
    let failed = |source| CliError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::create(path).map_err(failed)?;
    compressed(&file, compression, write).map_err(|error| {
        // A part of a layer is none.
        let is_ours = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if let (true, Err(error)) = (is_ours, fs::remove_file(path)) {
            tracing::debug!(%error, path = %path.display(), "remove");
        }
        match error {
            DiffError::Write(source) => failed(source),
            error => error.into(),
        }
    })
}

/// Returns what is below the uppermost layer of what was named.
fn below(session: &Session, named: &Named) -> Result<SnapshotMounts, CliError> {
    let snapshots = session.snapshots();
    match (&named.contents, &named.snapshot) {
        (None, Some(snapshot)) => match snapshots.stat(snapshot)?.parent {
            Some(parent) => Ok(snapshots.show(&parent)?),
            None => Ok(SnapshotMounts::empty()),
        },
        _ => Ok(SnapshotMounts {
            layers: named.shown.layers.iter().skip(1).cloned().collect(),
            ..SnapshotMounts::empty()
        }),
    }
}

fn compressed(
    output: impl io::Write,
    compression: Compression,
    write: Write<'_>,
) -> Result<(), DiffError> {
    let mut output = BufWriter::with_capacity(PIECE, output);
    match compression {
        Compression::None => write(&mut output)?,
        Compression::Gzip => {
            let level = flate2::Compression::default();
            let mut encoder = GzEncoder::new(&mut output, level);
            write(&mut encoder)?;
            encoder.finish().map_err(DiffError::Write)?;
        }
        Compression::Zstd => {
            let level = zstd::DEFAULT_COMPRESSION_LEVEL;
            let encoder = zstd::Encoder::new(&mut output, level);
            let mut encoder = encoder.map_err(DiffError::Write)?;
            write(&mut encoder)?;
            encoder.finish().map_err(DiffError::Write)?;
        }
    }
    output.flush().map_err(DiffError::Write)
}

/// Returns the latest time that a layer may have.
pub(super) fn latest() -> Result<Option<i64>, CliError> {
    let Some(text) = env::var_os(EPOCH) else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(CliError::Epoch(text)),
    }
}

fn line(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::Added => 'A',
        ChangeKind::Changed => 'C',
        ChangeKind::Deleted => 'D',
    };
    let path = match change.path.to_str() {
        Some(path) if !path.contains(char::is_control) => path.to_owned(),
        _ => change
            .path
            .as_os_str()
            .as_encoded_bytes()
            .escape_ascii()
            .to_string(),
    };
    format!("{kind} {path}\n")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_change_is_one_line() {
        for (kind, path, expected) in [
            (ChangeKind::Added, &b"/a b"[..], "A /a b\n"),
            (ChangeKind::Changed, "/ä".as_bytes(), "C /ä\n"),
            (ChangeKind::Deleted, b"/a\nb", "D /a\\nb\n"),
            (ChangeKind::Added, b"/\xff", "A /\\xff\n"),
        ] {
            let path = Path::new(OsStr::from_bytes(path)).to_owned();
            assert_eq!(line(&Change { kind, path }), expected);
        }
    }
}

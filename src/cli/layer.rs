//! `mica layer`.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Component, Path};

use serde::Serialize;

use super::arguments::LayerCommand;
use super::output::{Output, size};
use super::{CliError, Session};
use crate::diff;
use crate::gc;
use crate::layers::LayerState;
use crate::oci::DiffId;

#[derive(Debug, Serialize)]
struct Listed {
    diff_id: DiffId,
    size: u64,
    state: &'static str,
}

pub(super) fn run(session: &Session, command: &LayerCommand) -> Result<(), CliError> {
    match command {
        LayerCommand::Ls => list(session),
        LayerCommand::Verify { layers } => verify(session, layers),
        LayerCommand::Pack { source } => pack(session, source),
    }
}

fn list(session: &Session) -> Result<(), CliError> {
    let layers = session.store.layers();
    let mut listed = Vec::new();
    for diff_id in layers.list()? {
        let state = match layers.state(&diff_id)? {
            LayerState::Missing => continue,
            LayerState::Ready => "ready",
            LayerState::Unproven => "unproven",
        };
        listed.push(Listed {
            size: layers.data_size(&diff_id)?,
            diff_id,
            state,
        });
    }
    session
        .output
        .records(&listed, ["DIFF ID", "SIZE", "STATE"], |layer| {
            [
                layer.diff_id.to_string(),
                size(layer.size),
                layer.state.to_owned(),
            ]
        })
}

fn pack(session: &Session, source: &OsStr) -> Result<(), CliError> {
    let snapshots = session.snapshots();
    let packed = async {
        match source.to_str() {
            Some(name) if !is_path(source) => diff::pack(&session.store, &snapshots, name).await,
            _ => diff::pack_directory(&session.store, &snapshots, Path::new(source)).await,
        }
    };
    let diff_id = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?
        .block_on(packed)?;
    // Of the directory, unless it is in use; the next one has it then.
    gc::collect(&session.store)?;
    Output::line(diff_id)
}

/// Returns whether this is the path of a directory and no name of a snapshot.
fn is_path(source: &OsStr) -> bool {
    let first = Path::new(source).components().next();
    matches!(
        first,
        Some(Component::RootDir | Component::CurDir | Component::ParentDir)
    )
}

fn verify(session: &Session, named: &[DiffId]) -> Result<(), CliError> {
    let layers = session.store.layers();
    let all = if named.is_empty() {
        layers.list()?
    } else {
        named.to_vec()
    };
    let mut failed = 0;
    for diff_id in &all {
        match layers.verify(diff_id) {
            Ok(verified) => {
                Output::line(format!("{diff_id}: ok, {}", size(verified.size)))?;
            }
            Err(error) => {
                failed += 1;
                // The summary is the command's error; stderr may be gone.
                drop(writeln!(io::stderr().lock(), "{diff_id}: {error}"));
            }
        }
    }
    if failed > 0 {
        return Err(CliError::Damaged {
            failed,
            total: all.len(),
        });
    }
    Ok(())
}

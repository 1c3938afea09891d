//! `mica snapshot`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::{NewSnapshotArguments, SnapshotCommand};
use super::diff::{self, Compression};
use super::mount::base_label;
use super::output::{Output, labels, size, time};
use super::{CliError, Session, mount};
use crate::filter::Filter;
use crate::gc;
use crate::images::ImageError;
use crate::labels::{ROOT, masked};
use crate::layers::LayerPlan;
use crate::meta::{Labels, SnapshotRecord, Usage};
use crate::snapshots::SnapshotError;

/// What one snapshot takes.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    #[serde(flatten)]
    usage: Usage,
}

pub(super) fn run(session: &Session, command: &SnapshotCommand) -> Result<(), CliError> {
    let snapshots = session.snapshots();
    match command {
        SnapshotCommand::Ls(arguments) => list(session, &arguments.filter()?),
        SnapshotCommand::Info { name } => info(session, name),
        SnapshotCommand::Tree => tree(&snapshots.list()?)
            .into_iter()
            .try_for_each(Output::line),
        SnapshotCommand::Prepare(new) => {
            let (parent, labels) = parent_of(session, new)?;
            snapshots.prepare(&new.key, parent.as_deref(), kept(labels))?;
            Output::line(&new.key)
        }
        SnapshotCommand::View(new) => {
            let (parent, labels) = parent_of(session, new)?;
            snapshots.view(&new.key, parent.as_deref(), kept(labels))?;
            Output::line(&new.key)
        }
        SnapshotCommand::Commit { name, key, labels } => {
            let committed = snapshots.commit(name, key, kept(map(labels)))?;
            Output::line(committed.name)
        }
        SnapshotCommand::Diff {
            key,
            output,
            gzip,
            zstd,
        } => {
            let form = match (gzip, zstd) {
                (true, _) => Compression::Gzip,
                (_, true) => Compression::Zstd,
                _ => Compression::None,
            };
            diff::write_layer(session, key, output, form)
        }
        SnapshotCommand::Rm { keys } => {
            for key in keys {
                snapshots.remove(key)?;
                Output::line(format!("removed {key}"))?;
            }
            gc::collect(&session.store)?;
            Ok(())
        }
        SnapshotCommand::Usage { key } => usage(session, key.as_deref()),
        SnapshotCommand::Label { key, labels } => label(session, key, &map(labels)),
        SnapshotCommand::Mounts { key } => mounts(session, key),
    }
}

fn list(session: &Session, filter: &Filter) -> Result<(), CliError> {
    let snapshots = session.snapshots().matching(filter)?;
    session
        .output
        .records(&snapshots, ["NAME", "PARENT", "KIND"], |snapshot| {
            [
                snapshot.name.clone(),
                parent(snapshot),
                snapshot.kind.name().to_owned(),
            ]
        })
}

fn info(session: &Session, name: &str) -> Result<(), CliError> {
    let snapshot = session.snapshots().stat(name)?;
    let layer = snapshot
        .layer
        .as_ref()
        .map_or("-".to_owned(), ToString::to_string);
    let lines = [
        ("name", snapshot.name.clone()),
        ("kind", snapshot.kind.name().to_owned()),
        ("parent", parent(&snapshot)),
        ("layer", layer),
        ("labels", labels(&snapshot.labels)),
        ("created", time(snapshot.created)),
        ("updated", time(snapshot.updated)),
    ];
    session.output.record(&snapshot, lines)
}

fn usage(session: &Session, key: Option<&str>) -> Result<(), CliError> {
    let snapshots = session.snapshots();
    let names = match key {
        Some(key) => vec![key.to_owned()],
        None => snapshots.list()?.into_iter().map(|s| s.name).collect(),
    };
    let mut listed = Vec::new();
    for name in names {
        let usage = snapshots.usage(&name)?;
        listed.push(Listed { name, usage });
    }
    session
        .output
        .records(&listed, ["NAME", "SIZE", "INODES"], |listed| {
            [
                listed.name.clone(),
                size(listed.usage.size),
                listed.usage.inodes.to_string(),
            ]
        })
}

fn label(session: &Session, key: &str, changes: &Labels) -> Result<(), CliError> {
    let update = |mask: &[&str]| session.snapshots().update(key, changes, mask);
    let snapshot = masked(changes, update)?;
    let lines = [("labels", labels(&snapshot.labels))];
    session.output.record(&snapshot, lines)
}

fn mounts(session: &Session, key: &str) -> Result<(), CliError> {
    let mounts = session.snapshots().mounts(key)?;
    let mut lines = Vec::new();
    if let Some(upper) = &mounts.upper {
        lines.push(("upper", upper.fs.display().to_string()));
        lines.push(("work", upper.work.display().to_string()));
    }
    for layer in &mounts.layers {
        lines.push(match layer {
            LayerPlan::Packed(diff_id) => ("packed layer", diff_id.to_string()),
            LayerPlan::Directory(path) => ("directory layer", path.display().to_string()),
        });
    }
    session.output.record(&mounts, lines)
}

/// Returns the snapshot that a new one is to stand on (the one of that name, or that of the
/// image) and the labels of the new one.
fn parent_of(
    session: &Session,
    new: &NewSnapshotArguments,
) -> Result<(Option<String>, Labels), CliError> {
    let mut labels = map(&new.labels);
    let Some(parent) = &new.parent else {
        return Ok((None, labels));
    };
    match session.snapshots().stat(parent) {
        Ok(_) => return Ok((Some(parent.clone()), labels)),
        Err(SnapshotError::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match mount::resolve(session, parent) {
        Ok(image) => {
            mount::require_layers(session, &image, true)?;
            labels.extend(image.image_name().map(base_label));
            Ok((image.snapshot, labels))
        }
        // The snapshots say that there is none.
        Err(CliError::Image(ImageError::NotFound(_))) => Ok((Some(parent.clone()), labels)),
        Err(error) => Err(error),
    }
}

/// Returns labels with the one that says that a user has asked for the snapshot.
pub(super) fn kept(mut labels: Labels) -> Labels {
    let now = || jiff::Timestamp::now().to_string();
    labels.entry(ROOT.to_owned()).or_insert_with(now);
    labels
}

fn map(pairs: &[(String, String)]) -> Labels {
    pairs.iter().cloned().collect()
}

/// Returns a line for each snapshot, below its parent and moved in by two columns.
fn tree(snapshots: &[SnapshotRecord]) -> Vec<String> {
    let mut children: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for snapshot in snapshots {
        children
            .entry(snapshot.parent.as_deref())
            .or_default()
            .push(&snapshot.name);
    }
    let mut lines = Vec::new();
    let mut open = vec![(0, children.remove(&None).unwrap_or_default())];
    while let Some((depth, names)) = open.last_mut() {
        if names.is_empty() {
            open.pop();
            continue;
        }
        let name = names.remove(0);
        lines.push(format!("{:width$}{name}", "", width = *depth * 2));
        let next = (*depth + 1, children.remove(&Some(name)).unwrap_or_default());
        open.push(next);
    }
    lines
}

fn parent(snapshot: &SnapshotRecord) -> String {
    snapshot.parent.clone().unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Kind;

    #[test]
    fn children_stand_below_their_parents() {
        let now = jiff::Timestamp::now();
        let table = [
            ("a", None),
            ("b", Some("a")),
            ("c", None),
            ("d", Some("a")),
            ("e", Some("b")),
        ];
        let snapshots = table.map(|(name, parent)| SnapshotRecord {
            name: name.to_owned(),
            kind: Kind::Committed,
            parent: parent.map(str::to_owned),
            layer: None,
            id: None,
            usage: None,
            labels: BTreeMap::new(),
            created: now,
            updated: now,
        });
        assert_eq!(tree(&snapshots), ["a", "  b", "    e", "  d", "c"]);
    }
}

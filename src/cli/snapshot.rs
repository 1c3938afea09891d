//! `mica snapshot`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::{NewSnapshotArguments, SnapshotCommand};
use super::diff::{self, Compression};
use super::drawn;
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
        SnapshotCommand::Tree => tree(session, &snapshots.list()?),
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

/// A snapshot, and how many it stands on.
#[derive(Debug, Serialize)]
struct Standing<'s> {
    depth: usize,
    name: &'s str,
    parent: Option<&'s str>,
    kind: &'static str,
}

fn tree(session: &Session, snapshots: &[SnapshotRecord]) -> Result<(), CliError> {
    let standing = standing(snapshots);
    if session.output.is_json() {
        return Output::json(&standing);
    }
    let nodes: Vec<(usize, String)> = standing.iter().map(drawn).collect();
    drawn::lines(&nodes).into_iter().try_for_each(Output::line)
}

/// Returns all snapshots, each followed by those that stand on it.
fn standing(snapshots: &[SnapshotRecord]) -> Vec<Standing<'_>> {
    let mut children: BTreeMap<Option<&str>, Vec<&SnapshotRecord>> = BTreeMap::new();
    for snapshot in snapshots.iter().rev() {
        let parent = snapshot.parent.as_deref();
        children.entry(parent).or_default().push(snapshot);
    }
    let mut standing = Vec::new();
    let mut open = vec![children.remove(&None).unwrap_or_default()];
    while let Some(names) = open.last_mut() {
        let Some(snapshot) = names.pop() else {
            open.pop();
            continue;
        };
        standing.push(Standing {
            depth: open.len() - 1,
            name: &snapshot.name,
            parent: snapshot.parent.as_deref(),
            kind: snapshot.kind.name(),
        });
        let above = children.remove(&Some(snapshot.name.as_str()));
        open.push(above.unwrap_or_default());
    }
    standing
}

fn drawn(standing: &Standing<'_>) -> (usize, String) {
    let label = match standing.kind {
        "committed" => standing.name.to_owned(),
        kind => format!("{} ({kind})", standing.name),
    };
    (standing.depth, label)
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
            kind: if name == "d" {
                Kind::Active
            } else {
                Kind::Committed
            },
            parent: parent.map(str::to_owned),
            layer: None,
            id: None,
            usage: None,
            labels: BTreeMap::new(),
            created: now,
            updated: now,
        });
        let nodes: Vec<(usize, String)> = standing(&snapshots).iter().map(drawn).collect();
        assert_eq!(
            drawn::lines(&nodes),
            ["a", "├─ b", "│  └─ e", "└─ d (active)", "c"]
        );
    }
}

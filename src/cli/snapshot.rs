//! `mica snapshot`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::{NewSnapshotArguments, SnapshotCommand};
use super::diff::{self, Compression};
use super::drawn;
use super::output::{Output, labels, size, time};
use super::{CliError, Session};
use crate::labels::{ROOT, masked};
use crate::layers::LayerPlan;
use crate::meta::{Labels, SnapshotRecord, Usage};

/// What one snapshot takes.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    #[serde(flatten)]
    usage: Usage,
}

pub(super) fn run(session: &Session, command: &SnapshotCommand) -> Result<(), CliError> {
    let client = || session.client();
    match command {
        SnapshotCommand::Ls(arguments) => list(session, &arguments.filters),
        SnapshotCommand::Info { name } => info(session, name),
        SnapshotCommand::Tree => tree(session, &client()?.snapshots(&[])?),
        SnapshotCommand::Prepare(new) => make(session, new, false),
        SnapshotCommand::View(new) => make(session, new, true),
        SnapshotCommand::Commit { name, key, labels } => {
            client()?.commit_snapshot(name, key, kept(map(labels)))?;
            Output::line(name)
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
            let client = client()?;
            for key in keys {
                client.remove_snapshot(key)?;
                Output::line(format!("removed {key}"))?;
            }
            client.collect()?;
            Ok(())
        }
        SnapshotCommand::Usage { key } => usage(session, key.as_deref()),
        SnapshotCommand::Label { key, labels } => label(session, key, &map(labels)),
        SnapshotCommand::Mounts { key } => mounts(session, key),
    }
}

fn make(session: &Session, new: &NewSnapshotArguments, is_view: bool) -> Result<(), CliError> {
    let labels = kept(map(&new.labels));
    let parent = new.parent.as_deref();
    session
        .client()?
        .new_snapshot(&new.key, parent, is_view, labels)?;
    Output::line(&new.key)
}

fn list(session: &Session, filters: &[String]) -> Result<(), CliError> {
    let snapshots = session.client()?.snapshots(filters)?;
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
    let snapshot = session.client()?.snapshot(name)?;
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
    let usages = session.client()?.snapshot_usage(key)?.into_iter();
    let listed: Vec<Listed> = usages.map(|(name, usage)| Listed { name, usage }).collect();
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
    let client = session.client()?;
    let update = |mask: &[&str]| client.label_snapshot(key, changes, mask);
    let snapshot = masked(changes, update)?;
    let lines = [("labels", labels(&snapshot.labels))];
    session.output.record(&snapshot, lines)
}

fn mounts(session: &Session, key: &str) -> Result<(), CliError> {
    let mounts = session.client()?.snapshot_mounts(key)?;
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

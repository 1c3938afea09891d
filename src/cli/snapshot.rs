//! `mica snapshot`.

use std::collections::BTreeMap;

use super::arguments::SnapshotCommand;
use super::output::{Output, labels, time};
use super::{CliError, Session};
use crate::meta::{Kind, SnapshotRecord};

pub(super) fn run(session: &Session, command: &SnapshotCommand) -> Result<(), CliError> {
    match command {
        SnapshotCommand::Ls => {
            let snapshots = session.snapshots().list()?;
            session
                .output
                .records(&snapshots, ["NAME", "PARENT", "KIND"], |snapshot| {
                    [
                        snapshot.name.clone(),
                        parent(snapshot),
                        kind(snapshot.kind).to_owned(),
                    ]
                })
        }
        SnapshotCommand::Info { name } => {
            let snapshot = session.snapshots().info(name)?;
            let layer = snapshot
                .layer
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string);
            let lines = [
                ("name", snapshot.name.clone()),
                ("kind", kind(snapshot.kind).to_owned()),
                ("parent", parent(&snapshot)),
                ("layer", layer),
                ("labels", labels(&snapshot.labels)),
                ("created", time(snapshot.created)),
                ("updated", time(snapshot.updated)),
            ];
            session.output.record(&snapshot, lines)
        }
        SnapshotCommand::Tree => {
            let snapshots = session.snapshots().list()?;
            tree(&snapshots).into_iter().try_for_each(Output::line)
        }
    }
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

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::View => "view",
        Kind::Active => "active",
        Kind::Committed => "committed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            labels: BTreeMap::new(),
            created: now,
            updated: now,
        });
        assert_eq!(tree(&snapshots), ["a", "  b", "    e", "  d", "c"]);
    }
}

//! What the records say of each other.

use std::collections::BTreeMap;

use super::fault::Fault;
use crate::meta::{Kind, Namespace, SnapshotId, SnapshotRecord, Survey};
use crate::oci::{ChainId, Digest};

/// Snapshots by namespace and name.
type ByName<'s> = BTreeMap<(&'s str, &'s str), &'s SnapshotRecord>;

pub(super) fn faults(survey: &Survey) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, error) in &survey.damaged {
        faults.push(Fault::Record {
            key: key.clone(),
            error: error.to_string(),
        });
    }
    let strayed = survey.strayed.iter().cloned();
    faults.extend(strayed.map(|key| Fault::StrayedRecord { key }));
    if !survey.has_journal {
        faults.push(Fault::Journal);
    }
    let by_name: ByName<'_> = survey
        .snapshots
        .iter()
        .map(|(namespace, record)| ((namespace.as_str(), record.name.as_str()), record))
        .collect();
    let mut by_id: BTreeMap<SnapshotId, &str> = BTreeMap::new();
    for (namespace, record) in &survey.snapshots {
        faults.extend(stands_on(namespace, record, &by_name));
        if let Some(id) = record.id
            && let Some(other) = by_id.insert(id, &record.name)
        {
            faults.push(Fault::DirectoryShared {
                name: record.name.clone(),
                other: other.to_owned(),
                id,
            });
        }
    }
    if let Some((id, _)) = by_id.last_key_value()
        && survey.last.is_none_or(|last| last < *id)
    {
        faults.push(Fault::Counter { id: *id });
    }
    faults
}

/// Looks at what is below a snapshot.
fn stands_on(
    namespace: &Namespace,
    record: &SnapshotRecord,
    by_name: &ByName<'_>,
) -> Option<Fault> {
    let (namespace, name) = (namespace.clone(), record.name.clone());
    let below = match &record.parent {
        None => None,
        Some(parent) => {
            let parent = parent.clone();
            match by_name.get(&(namespace.as_str(), parent.as_str())) {
                None => {
                    return Some(Fault::ParentMissing {
                        namespace,
                        name,
                        parent,
                    });
                }
                Some(below) if below.kind != Kind::Committed => {
                    return Some(Fault::ParentNotCommitted {
                        namespace,
                        name,
                        parent,
                    });
                }
                Some(below) => Some(*below),
            }
        }
    };
    let (mut next, mut steps) = (below, 0);
    while let Some(parent) = next.and_then(|record| record.parent.as_deref()) {
        next = by_name.get(&(namespace.as_str(), parent)).copied();
        steps += 1;
        if steps > by_name.len() {
            return Some(Fault::Cycle { namespace, name });
        }
    }
    misnamed(namespace, record)
}

/// Compares the name of a snapshot that a pull has made with its layers.
fn misnamed(namespace: Namespace, record: &SnapshotRecord) -> Option<Fault> {
    // Only a pull makes one with a layer and neither a directory nor a usage.
    let (Some(diff_id), None, None) = (&record.layer, record.id, &record.usage) else {
        return None;
    };
    record.name.parse::<Digest>().ok()?;
    let parent = match &record.parent {
        Some(parent) => Some(ChainId(parent.parse().ok()?)),
        None => None,
    };
    let chain_id = ChainId::on(parent.as_ref(), diff_id).to_string();
    (chain_id != record.name).then(|| Fault::ChainId {
        namespace,
        name: record.name.clone(),
        chain_id,
    })
}

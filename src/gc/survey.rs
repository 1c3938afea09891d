//! What lives and why, and what would go: a collection that removes nothing.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::collect::{Survivors, read};
use super::error::GcError;
use super::files::{self, Listing};
use super::mark::Marked;
use super::node::Why;
use super::{Node, NodeKind};
use crate::meta::{Namespace, NamespaceRecords};
use crate::store::Store;

/// All that a store has.
#[derive(Debug, Clone, Serialize)]
pub struct Survey {
    /// What lives, sorted by namespace and kind.
    pub live: Vec<Live>,
    /// What a collection would remove now; things in use are among it.
    pub garbage: Vec<Garbage>,
}

/// A thing that lives.
#[derive(Debug, Clone, Serialize)]
pub struct Live {
    /// The namespace.
    pub namespace: Namespace,
    /// The thing.
    #[serde(flatten)]
    pub node: Node,
    /// Why it lives: from the root to itself.
    pub why: Vec<Step>,
}

/// A step on the way from a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The thing that is reached.
    #[serde(flatten)]
    pub node: Node,
    /// How: a label of the one before, or words.
    pub link: String,
}

/// A thing that nothing needs.
#[derive(Debug, Clone, Serialize)]
pub struct Garbage {
    /// The namespace of a record; files belong to none.
    pub namespace: Option<Namespace>,
    /// The thing.
    #[serde(flatten)]
    pub node: Node,
    /// The bytes that a file takes.
    pub size: Option<u64>,
}

/// Looks at everything in a store.
pub(crate) fn survey(store: &Store) -> Result<Survey, GcError> {
    survey_of(store, &Survivors::of(store, &BTreeSet::new())?)
}

/// Looks at what would be there without some images and snapshots of a namespace.
pub(crate) fn survey_without(
    store: &Store,
    namespace: &Namespace,
    gone: &HashSet<Node>,
) -> Result<Survey, GcError> {
    let mut records = read(store)?;
    for (_, records) in records
        .namespaces
        .iter_mut()
        .filter(|(n, _)| n == namespace)
    {
        let images = &mut records.images;
        images.retain(|image| !gone.contains(&NodeKind::Image.node(&image.name)));
        let snapshots = &mut records.snapshots;
        snapshots.retain(|snapshot| !gone.contains(&NodeKind::Snapshot.node(&snapshot.name)));
    }
    survey_of(store, &Survivors::among(records, &BTreeSet::new()))
}

fn survey_of(store: &Store, survivors: &Survivors) -> Result<Survey, GcError> {
    let mut survey = Survey {
        live: Vec::new(),
        garbage: Vec::new(),
    };
    let namespaces = survivors.records.namespaces.iter();
    for ((namespace, records), marked) in namespaces.zip(&survivors.marked) {
        survey.add(namespace, records, marked);
    }
    for file in Listing::of(store)?.garbage(store, survivors)? {
        survey.garbage.push(Garbage {
            namespace: None,
            node: file.node(),
            size: Some(files::size(&file.path(store))?),
        });
    }
    survey.garbage.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(survey)
}

impl Survey {
    fn add(&mut self, namespace: &Namespace, records: &NamespaceRecords, marked: &Marked) {
        let images = records.images.iter().map(|r| NodeKind::Image.node(&r.name));
        let content = records
            .content
            .iter()
            .map(|r| NodeKind::Content.node(&r.digest));
        let leases = records.leases.iter().map(|r| NodeKind::Lease.node(&r.id));
        let snapshots = records.snapshots.iter();
        let snapshots = snapshots.map(|r| NodeKind::Snapshot.node(&r.name));
        let recorded: HashSet<Node> = leases
            .chain(images)
            .chain(content)
            .chain(snapshots)
            .collect();
        for node in recorded.iter().cloned() {
            if !marked.contains_key(&node) {
                self.garbage.push(Garbage {
                    namespace: Some(namespace.clone()),
                    node,
                    size: None,
                });
            }
        }
        // Labels and leases may name what is not there.
        let is_there = |node: &&Node| match node.kind {
            NodeKind::Layer | NodeKind::Directory | NodeKind::Ingest => true,
            _ => recorded.contains(*node),
        };
        let mut live: Vec<Live> = marked
            .keys()
            .filter(is_there)
            .map(|node| Live {
                namespace: namespace.clone(),
                node: node.clone(),
                why: path(marked, node),
            })
            .collect();
        live.sort_by(|a, b| a.node.cmp(&b.node));
        self.live.append(&mut live);
    }
}

/// Returns the way from a root to a thing that lives.
fn path(marked: &Marked, node: &Node) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut next = Some(node);
    while let Some(node) = next {
        let (link, by) = match marked.get(node) {
            Some(Why::Root(reason)) => ((*reason).to_owned(), None),
            Some(Why::Needed { by, link }) => (link.clone(), Some(by)),
            None => break,
        };
        steps.push(Step {
            node: node.clone(),
            link,
        });
        next = by;
    }
    steps.reverse();
    steps
}

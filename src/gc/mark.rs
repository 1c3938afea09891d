//! The mark: what of one namespace lives, and why. A pure function of its records.
//!
//! Roots: images and leases whose time is not over, what has the label
//! `containerd.io/gc.root`, snapshots in use, and those that a containerd keeps here. Edges: an image to its target, a
//! snapshot to its parent, layer and directory, references and back references in
//! labels, and a lease to its resources; those of a flat lease need nothing but what they
//! are made of. Where several reasons keep a thing, that of an image is told, then that
//! of a label, then that of a lease.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

use super::node::Why;
use super::references::{needed, needing};
use super::{Node, NodeKind};
use crate::labels;
use crate::leases::{Resource, ResourceKind, is_expired};
use crate::meta::{
    ContentRecord, ImageRecord, Labels, LeaseRecord, NamespaceRecords, SnapshotId, SnapshotRecord,
};
use crate::snapshots::{SNAPSHOTTER, keeper};

/// What lives, and why.
pub(super) type Marked = HashMap<Node, Why>;

/// Whether what a thing refers to by labels lives with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Full,
    Flat,
}

#[derive(Debug)]
struct Marker<'r> {
    images: HashMap<&'r str, &'r ImageRecord>,
    content: HashMap<String, &'r ContentRecord>,
    snapshots: HashMap<&'r str, &'r SnapshotRecord>,
    /// What lives when a thing does, by the labels of the former.
    back: HashMap<Node, Vec<(Node, &'r str)>>,
    marked: Marked,
    open: VecDeque<(Node, Reach)>,
}

/// Marks what lives at a time; the directories of `in_use` are held by processes.
pub(super) fn mark(
    records: &NamespaceRecords,
    in_use: &BTreeSet<SnapshotId>,
    now: Timestamp,
) -> Marked {
    let mut marker = Marker::new(records);
    for image in &records.images {
        if !is_expired(&image.labels, now) {
            marker.root(NodeKind::Image.node(&image.name), "an image");
        }
    }
    marker.drain();
    for record in &records.content {
        if record.labels.contains_key(labels::ROOT) {
            marker.root(NodeKind::Content.node(&record.digest), labels::ROOT);
        }
    }
    for snapshot in &records.snapshots {
        let node = || NodeKind::Snapshot.node(&snapshot.name);
        if snapshot.labels.contains_key(labels::ROOT) {
            marker.root(node(), labels::ROOT);
        } else if keeper(&snapshot.name).is_some() {
            marker.root(node(), "containerd");
        } else if snapshot.id.is_some_and(|id| in_use.contains(&id)) {
            marker.root(node(), "in use");
        }
    }
    marker.drain();
    let (flat, full): (Vec<_>, Vec<_>) = records
        .leases
        .iter()
        .filter(|lease| !lease.is_expired(now))
        .partition(|lease| lease.is_flat());
    // Flat ones last: what was reached in full needs no second visit.
    for (leases, reach) in [(full, Reach::Full), (flat, Reach::Flat)] {
        for lease in leases {
            marker.lease(lease, reach);
        }
        marker.drain();
    }
    marker.marked
}

impl<'r> Marker<'r> {
    fn new(records: &'r NamespaceRecords) -> Self {
        let mut marker = Self {
            images: records
                .images
                .iter()
                .map(|r| (r.name.as_str(), r))
                .collect(),
            content: records
                .content
                .iter()
                .map(|r| (r.digest.to_string(), r))
                .collect(),
            snapshots: records
                .snapshots
                .iter()
                .map(|r| (r.name.as_str(), r))
                .collect(),
            back: HashMap::new(),
            marked: HashMap::with_capacity(records.content.len() + 3 * records.snapshots.len()),
            open: VecDeque::new(),
        };
        for image in &records.images {
            marker.look_back(&image.labels, || NodeKind::Image.node(&image.name));
        }
        for record in &records.content {
            marker.look_back(&record.labels, || NodeKind::Content.node(&record.digest));
        }
        for snapshot in &records.snapshots {
            marker.look_back(&snapshot.labels, || NodeKind::Snapshot.node(&snapshot.name));
        }
        marker
    }

    fn look_back(&mut self, labels: &'r Labels, owner: impl Fn() -> Node) {
        for (node, key) in needing(labels) {
            self.back.entry(node).or_default().push((owner(), key));
        }
    }

    fn root(&mut self, node: Node, reason: &'static str) {
        self.reach(node, Why::Root(reason), Reach::Full);
    }

    fn lease(&mut self, lease: &LeaseRecord, reach: Reach) {
        let node = NodeKind::Lease.node(&lease.id);
        self.marked.insert(node.clone(), Why::Root("a lease"));
        for Resource { kind, id } in &lease.resources {
            let kind = match kind {
                ResourceKind::Content => NodeKind::Content,
                ResourceKind::Ingests => NodeKind::Ingest,
                ResourceKind::Images => NodeKind::Image,
                ResourceKind::Layers => NodeKind::Layer,
                ResourceKind::Snapshots(name) if name == SNAPSHOTTER => NodeKind::Snapshot,
                // Another snapshotter's.
                ResourceKind::Snapshots(_) => continue,
            };
            let why = Why::Needed {
                by: node.clone(),
                link: "a resource".to_owned(),
            };
            self.reach(kind.node(id), why, reach);
        }
    }

    fn reach(&mut self, node: Node, why: Why, reach: Reach) {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.marked.entry(node.clone()) {
            entry.insert(why);
            self.open.push_back((node, reach));
        }
    }

    fn need(&mut self, by: &Node, node: Node, link: &str, reach: Reach) {
        let why = Why::Needed {
            by: by.clone(),
            link: link.to_owned(),
        };
        self.reach(node, why, reach);
    }

    fn drain(&mut self) {
        while let Some((node, reach)) = self.open.pop_front() {
            self.visit(&node, reach);
        }
    }

    fn visit(&mut self, node: &Node, reach: Reach) {
        let labels = match node.kind {
            NodeKind::Image => self.images.get(node.id.as_str()).copied().map(|image| {
                let target = NodeKind::Content.node(&image.target.digest);
                self.need(node, target, "the target", reach);
                &image.labels
            }),
            NodeKind::Content => self.content.get(&node.id).map(|record| &record.labels),
            NodeKind::Snapshot => {
                let snapshot = self.snapshots.get(node.id.as_str()).copied();
                snapshot.map(|snapshot| {
                    self.parts(node, snapshot, reach);
                    &snapshot.labels
                })
            }
            NodeKind::Layer | NodeKind::Directory | NodeKind::Ingest | NodeKind::Lease => None,
        };
        if reach == Reach::Flat {
            return;
        }
        for (needed, key) in labels.into_iter().flat_map(needed) {
            self.need(node, needed, key, Reach::Full);
        }
        for (owner, key) in self.back.remove(node).unwrap_or_default() {
            self.need(node, owner, key, Reach::Full);
        }
    }

    /// Reaches what a snapshot is made of.
    fn parts(&mut self, node: &Node, snapshot: &SnapshotRecord, reach: Reach) {
        if let Some(parent) = &snapshot.parent {
            self.need(node, NodeKind::Snapshot.node(parent), "the parent", reach);
        }
        if let Some(layer) = &snapshot.layer {
            self.need(node, NodeKind::Layer.node(layer), "the layer", reach);
        }
        if let Some(id) = snapshot.id {
            self.need(node, NodeKind::Directory.node(id), "the directory", reach);
        }
    }
}

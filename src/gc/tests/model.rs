//! The mark against a reference that does the same in the simplest way.

use proptest::prelude::*;

use super::super::mark::{Marked, mark};
use super::super::node::Why;
use super::*;
use crate::meta::{ImageRecord, Kind, LeaseRecord, NamespaceRecords};

/// The number of things of each kind.
const THINGS: usize = 5;
const KINDS: [NodeKind; 3] = [NodeKind::Image, NodeKind::Content, NodeKind::Snapshot];

/// What one thing may have.
#[derive(Debug, Clone)]
struct Traits {
    /// `None` for no such label, or whether the time is over.
    expire: Option<bool>,
    is_root: bool,
    is_flat: bool,
    /// Whether it is a back reference, to which kind, to which thing.
    references: Vec<(bool, usize, usize)>,
    parent: Option<usize>,
    layer: Option<usize>,
}

fn traits() -> impl Strategy<Value = Traits> {
    let references = prop::collection::vec((any::<bool>(), 0..3usize, 0..THINGS), 0..3);
    let optional = || prop::option::weighted(0.4, 0..THINGS);
    (
        prop::option::weighted(0.5, any::<bool>()),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.3),
        references,
        optional(),
        optional(),
    )
        .prop_map(
            |(expire, is_root, is_flat, references, parent, layer)| Traits {
                expire,
                is_root,
                is_flat,
                references,
                parent,
                layer,
            },
        )
}

fn digest(number: usize) -> Digest {
    Digest::sha256(&[u8::try_from(number).unwrap()])
}

fn thing(kind: usize, number: usize) -> Node {
    match KINDS[kind] {
        NodeKind::Content => NodeKind::Content.node(digest(number)),
        kind => kind.node(number),
    }
}

impl Traits {
    fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        for (place, (is_back, kind, number)) in self.references.iter().enumerate() {
            let name = ["image", "content", "snapshot.mica"][*kind];
            let direction = if *is_back { "bref" } else { "ref" };
            let key = format!("containerd.io/gc.{direction}.{name}/{place}");
            labels.insert(key, thing(*kind, *number).id);
        }
        if let Some(is_over) = self.expire {
            labels.insert(EXPIRE.to_owned(), in_hours(if is_over { -1 } else { 1 }));
        }
        if self.is_root {
            labels.insert(ROOT.to_owned(), "now".to_owned());
        }
        if self.is_flat {
            labels.insert(FLAT.to_owned(), "true".to_owned());
        }
        labels
    }
}

fn records(all: &[Vec<Traits>]) -> NamespaceRecords {
    let now = Timestamp::now();
    let mut records = NamespaceRecords::default();
    for (number, traits) in all[0].iter().enumerate() {
        let bytes = [u8::try_from(traits.parent.unwrap_or(0)).unwrap()];
        records.images.push(ImageRecord {
            name: number.to_string(),
            target: Descriptor::of(MediaType::OCI_MANIFEST, &bytes),
            labels: traits.labels(),
            created: now,
            updated: now,
        });
    }
    for (number, traits) in all[1].iter().enumerate() {
        records.content.push(ContentRecord {
            digest: digest(number),
            size: 1,
            labels: traits.labels(),
            created: now,
            updated: now,
        });
    }
    for (number, traits) in all[2].iter().enumerate() {
        // A ring of parents is damage, which the mark must survive.
        records.snapshots.push(SnapshotRecord {
            name: number.to_string(),
            kind: Kind::Committed,
            parent: traits.parent.map(|parent| parent.to_string()),
            layer: traits.layer.map(|layer| DiffId(digest(layer))),
            id: None,
            usage: None,
            labels: traits.labels(),
            created: now,
            updated: now,
        });
    }
    for (number, traits) in all[3].iter().enumerate() {
        let references = traits.references.iter();
        let resources = references.map(|(_, kind, number)| {
            let kind = ["images", "content", "snapshots/mica"][*kind];
            Resource::new(kind, &thing(kind_of(kind), *number).id).unwrap()
        });
        records.leases.push(LeaseRecord {
            id: number.to_string(),
            labels: Traits {
                references: Vec::new(),
                ..traits.clone()
            }
            .labels(),
            resources: resources.collect(),
            created: now,
        });
    }
    records
}

fn kind_of(resource: &str) -> usize {
    ["images", "content", "snapshots/mica"]
        .iter()
        .position(|k| *k == resource)
        .unwrap()
}

/// All edges: those that a flat lease follows, and the others.
fn edges(all: &[Vec<Traits>]) -> [Vec<(Node, Node)>; 2] {
    let (mut flat, mut full) = (Vec::new(), Vec::new());
    for (kind, things) in all.iter().take(3).enumerate() {
        for (number, traits) in things.iter().enumerate() {
            let owner = thing(kind, number);
            for (is_back, kind, number) in &traits.references {
                let other = thing(*kind, *number);
                full.push(if *is_back {
                    (other, owner.clone())
                } else {
                    (owner.clone(), other)
                });
            }
            if kind == 0 {
                flat.push((owner.clone(), thing(1, traits.parent.unwrap_or(0))));
            }
            if kind == 2 {
                let parent = traits.parent.map(|parent| thing(2, parent));
                let layer = traits
                    .layer
                    .map(|layer| NodeKind::Layer.node(digest(layer)));
                flat.extend(
                    parent
                        .into_iter()
                        .chain(layer)
                        .map(|to| (owner.clone(), to)),
                );
            }
        }
    }
    full.extend(flat.iter().cloned());
    [flat, full]
}

fn closure(mut alive: BTreeSet<Node>, edges: &[(Node, Node)]) -> BTreeSet<Node> {
    loop {
        let before = alive.len();
        for (from, to) in edges {
            if alive.contains(from) {
                alive.insert(to.clone());
            }
        }
        if alive.len() == before {
            return alive;
        }
    }
}

fn reference(all: &[Vec<Traits>]) -> BTreeSet<Node> {
    let is_over = |traits: &Traits| traits.expire == Some(true);
    let mut roots = BTreeSet::new();
    for (kind, things) in all.iter().take(3).enumerate() {
        for (number, traits) in things.iter().enumerate() {
            if kind == 0 && !is_over(traits) || kind > 0 && traits.is_root {
                roots.insert(thing(kind, number));
            }
        }
    }
    let mut flat = BTreeSet::new();
    for traits in all[3].iter().filter(|traits| !is_over(traits)) {
        let resources = traits
            .references
            .iter()
            .map(|(_, kind, number)| thing(*kind, *number));
        if traits.is_flat {
            flat.extend(resources);
        } else {
            roots.extend(resources);
        }
    }
    let [flat_edges, full_edges] = edges(all);
    let mut alive = closure(roots, &full_edges);
    alive.append(&mut closure(flat, &flat_edges));
    for (number, traits) in all[3].iter().enumerate() {
        if !is_over(traits) {
            alive.insert(NodeKind::Lease.node(number));
        }
    }
    alive
}

/// Says whether the reasons lead from a root, without a ring.
fn is_grounded(marked: &Marked, node: &Node) -> bool {
    let mut next = node;
    for _ in 0..=marked.len() {
        match marked.get(next) {
            Some(Why::Root(_)) => return true,
            Some(Why::Needed { by, .. }) => next = by,
            None => return false,
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_mark_is_what_can_be_reached(
        all in prop::collection::vec(prop::collection::vec(traits(), THINGS), 4),
    ) {
        let marked = mark(&records(&all), &BTreeSet::new(), Timestamp::now());
        let found: BTreeSet<Node> = marked.keys().cloned().collect();
        prop_assert_eq!(found, reference(&all));
        prop_assert!(marked.keys().all(|node| is_grounded(&marked, node)));
    }
}

//! References in labels, as containerd spells them.
//!
//! `containerd.io/gc.ref.KIND…` says that the owner needs what the value names, and
//! `containerd.io/gc.bref.KIND…` that what the value names needs the owner. KIND is
//! `content`, `image` or `snapshot.SNAPSHOTTER`; what follows tells several apart.

use super::{Node, NodeKind};
use crate::meta::Labels;
use crate::snapshots::SNAPSHOTTER;

const REFERENCE: &str = "containerd.io/gc.ref.";
const BACK_REFERENCE: &str = "containerd.io/gc.bref.";

/// Returns what the owner of labels needs, with the keys that say so.
pub(super) fn needed(labels: &Labels) -> impl Iterator<Item = (Node, &str)> {
    under(REFERENCE, labels)
}

/// Returns what needs the owner of labels, with the keys that say so.
pub(super) fn needing(labels: &Labels) -> impl Iterator<Item = (Node, &str)> {
    under(BACK_REFERENCE, labels)
}

fn under<'l>(prefix: &'static str, labels: &'l Labels) -> impl Iterator<Item = (Node, &'l str)> {
    // Keys are sorted, so that those of the prefix stand together.
    labels
        .range(prefix.to_owned()..)
        .map_while(move |(key, value)| Some((key, key.strip_prefix(prefix)?, value)))
        .filter_map(|(key, rest, value)| Some((kind(rest)?.node(value), key.as_str())))
}

fn kind(text: &str) -> Option<NodeKind> {
    let is_end = |rest: &str| rest.is_empty() || rest.starts_with(['.', '/']);
    if text.strip_prefix("content").is_some_and(is_end) {
        return Some(NodeKind::Content);
    }
    if text.strip_prefix("image").is_some_and(is_end) {
        return Some(NodeKind::Image);
    }
    let snapshotter = text.strip_prefix("snapshot.")?.split('/').next();
    (snapshotter == Some(SNAPSHOTTER)).then_some(NodeKind::Snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_kinds() {
        let table = [
            ("content", Some(NodeKind::Content)),
            ("content.l.0", Some(NodeKind::Content)),
            ("content/x", Some(NodeKind::Content)),
            ("contents", None),
            ("image", Some(NodeKind::Image)),
            ("image.a", Some(NodeKind::Image)),
            ("snapshot.mica", Some(NodeKind::Snapshot)),
            ("snapshot.mica/a", Some(NodeKind::Snapshot)),
            ("snapshot.mica.a", None),
            ("snapshot.overlayfs", None),
            ("snapshot", None),
            ("container", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn both_directions_and_nothing_else() {
        let pairs = [
            ("containerd.io/gc.bref.image.a", "i"),
            ("containerd.io/gc.expire", "e"),
            ("containerd.io/gc.ref.content.0", "c"),
            ("containerd.io/gc.ref.snapshot.mica", "s"),
            ("containerd.io/gc.root", "r"),
            ("z", "z"),
        ];
        let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels = Labels::from(labels);
        let nodes = |found: Vec<(Node, &str)>| -> Vec<String> {
            found.iter().map(|(node, _)| node.to_string()).collect()
        };
        assert_eq!(
            nodes(needed(&labels).collect()),
            ["content c", "snapshot s"]
        );
        assert_eq!(nodes(needing(&labels).collect()), ["image i"]);
    }
}

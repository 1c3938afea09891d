//! The labels of an image's blobs, as containerd sets them, so that its tools understand what
//! refers to what and where it came from.

use super::{Context, Part, Plan};
use crate::content::distribution;
use crate::labels;
use crate::meta::Labels;
use crate::oci::{Descriptor, Digest, Kind, children};
use crate::source::Source;

use std::collections::BTreeMap;

/// Begins the labels that name what a document leads to.
const CHILD: &str = "containerd.io/gc.ref.content.";
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
const SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.mica";
/// Where an image can be fetched from again, by the kind of source.
pub(super) const REGISTRY_SOURCE: &str = "io.mica.source.registry";
pub(super) const LOCAL_SOURCE: &str = "io.mica.source.local";

/// Returns all blobs of a plan with their labels.
pub(super) fn of_plan(context: &Context, plan: &Plan) -> BTreeMap<Digest, Labels> {
    let mut all: BTreeMap<Digest, Labels> = BTreeMap::new();
    for (descriptor, bytes) in &plan.documents {
        let labels = all.entry(descriptor.digest.clone()).or_default();
        labels.extend(of_children(&children(bytes)));
        labels.extend(of_origin(&context.source));
    }
    for blob in plan.blobs() {
        all.entry(blob.digest.clone()).or_default();
    }
    for part in plan.parts.iter().filter(|part| part.is_unpacked) {
        for (digest, labels) in of_unpacked(part) {
            all.entry(digest).or_default().extend(labels);
        }
    }
    all
}

/// Returns the labels of blobs that say what has become of them.
pub(super) fn of_unpacked(part: &Part) -> BTreeMap<Digest, Labels> {
    let mut all: BTreeMap<Digest, Labels> = BTreeMap::new();
    for (layer, diff_id) in part.manifest.layers.iter().zip(part.config.diff_ids()) {
        let label = (UNCOMPRESSED.to_owned(), diff_id.to_string());
        all.entry(layer.digest.clone()).or_default().extend([label]);
    }
    if let Some(chain_id) = part.config.chain().pop() {
        let label = (SNAPSHOT.to_owned(), chain_id.to_string());
        let config = part.manifest.config.digest.clone();
        all.entry(config).or_default().extend([label]);
    }
    all
}

/// Returns the label by which a blob's repository is known, with the value that it has after
/// this pull: all repositories of the registry, in order. One that would be too long stays as
/// it is.
pub(super) fn of_repository(source: &Source, old: &Labels) -> Option<(String, String)> {
    let Source::Registry(client) = source else {
        return None;
    };
    let reference = client.reference();
    let key = distribution::key(reference.host());
    let known = old.get(&key).map_or("", String::as_str);
    let value = distribution::extended(&key, known, reference.path())?;
    Some((key, value))
}

fn of_origin(source: &Source) -> Option<(String, String)> {
    let key = match source {
        Source::Registry(_) => REGISTRY_SOURCE,
        Source::Layout(_) | Source::DockerArchive(_) => LOCAL_SOURCE,
    };
    let value = source.address()?;
    labels::fits(key, &value).then(|| (key.to_owned(), value))
}

/// Returns the labels of a document that leads to these blobs; each kind is counted by itself.
fn of_children(children: &[Descriptor]) -> Labels {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut labels = Labels::new();
    for child in children {
        let kind = match child.media_type.kind() {
            Kind::Manifest => "m.",
            Kind::Config if !child.media_type.as_str().ends_with("octet-stream") => "config",
            Kind::Layer(_) => "l.",
            _ => "",
        };
        let count = counts.entry(kind).or_default();
        let key = if kind == "config" && *count == 0 {
            format!("{CHILD}{kind}")
        } else {
            format!("{CHILD}{kind}{count}")
        };
        *count += 1;
        labels.insert(key, child.digest.to_string());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;
    use crate::registry;

    #[test]
    fn children_are_counted_by_kind() {
        let types = [
            MediaType::OCI_INDEX,
            MediaType::OCI_MANIFEST,
            MediaType::DOCKER_MANIFEST,
            MediaType::OCI_CONFIG,
            MediaType::OCI_LAYER,
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.in-toto+json",
            "application/octet-stream",
        ];
        let children: Vec<_> = types
            .iter()
            .map(|text| Descriptor::of(*text, text.as_bytes()))
            .collect();
        let keys = ["0", "m.0", "m.1", "config", "l.0", "l.1", "1", "2"];
        let expected: Labels = keys
            .iter()
            .zip(&children)
            .map(|(key, child)| (format!("{CHILD}{key}"), child.digest.to_string()))
            .collect();
        assert_eq!(of_children(&children), expected);
    }

    #[test]
    fn repositories_of_a_registry_are_kept_in_order() {
        let label = |reference: &str, old: &str| {
            let options = registry::Options::default();
            let source = Source::parse(reference, &options).unwrap();
            let key = |host: &str| format!("containerd.io/distribution.source.{host}");
            let old = match old.split_once('=') {
                Some((host, value)) => Labels::from([(key(host), value.to_owned())]),
                None => Labels::new(),
            };
            of_repository(&source, &old)
        };
        let full = format!("h.io={}", "x".repeat(4096));
        let table = [
            ("alpine", "", Some("docker.io=library/alpine")),
            ("localhost:5000/b/c", "", Some("localhost=b/c")),
            ("[::1]:5000/b/c", "", Some("[::1]=b/c")),
            ("h.io/b", "h.io=a,c", Some("h.io=a,b,c")),
            ("h.io/b", "h.io=b", Some("h.io=b")),
            ("h.io/b", "g.io=a", Some("h.io=b")),
            ("h.io/b", full.as_str(), None),
        ];
        for (reference, old, expected) in table {
            let expected = expected.and_then(|text| text.split_once('='));
            let expected = expected.map(|(host, value)| {
                (
                    format!("containerd.io/distribution.source.{host}"),
                    value.to_owned(),
                )
            });
            assert_eq!(label(reference, old), expected, "{reference} {old}");
        }
    }
}

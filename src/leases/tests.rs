//! Leases and their resources.

use super::*;
use crate::oci::{DiffId, Digest};

struct Stage {
    _root: tempfile::TempDir,
    leases: Leases,
}

fn stage() -> Stage {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(&root.path().join("store")).unwrap();
    Stage {
        leases: Leases::new(&store, Namespace::default()),
        _root: root,
    }
}

fn ids(leases: &Leases) -> Vec<String> {
    let list = leases.list().unwrap();
    list.into_iter().map(|lease| lease.id).collect()
}

#[test]
fn leases_are_made_once_and_end_once() {
    let Stage { leases, .. } = &stage();
    let labels = Labels::from([("a".into(), "1".into()), ("b".into(), String::new())]);
    let made = leases.create("one", labels).unwrap();
    assert_eq!(made.labels, Labels::from([("a".into(), "1".into())]));
    let error = leases.create("one", Labels::new()).unwrap_err();
    assert_eq!(error.to_string(), "lease \"one\": already exists");
    leases.create("another", Labels::new()).unwrap();
    assert_eq!(ids(leases), ["another", "one"]);
    assert_eq!(leases.list().unwrap()[1], made);
    leases.delete("one").unwrap();
    for id in ["one", "", "a\0b"] {
        let error = leases.delete(id).unwrap_err();
        assert!(matches!(error, LeaseError::NotFound(_)), "{id:?}: {error}");
    }
    for id in ["", "a\0b"] {
        let error = leases.create(id, Labels::new()).unwrap_err();
        assert!(matches!(error, LeaseError::Id(_)), "{id:?}: {error}");
    }
}

#[test]
fn resources_come_and_go() {
    let Stage { leases, .. } = &stage();
    leases.create("one", Labels::new()).unwrap();
    let digest = Digest::sha256(b"");
    let all = [
        Resource::content(&digest),
        Resource::layer(&DiffId(digest)),
        Resource::snapshot("key"),
        Resource::image("name"),
        Resource::new("ingests", "layer-1").unwrap(),
        Resource::new("snapshots/overlayfs", "key").unwrap(),
    ];
    for resource in &all {
        leases.add("one", resource).unwrap();
        leases.add("one", resource).unwrap();
    }
    assert_eq!(leases.resources("one").unwrap(), all);
    leases.remove("one", &all[0]).unwrap();
    leases.remove("one", &all[0]).unwrap();
    assert_eq!(leases.resources("one").unwrap(), all[1..]);
    assert!(matches!(
        leases.add("none", &all[0]),
        Err(LeaseError::NotFound(_))
    ));
}

#[test]
fn resources_that_are_none() {
    let digest = Digest::sha256(b"").to_string();
    let table = [
        ("content", digest.as_str(), None),
        ("content", "abc", Some("InvalidArgument")),
        ("layers", "abc", Some("InvalidArgument")),
        ("images", "", Some("InvalidArgument")),
        ("snapshots/mica", "key", None),
        ("snapshots", "key", Some("Unimplemented")),
        ("snapshots/", "key", Some("Unimplemented")),
        ("snapshots/a/b", "key", Some("Unimplemented")),
        ("containers", "key", Some("Unimplemented")),
    ];
    for (kind, id, expected) in table {
        let class = Resource::new(kind, id).err().map(|error| error.class());
        let class = class.map(|class| format!("{class:?}"));
        assert_eq!(class.as_deref(), expected, "{kind} {id}");
    }
}

#[test]
fn a_held_lease_ends_with_its_holder() {
    let Stage { leases, .. } = &stage();
    let held = leases.hold("pull", vec![Resource::image("a")]).unwrap();
    held.add(vec![Resource::image("b")]).unwrap();
    let [lease] = &leases.list().unwrap()[..] else {
        panic!("one lease");
    };
    assert!(lease.id.starts_with("pull-"), "{}", lease.id);
    assert_eq!(lease.resources.len(), 2);
    let hours = |hours| Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    assert!(!lease.is_expired(hours(23)));
    assert!(lease.is_expired(hours(25)));
    drop(held);
    assert!(ids(leases).is_empty());

    let held = leases.hold("pull", Vec::new()).unwrap();
    let failed = held.end_with(|_| Err::<(), _>(LeaseError::Id(String::new())));
    failed.unwrap_err();
    assert!(
        ids(leases).is_empty(),
        "ended although the transaction failed"
    );
    leases.hold("pull", Vec::new()).unwrap().end().unwrap();
    assert!(ids(leases).is_empty());
}

#[test]
fn expiry_is_a_time_or_nothing() {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let table = [
        (Some("2026-11-24T12:00:00Z"), true),
        (Some("2026-11-24T12:00:00.000000001Z"), false),
        (Some("2026-11-24T14:00:00+02:00"), true),
        (Some("tomorrow"), false),
        (None, false),
    ];
    for (text, expected) in table {
        let labels = text.map(|text| (EXPIRE.to_owned(), text.to_owned()));
        assert_eq!(
            is_expired(&labels.into_iter().collect(), now),
            expected,
            "{text:?}"
        );
    }
}

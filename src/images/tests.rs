//! Names, changes by containerd's rules, and what is there of an image.

use super::*;
use crate::events::Event;
use crate::meta::Labels;
use crate::oci::MediaType;
use crate::store::Store;

fn images(store: &Store) -> Images {
    Images::new(store.meta(), store.content(), Namespace::default())
}

fn add(store: &Store, name: &str, content: &[u8]) -> ImageRecord {
    let target = Descriptor::of(MediaType::OCI_MANIFEST, content);
    store
        .meta()
        .write(|t| record(t, &Namespace::default(), name, &target))
        .unwrap()
}

#[test]
fn users_may_say_less_than_the_full_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let debian = add(&store, "docker.io/library/debian:latest", b"debian");
    add(&store, "localhost:5000/python:3", b"python");
    let digest = debian.target.digest.clone();
    let table = [
        ("full name", "docker.io/library/debian:latest".to_owned()),
        ("short name", "debian".to_owned()),
        ("with tag", "debian:latest".to_owned()),
        ("whole digest", digest.to_string()),
        ("digits", digest.hex()[..8].to_owned()),
        (
            "algorithm and digits",
            format!("sha256:{}", &digest.hex()[..4]),
        ),
    ];
    for (why, input) in table {
        assert_eq!(
            images(&store).resolve(&input).unwrap().name,
            debian.name,
            "{why}"
        );
    }
    for (why, input) in [
        ("other tag", "debian:12"),
        ("too few digits", &digest.hex()[..3]),
        ("empty", ""),
    ] {
        assert!(
            matches!(images(&store).resolve(input), Err(ImageError::NotFound(_))),
            "{why}"
        );
    }
}

#[test]
fn an_update_keeps_the_time_of_creation() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let old = add(&store, "docker.io/library/a:latest", b"1");
    let new = add(&store, "docker.io/library/a:latest", b"2");
    assert_eq!(old.created, new.created);
    assert!(new.updated > old.updated);
    assert_ne!(old.target, new.target);
}

#[test]
fn two_names_of_one_image_are_not_ambiguous() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let image = add(&store, "docker.io/library/a:latest", b"1");
    images(&store).tag("a", "b:2", false).unwrap();
    assert_eq!(images(&store).resolve("b:2").unwrap().target, image.target);
    images(&store)
        .resolve(&image.target.digest.hex()[..12])
        .unwrap();
    images(&store).remove("a", None).unwrap();
    assert_eq!(images(&store).list().unwrap().len(), 1);
    assert!(matches!(
        images(&store).tag("b:2", "UPPER", false),
        Err(ImageError::Name { .. })
    ));
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn class<T: std::fmt::Debug>(result: Result<T, ImageError>) -> ErrorClass {
    result.unwrap_err().class()
}

fn target(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_MANIFEST, content)
}

#[test]
fn images_are_created_once() {
    use ErrorClass::{AlreadyExists, InvalidArgument};
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let images = images(&store);
    let given = labels(&[("a", "1"), ("empty", "")]);
    let image = images.create("any name", &target(b"1"), given).unwrap();
    assert_eq!(image.labels, labels(&[("a", "1")]));
    assert_eq!(image.created, image.updated);
    assert_eq!(images.info("any name").unwrap(), image);
    let empty = Descriptor {
        size: 0,
        ..target(b"1")
    };
    let typeless = Descriptor {
        media_type: "".into(),
        ..target(b"1")
    };
    let long = labels(&[("k", &"v".repeat(4096))]);
    let none = Labels::new();
    let table = [
        ("any name", target(b"2"), none.clone(), AlreadyExists),
        ("", target(b"2"), none.clone(), InvalidArgument),
        ("b", empty, none.clone(), InvalidArgument),
        ("b", typeless, none, InvalidArgument),
        ("b", target(b"2"), long, InvalidArgument),
    ];
    for (name, target, labels, expected) in table {
        let result = images.create(name, &target, labels);
        assert_eq!(class(result), expected, "{name:?}");
    }
    assert_eq!(images.list().unwrap(), [image]);
}

#[test]
fn updates_follow_their_mask() {
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let images = images(&store);
    let annotated = |content: &[u8], pairs| Descriptor {
        annotations: labels(pairs),
        ..target(content)
    };
    let old = annotated(b"1", &[("x", "1"), ("y", "1")]);
    let new = annotated(b"2", &[("x", "2"), ("z", "2")]);
    let table: [(&[&str], bool, Pairs, Pairs); 7] = [
        (
            &[],
            true,
            &[("a", "2"), ("c", "2")],
            &[("x", "2"), ("z", "2")],
        ),
        (
            &["target"],
            true,
            &[("a", "1"), ("b", "1")],
            &[("x", "2"), ("z", "2")],
        ),
        (
            &["labels"],
            false,
            &[("a", "2"), ("c", "2")],
            &[("x", "1"), ("y", "1")],
        ),
        (
            &["labels.a"],
            false,
            &[("a", "2"), ("b", "1")],
            &[("x", "1"), ("y", "1")],
        ),
        (
            &["labels.b", "labels.c"],
            false,
            &[("a", "1"), ("c", "2")],
            &[("x", "1"), ("y", "1")],
        ),
        (
            &["annotations"],
            false,
            &[("a", "1"), ("b", "1")],
            &[("x", "2"), ("z", "2")],
        ),
        (
            &["annotations.y", "annotations.x"],
            false,
            &[("a", "1"), ("b", "1")],
            &[("x", "2")],
        ),
    ];
    for (mask, is_new, expected_labels, annotations) in table {
        let given = labels(&[("a", "1"), ("b", "1")]);
        let image = images.create("name", &old, given).unwrap();
        let change = ImageRecord {
            target: new.clone(),
            labels: labels(&[("a", "2"), ("c", "2")]),
            created: jiff::Timestamp::MIN,
            ..image.clone()
        };
        let updated = images.update(&change, mask).unwrap();
        let digest = if is_new { &new.digest } else { &old.digest };
        assert_eq!(updated.target.digest, *digest, "{mask:?}");
        assert_eq!(updated.labels, labels(expected_labels), "{mask:?}");
        assert_eq!(updated.target.annotations, labels(annotations), "{mask:?}");
        assert_eq!(updated.created, image.created, "{mask:?}");
        assert!(updated.updated > image.updated, "{mask:?}");
        let error = images.update(&change, &["name"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot update \"name\" field on image \"name\""
        );
        let other = Digest::sha256(b"another target");
        let refused = images.delete("name", Some(&other));
        assert_eq!(class(refused), ErrorClass::NotFound);
        let target = images.info("name").unwrap().target.digest;
        images.delete("name", Some(&target)).unwrap();
        assert_eq!(class(images.delete("name", None)), ErrorClass::NotFound);
        assert_eq!(class(images.update(&change, mask)), ErrorClass::NotFound);
    }
}

#[test]
fn a_taken_name_is_replaced_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let images = images(&store);
    let a = add(&store, "docker.io/library/a:latest", b"1");
    add(&store, "docker.io/library/b:latest", b"2");
    assert_eq!(
        class(images.tag("a", "b", false)),
        ErrorClass::AlreadyExists
    );
    let b = images.tag("a", "b", true).unwrap();
    assert_eq!(b.target, a.target);
    assert_eq!(images.info("docker.io/library/b:latest").unwrap(), b);
    let filter = crate::filter::Filter::parse(&[format!("target.digest=={}", a.target.digest)]);
    assert_eq!(images.matching(&filter.unwrap()).unwrap(), [a, b]);
}

#[test]
fn changes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("s")).unwrap();
    let name = "docker.io/library/a:latest".to_owned();
    add(&store, &name, b"1");
    let image = add(&store, &name, b"2");
    let marked = ImageRecord {
        labels: labels(&[("k", "v")]),
        ..image
    };
    images(&store).update(&marked, &["labels"]).unwrap();
    images(&store).remove("a", None).unwrap();
    let mut follower = store.events().from_oldest().unwrap();
    let envelopes = follower.read().unwrap().into_iter();
    let events: Vec<Event> = envelopes.map(|envelope| envelope.event).collect();
    let create = Event::ImageCreate {
        name: name.clone(),
        labels: Labels::new(),
    };
    let [bare, marked] = [Labels::new(), marked.labels].map(|labels| Event::ImageUpdate {
        name: name.clone(),
        labels,
    });
    assert_eq!(events, [create, bare, marked, Event::ImageDelete { name }]);
}

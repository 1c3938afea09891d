//! The spool, written and read.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::Write as _;

use super::*;

struct Stage {
    _root: tempfile::TempDir,
    events: Events,
}

fn stage() -> Stage {
    let root = tempfile::tempdir().unwrap();
    let locks = Locks::new(root.path().join("locks"));
    Stage {
        events: Events::new(root.path(), locks),
        _root: root,
    }
}

fn removed(key: impl Display) -> Event {
    Event::SnapshotRemove {
        key: key.to_string(),
        snapshotter: "mica".to_owned(),
    }
}

fn keys(follower: &mut Follower) -> Vec<String> {
    let envelopes = follower.read().unwrap();
    let key = |envelope: &Envelope| envelope.field(&["event", "key"]).unwrap().into_owned();
    envelopes.iter().map(key).collect()
}

impl Stage {
    fn publish(&self, key: impl Display) {
        let events = vec![(Namespace::default(), removed(key))];
        self.events.publish(events);
    }
}

#[test]
fn a_line_has_containerds_names() {
    let envelope = Envelope {
        timestamp: "2026-11-24T10:00:00.5Z".parse().unwrap(),
        namespace: Namespace::default(),
        event: Event::SnapshotPrepare {
            key: "work".into(),
            parent: "base".into(),
            snapshotter: "mica".into(),
        },
    };
    let json = serde_json::to_string(&envelope).unwrap();
    assert_eq!(
        json,
        r#"{"timestamp":"2026-11-24T10:00:00.5Z","namespace":"default","topic":"/snapshot/prepare","event":{"key":"work","parent":"base","snapshotter":"mica"}}"#
    );
    assert_eq!(serde_json::from_str::<Envelope>(&json).unwrap(), envelope);
}

#[test]
fn the_topic_is_the_one_that_is_written() {
    let digest = Digest::sha256(b"");
    let (name, labels) = ("n".to_owned(), Labels::new());
    let all = [
        Event::ImageCreate {
            name: name.clone(),
            labels: labels.clone(),
        },
        Event::ImageUpdate {
            name: name.clone(),
            labels: labels.clone(),
        },
        Event::ImageDelete { name: name.clone() },
        Event::ContentCreate {
            digest: digest.clone(),
            size: 1,
        },
        Event::ContentDelete { digest },
        Event::SnapshotCommit {
            key: "k".into(),
            name: name.clone(),
            snapshotter: "s".into(),
        },
        Event::SnapshotPrepare {
            key: "k".into(),
            parent: String::new(),
            snapshotter: "s".into(),
        },
        removed("k"),
        Event::NamespaceCreate {
            name: name.clone(),
            labels: labels.clone(),
        },
        Event::NamespaceUpdate {
            name: name.clone(),
            labels,
        },
        Event::NamespaceDelete { name },
    ];
    for event in all {
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["topic"], event.topic());
        for (field, value) in json["event"].as_object().unwrap() {
            let envelope = Envelope {
                timestamp: Timestamp::now(),
                namespace: Namespace::default(),
                event: event.clone(),
            };
            let found = envelope.field(&["event", field]);
            let expected = if field == "size" {
                None
            } else {
                value.as_str()
            };
            assert_eq!(found.as_deref(), expected, "{} {field}", event.topic());
        }
    }
}

#[test]
fn fields_of_filters() {
    let envelope = Envelope {
        timestamp: Timestamp::now(),
        namespace: Namespace::default(),
        event: Event::ImageCreate {
            name: "a".into(),
            labels: Labels::from([("b.c/d".into(), "1".into())]),
        },
    };
    let table: [(&[&str], Option<&str>); 7] = [
        (&["topic"], Some("/images/create")),
        (&["namespace"], Some("default")),
        (&["event", "name"], Some("a")),
        (&["event", "labels", "b", "c/d"], Some("1")),
        (&["event", "labels", "x"], None),
        (&["event", "key"], None),
        (&[], None),
    ];
    for (path, expected) in table {
        assert_eq!(envelope.field(path).as_deref(), expected, "{path:?}");
    }
}

#[test]
fn a_reader_gets_every_event_once_and_in_order() {
    let stage = stage();
    let mut early = stage.events.from_now().unwrap();
    assert!(keys(&mut early).is_empty());
    stage.publish("a");
    stage.publish("b");
    let mut late = stage.events.from_now().unwrap();
    let mut all = stage.events.from_oldest().unwrap();
    stage.publish("c");
    late.wait(None).unwrap();
    assert_eq!(keys(&mut late), ["c"]);
    assert_eq!(keys(&mut all), ["a", "b", "c"]);
    assert_eq!(keys(&mut early), ["a", "b", "c"]);
    assert!(keys(&mut early).is_empty());
}

#[test]
fn a_torn_line_costs_nothing_but_itself() {
    let stage = stage();
    stage.publish("a");
    let mut follower = stage.events.from_oldest().unwrap();
    let path = stage.events.directory.join("1");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(br#"{"timestamp":"20"#).unwrap();
    assert_eq!(keys(&mut follower), ["a"]);
    stage.publish("b");
    assert_eq!(keys(&mut follower), ["b"]);
    file.write_all(b"\xff\n{}\n").unwrap();
    stage.publish("c");
    assert_eq!(keys(&mut follower), ["c"]);
}

#[test]
fn the_spool_is_bounded_and_readers_go_on_in_the_next_file() {
    let stage = stage();
    let directory = &stage.events.directory;
    let mut follower = stage.events.from_oldest().unwrap();
    let mut slow = stage.events.from_oldest().unwrap();
    let mut seen = Vec::new();
    for number in 0..40 {
        let envelope = Envelope {
            timestamp: Timestamp::now(),
            namespace: Namespace::default(),
            event: removed(number),
        };
        let line = serde_json::to_string(&envelope).unwrap() + "\n";
        spool::append_lines(directory, line.as_bytes(), 1000).unwrap();
        if number % 3 == 0 {
            seen.extend(keys(&mut follower));
        }
    }
    let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 2);
    let rest = keys(&mut slow);
    assert_eq!(rest.last().map(String::as_str), Some("39"));
    assert!(rest.len() < 40, "the oldest are gone");
}

#[test]
fn writers_of_several_processes_do_not_mix_their_lines() {
    let stage = stage();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let events = Events::new(
                stage.events.directory.parent().unwrap(),
                stage.events.locks.clone(),
            );
            scope.spawn(move || {
                for number in 0..25 {
                    let event = removed(format!("{writer}-{number}"));
                    events.publish(vec![(Namespace::default(), event)]);
                }
            });
        }
    });
    let mut found = keys(&mut stage.events.from_oldest().unwrap());
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 100);
}

#[test]
fn a_spool_that_cannot_be_written_fails_nothing() {
    let stage = stage();
    fs::write(&stage.events.directory, b"no directory").unwrap();
    stage.publish("a");
}

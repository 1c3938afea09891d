//! Transactions against a real database.

use std::time::Duration;

use super::*;
use crate::oci::Digest;

fn meta(dir: &tempfile::TempDir) -> Meta {
    let locks = Locks::new(dir.path().join("locks"));
    let events = Events::new(dir.path(), locks.clone());
    Meta::new(dir.path().join("meta.sled"), locks, events)
}

fn snapshot(name: &str) -> SnapshotRecord {
    let now = jiff::Timestamp::now();
    SnapshotRecord {
        name: name.to_owned(),
        kind: Kind::Committed,
        parent: None,
        layer: None,
        id: None,
        usage: None,
        labels: Labels::new(),
        created: now,
        updated: now,
    }
}

fn names(meta: &Meta) -> Vec<String> {
    let list = |t: &Transaction| t.list::<SnapshotRecord>(&Namespace::default());
    meta.read(list)
        .unwrap()
        .into_iter()
        .map(|record| record.name)
        .collect()
}

#[test]
fn a_transaction_sees_its_own_changes_and_commits_them_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let ns = Namespace::default();
    meta.write(|t| {
        t.put(&ns, "a", &snapshot("a"))?;
        t.put(&ns, "b", &snapshot("b"))?;
        t.remove::<SnapshotRecord>(&ns, "a")?;
        assert_eq!(t.find::<SnapshotRecord>(&ns, "a")?, None);
        assert_eq!(t.list::<SnapshotRecord>(&ns)?.len(), 1);
        t.put(&ns, "c", &snapshot("c"))
    })
    .unwrap();
    assert_eq!(names(&meta), ["b", "c"]);
    let images = meta.read(|t| t.list::<ImageRecord>(&ns)).unwrap();
    assert!(images.is_empty(), "kinds do not mix");
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let ns = Namespace::default();
    let result: Result<(), MetaError> = meta.write(|t| {
        t.put(&ns, "a", &snapshot("a"))?;
        t.put(&ns, "", &snapshot(""))
    });
    assert!(matches!(result, Err(MetaError::Name { .. })));
    assert!(names(&meta).is_empty());
}

#[test]
fn a_newer_or_damaged_record_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let key = key::Table::Snapshots
        .key(&Namespace::default(), "a")
        .unwrap();
    for (bytes, message) in [
        (
            &b"\x02{}"[..],
            r#"record "default/snapshots/a" has version 2"#,
        ),
        (b"\x01{", r#"record "default/snapshots/a" is damaged"#),
        (b"", r#"record "default/snapshots/a" is damaged"#),
    ] {
        let db = meta.open().unwrap();
        db.insert(&key, bytes).unwrap();
        drop(db);
        let result = meta.read(|t| t.list::<SnapshotRecord>(&Namespace::default()));
        assert!(result.unwrap_err().to_string().starts_with(message));
    }
}

#[test]
fn transactions_of_threads_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let meta = &meta;
            scope.spawn(move || {
                for turn in 0..10 {
                    let name = format!("{thread}-{turn}");
                    meta.write(|t| t.put(&Namespace::default(), &name, &snapshot(&name)))
                        .unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
    });
    assert_eq!(names(&meta).len(), 40);
}

#[test]
fn a_record_of_an_earlier_release_is_read() {
    let bytes = br#"{"name":"a","kind":"committed","parent":null,"layer":null,"created":"2026-01-01T00:00:00Z","updated":"2026-01-01T00:00:00Z"}"#;
    let bytes = [&b"\x01"[..], bytes].concat();
    let record = record::decode::<SnapshotRecord>(b"k", &bytes).unwrap();
    assert_eq!((record.id, record.usage), (None, None));
}

#[test]
fn a_content_record_survives_its_encoding() {
    let now = jiff::Timestamp::now();
    let record = ContentRecord {
        digest: format!("sha256:{}", "a".repeat(64))
            .parse::<Digest>()
            .unwrap(),
        size: 7,
        labels: Labels::from([("k".to_owned(), "v".to_owned())]),
        created: now,
        updated: now,
    };
    let bytes = record::encode(b"k", &record).unwrap();
    assert_eq!(
        record::decode::<ContentRecord>(b"k", &bytes).unwrap(),
        record
    );
}

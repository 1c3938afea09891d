//! Transactions against a real database.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::oci::Digest;

fn meta(dir: &tempfile::TempDir) -> Meta {
    let locks = Locks::new(dir.path().join("locks"));
    let events = Events::new(dir.path(), locks.clone());
    Meta::new(dir.path().join("meta.sled"), locks, events, Arc::default())
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

/// Why, what is put, what is removed, and what is listed then.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn a_list_is_sorted_whatever_was_written_before_and_in_the_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let ns = Namespace::default();
    let stored = ["b", "d", "f"];
    meta.write(|t| stored.iter().try_for_each(|n| t.put(&ns, n, &snapshot(n))))
        .unwrap();
    let table: [Case; 5] = [
        ("nothing", &[], &[], &["b", "d", "f"]),
        (
            "around and between",
            &["a", "c", "g"],
            &[],
            &["a", "b", "c", "d", "f", "g"],
        ),
        ("the same names", &["b", "f"], &[], &["b", "d", "f"]),
        ("removed, known and not", &[], &["a", "d", "g"], &["b", "f"]),
        ("all", &["a", "e"], &["b", "d", "f"], &["a", "e"]),
    ];
    for (why, put, removed, expected) in table {
        let list = |t: &Transaction| {
            put.iter().try_for_each(|n| t.put(&ns, n, &snapshot(n)))?;
            removed
                .iter()
                .try_for_each(|n| t.remove::<SnapshotRecord>(&ns, n))?;
            t.list::<SnapshotRecord>(&ns)
        };
        let found = meta
            .read(list)
            .unwrap()
            .into_iter()
            .map(|record| record.name);
        assert_eq!(found.collect::<Vec<_>>(), expected, "{why}");
    }
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
        let change = (key.clone(), Some(bytes.to_vec()));
        Database::open(&meta.path).unwrap().apply([change]).unwrap();
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

/// Copies the files of a database, with its journal.
fn copy(from: &Meta, to: &Meta) {
    std::fs::create_dir_all(&to.path).unwrap();
    for entry in std::fs::read_dir(&from.path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.path.join(entry.file_name())).unwrap();
        }
    }
    let journal = |meta: &Meta| Journal::beside(&meta.path).path().to_owned();
    std::fs::copy(journal(from), journal(to)).unwrap();
}

#[test]
fn what_the_database_has_lost_is_made_again_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, old) = (meta(&dir), meta(&before));
    let ns = Namespace::default();
    let put = |meta: &Meta, name: &str| meta.write(|t| t.put(&ns, name, &snapshot(name)));
    put(&original, "a").unwrap();
    copy(&original, &old);
    put(&original, "b").unwrap();
    original
        .write(|t| t.remove::<SnapshotRecord>(&ns, "a"))
        .unwrap();
    put(&original, "c").unwrap();
    let journal = Journal::beside(&original.path);
    for (why, database) in [("an older database", Some(&old)), ("none", None)] {
        let lost = meta(&after);
        std::fs::remove_dir_all(&lost.path).ok();
        if let Some(database) = database {
            copy(database, &lost);
        }
        std::fs::copy(journal.path(), Journal::beside(&lost.path).path()).unwrap();
        assert_eq!(names(&lost), ["b", "c"], "{why}");
        put(&lost, "d").unwrap();
        assert_eq!(names(&lost), ["b", "c", "d"], "{why}");
    }
}

#[test]
fn a_database_without_a_journal_begins_one() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let ns = Namespace::default();
    let put = |name: &str| meta.write(|t| t.put(&ns, name, &snapshot(name)));
    put("a").unwrap();
    let journal = Journal::beside(&meta.path);
    std::fs::remove_file(journal.path()).unwrap();
    assert_eq!(names(&meta), ["a"]);
    put("b").unwrap();
    std::fs::remove_dir_all(&meta.path).unwrap();
    assert_eq!(names(&meta), ["a", "b"]);
}

#[test]
fn the_journal_stays_within_some_times_of_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let ns = Namespace::default();
    let mut record = snapshot("a");
    record.labels.insert("k".to_owned(), "v".repeat(300_000));
    let journal = Journal::beside(&meta.path);
    for _ in 0..12 {
        meta.write(|t| t.put(&ns, "a", &record)).unwrap();
        let length = std::fs::metadata(journal.path()).unwrap().len();
        assert!(length < 2_200_000, "{length}");
    }
    assert_eq!(names(&meta), ["a"]);
}

/// Numbers that look random and are the same each time.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    }
}

/// Changes bytes of a file, cuts it, or removes it.
fn damage(path: &std::path::Path, mut number: impl FnMut(usize) -> usize) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let place = number(bytes.len());
    let what = match number(4) {
        0 => {
            bytes.truncate(place);
            format!("cut at {place}")
        }
        1 => {
            let end = bytes.len().min(place + 1 + number(64));
            bytes[place..end].fill(0);
            format!("zeros at {place}..{end}")
        }
        2 => {
            let end = bytes.len().min(place + 1 + number(64));
            bytes[place..end].fill_with(|| u8::try_from(number(256)).unwrap());
            format!("noise at {place}..{end}")
        }
        _ => {
            bytes[place] ^= 1 << number(8);
            format!("a bit at {place}")
        }
    };
    std::fs::write(path, bytes).unwrap();
    format!("{}: {what}", path.file_name().unwrap().display())
}

#[test]
fn damaged_files_are_made_anew_from_the_journal_or_told_and_never_a_panic() {
    let turns = std::env::var("MICA_FUZZ_TURNS").map_or(300, |turns| turns.parse().unwrap());
    let first = std::env::var("MICA_FUZZ_SEED").map_or(0, |seed| seed.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let original = meta(&dir);
    let ns = Namespace::default();
    for turn in 0..12_u32 {
        let put = |t: &Transaction<'_>| {
            (0..10).try_for_each(|n| {
                let name = format!("{turn}-{n}");
                t.put(&ns, &name, &snapshot(&name))
            })?;
            t.remove::<SnapshotRecord>(&ns, &format!("{}-3", turn.saturating_sub(1)))
        };
        original.write(put).unwrap();
    }
    let expected = names(&original);
    let (mut whole, mut told) = (0, 0);
    for seed in first..first + turns {
        let spoilt = tempfile::tempdir().unwrap();
        let spoilt = meta(&spoilt);
        copy(&original, &spoilt);
        let mut number = numbers(seed);
        let mut files: Vec<_> = std::fs::read_dir(&spoilt.path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let what = damage(&files[number(files.len())], &mut number);
        let list = |t: &Transaction<'_>| t.list::<SnapshotRecord>(&ns);
        match spoilt.read(list) {
            Ok(records) => {
                let found: Vec<_> = records.into_iter().map(|record| record.name).collect();
                assert_eq!(found, expected, "{seed}, {what}");
                whole += 1;
            }
            Err(error) => {
                let is_told = matches!(
                    error,
                    MetaError::Damaged { .. }
                        | MetaError::DamagedRecord { .. }
                        | MetaError::NewerRecord { .. }
                );
                assert!(is_told, "{seed}, {what}: {error:?}");
                told += 1;
            }
        }
    }
    println!("{whole} times no loss, {told} times an error");
    assert!(whole > told);
}

#[test]
fn namespaces_are_those_that_have_records() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(&dir);
    let spaces: Vec<Namespace> = ["a", "a-b", "a.b", "a1", "b"]
        .map(|name| name.parse().unwrap())
        .to_vec();
    meta.write(|t| {
        for namespace in &spaces {
            t.put(namespace, "s", &snapshot("s"))?;
        }
        assert_eq!(t.namespaces()?, spaces, "in the same transaction");
        t.put(&Namespace::shared(), "c", &snapshot("c"))
    })
    .unwrap();
    meta.write(|t| {
        assert_eq!(t.namespaces()?, spaces);
        t.clear(&spaces[0])?;
        assert!(!t.has_namespace(&spaces[0])?);
        assert!(t.has_any::<SnapshotRecord>(&spaces[1])?);
        assert!(!t.has_any::<ImageRecord>(&spaces[1])?);
        assert_eq!(t.namespaces()?, spaces[1..]);
        Ok::<_, MetaError>(())
    })
    .unwrap();
    meta.read(|t| {
        assert_eq!(t.namespaces()?, spaces[1..]);
        Ok::<_, MetaError>(())
    })
    .unwrap();
    let shared = meta.read(|t| t.list::<SnapshotRecord>(&Namespace::shared()));
    assert_eq!(shared.unwrap().len(), 1, "no namespace");
}

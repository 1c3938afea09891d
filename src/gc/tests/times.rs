//! What is a matter of time: how long downloads stay, and how often garbage is collected.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn downloads_have_a_day() {
    let stage = Stage::new();
    let ingests = stage.store.root().join("content/ingests");
    let make = |id: &str, age: u64| {
        let path = ingests.join(id);
        fs::create_dir(&path).unwrap();
        let data = fs::File::create(path.join("data")).unwrap();
        let written = SystemTime::now() - Duration::from_secs(age);
        data.set_modified(written).unwrap();
    };
    make("young", 60 * 60);
    make("old", 25 * 60 * 60);
    make("busy", 25 * 60 * 60);
    let busy = crate::store::LockName::Ingest("busy".into());
    let lock = stage.store.locks().try_exclusive(&busy).unwrap();
    assert_eq!(collect(&stage.store).unwrap().ingests, 1);
    drop(lock);
    assert_eq!(collect(&stage.store).unwrap().ingests, 1);
    assert!(ingests.join("young").exists());
}

#[test]
fn collections_by_the_way_are_rare() {
    let stage = Stage::new();
    let is_due = || collect_if_due(&stage.store).unwrap().is_some();
    assert!(!is_due(), "a new store");
    let age = |hours: u64| {
        let file = fs::File::options()
            .write(true)
            .open(lock_file(&stage.store))
            .unwrap();
        let time = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        file.set_modified(time).unwrap();
    };
    age(2);
    assert!(is_due());
    assert!(!is_due(), "just done");
    age(2);
    collect(&stage.store).unwrap();
    assert!(!is_due(), "just done");
}

fn lock_file(store: &Store) -> std::path::PathBuf {
    store.root().join(Path::new("locks/gc"))
}

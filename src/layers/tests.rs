//! Publication, proof and holds of layers made by the real builder.

use super::*;
use crate::gc;
use crate::store::Store;

/// Returns a store with one layer in it.
fn store() -> (tempfile::TempDir, Store, DiffId) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let tar = tar_of(b"hello");
    let diff_id = DiffId(Digest::sha256(&tar));
    unpack(&store, &diff_id, &tar).unwrap();
    (dir, store, diff_id)
}

fn tar_of(content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", content).unwrap();
    builder.into_inner().unwrap()
}

fn unpack(store: &Store, diff_id: &DiffId, tar: &[u8]) -> Result<(), LayerError> {
    let mut unpacking = store.layers().unpack(diff_id)?;
    unpacking.push(tar)?;
    unpacking.finish()
}

fn count(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

#[test]
fn a_layer_with_another_diff_id_is_not_published() {
    let (_dir, store, diff_id) = store();
    let other = DiffId(Digest::sha256(b"other"));
    let result = unpack(&store, &other, &tar_of(b"hello"));
    assert!(matches!(result, Err(LayerError::DiffId { .. })));
    assert_eq!(store.layers().list().unwrap(), [diff_id]);
    assert_eq!(count(&store.root().join("tmp")), 0);
}

#[test]
fn a_layer_of_this_boot_is_ready_and_one_of_another_needs_proof() {
    let (_dir, store, diff_id) = store();
    let layers = store.layers();
    let path = layers.path(&diff_id);
    let boot = path.join("boot");
    assert_eq!(layers.state(&diff_id).unwrap(), LayerState::Ready);
    for content in ["another boot", ""] {
        fs::write(&boot, content).unwrap();
        assert_eq!(
            layers.state(&diff_id).unwrap(),
            LayerState::Unproven,
            "{content:?}"
        );
    }
    fs::remove_file(&boot).unwrap();
    assert_eq!(layers.state(&diff_id).unwrap(), LayerState::Unproven);
    assert!(layers.prove(&diff_id).unwrap());
    assert_eq!(
        layers.state(&diff_id).unwrap(),
        LayerState::Ready,
        "proof leaves a mark"
    );
}

#[test]
fn a_layer_that_a_crash_has_damaged_counts_as_missing_and_is_replaced() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("data zeroed", |path| {
            let size = fs::metadata(path.join("data")).unwrap().len();
            fs::write(path.join("data"), vec![0; usize::try_from(size).unwrap()]).unwrap();
        }),
        ("data cut", |path| {
            fs::write(path.join("data"), b"").unwrap();
        }),
        ("index cut", |path| {
            fs::write(path.join("index"), b"").unwrap();
        }),
        ("index gone", |path| {
            fs::remove_file(path.join("index")).unwrap();
        }),
    ];
    for (why, damage) in damages {
        let (_dir, store, diff_id) = store();
        let path = store.layers().path(&diff_id);
        fs::remove_file(path.join("boot")).unwrap();
        damage(&path);
        assert!(!store.layers().prove(&diff_id).unwrap(), "{why}");
        unpack(&store, &diff_id, &tar_of(b"hello")).unwrap();
        store.layers().verify(&diff_id).unwrap();
    }
}

#[test]
fn verification_sees_a_changed_byte_anywhere() {
    for name in ["data", "index"] {
        let (_dir, store, diff_id) = store();
        let path = store.layers().path(&diff_id).join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(store.layers().verify(&diff_id).is_err(), "{name}");
    }
}

#[test]
fn what_a_process_holds_is_no_garbage() {
    let (_dir, store, diff_id) = store();
    let hold = store.layers().hold(std::slice::from_ref(&diff_id)).unwrap();
    assert_eq!(gc::collect(&store).unwrap().layers, 0);
    drop(hold);
    // A killed process leaves its file, which nobody has locked.
    fs::write(
        store.root().join("locks/uses/1-dead"),
        format!("{diff_id}\n"),
    )
    .unwrap();
    assert_eq!(gc::collect(&store).unwrap().layers, 1);
    assert_eq!(count(&store.root().join("locks/uses")), 0);
    assert_eq!(store.layers().state(&diff_id).unwrap(), LayerState::Missing);
}

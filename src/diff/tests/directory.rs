//! Directories in the form of overlayfs that are packed.

use mica_fuse::{DirectoryLayer, Layer, ViewOptions};

use super::*;
use crate::layers::LayerPlan;

impl Stage {
    fn pack_directory(&self, path: &Path) -> Result<DiffId, DiffError> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.build().unwrap();
        runtime.block_on(pack_directory(&self.store, &self.snapshots, path))
    }
}

/// Returns what a layer shows over a directory.
fn seen_over(below: &Path, layer: Layer) -> BTreeMap<Vec<u8>, Seen> {
    let below = Layer::Directory(Arc::new(DirectoryLayer::open(below).unwrap()));
    seen(&View::open(vec![layer, below], ViewOptions::default()).unwrap())
}

fn whiteout(path: &Path) {
    mknodat(CWD, path, RealType::CharacterDevice, Mode::empty(), 0).unwrap();
}

#[test]
fn a_packed_directory_hides_what_it_hid() {
    if !is_root() {
        return;
    }
    let stage = Stage::new(|_| ());
    let (below, above) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (below, above) = (below.path(), above.path());
    fill(
        below,
        &[
            "kept", "gone", "wh", "d/old", "e/old", "f/old", "f/kept", "g/h/old",
        ],
    );
    fill(above, &["new", "d/new", "e/new", "f/new", "g/h/new"]);
    whiteout(&above.join("gone"));
    fs::write(above.join(".wh.wh"), "").unwrap();
    set_xattr(&above.join("d"), "trusted.overlay.opaque", b"y");
    fs::write(above.join(".wh.e"), "").unwrap();
    whiteout(&above.join("f/old"));
    fs::write(above.join("g/h/.wh..wh..opq"), "").unwrap();
    whiteout(&above.join("hides nothing"));
    fs::set_permissions(above, fs::Permissions::from_mode(0o750)).unwrap();
    set_xattr(&above.join("new"), "user.kept", b"value");

    let diff_id = stage.pack_directory(above).unwrap();
    let directory = Layer::Directory(Arc::new(DirectoryLayer::open(above).unwrap()));
    let plan = LayerPlan::Packed(diff_id.clone());
    let packed = stage.store.layers().open_all(&[plan]).unwrap().remove(0);
    let expected = seen_over(below, directory);
    assert!(expected.contains_key(&b"f/kept"[..]) && !expected.contains_key(&b"f/old"[..]));
    assert_eq!(seen_over(below, packed), expected);

    assert_eq!(stage.pack_directory(above).unwrap(), diff_id, "again");
    let record = stage.snapshots.stat(&diff_id.to_string()).unwrap();
    assert_eq!((record.parent, record.layer), (None, Some(diff_id.clone())));
    gc::collect(&stage.store).unwrap();
    assert!(stage.store.layers().list().unwrap().contains(&diff_id));
}

#[test]
fn what_goes_on_elsewhere_cannot_be_packed() {
    if !is_root() {
        return;
    }
    let stage = Stage::new(|_| ());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fill(path, &["moved/file"]);
    set_xattr(&path.join("moved"), "trusted.overlay.redirect", b"/old");
    let error = stage.pack_directory(path).unwrap_err();
    assert!(
        matches!(&error, DiffError::Redirected(path) if path == "moved"),
        "{error}"
    );
    fs::remove_dir_all(path.join("moved")).unwrap();
    fill(path, &["meta"]);
    set_xattr(&path.join("meta"), "trusted.overlay.metacopy", b"");
    let error = stage.pack_directory(path).unwrap_err();
    assert!(
        matches!(&error, DiffError::Read { path, .. } if path == "meta"),
        "{error}"
    );
    assert!(stage.store.layers().list().unwrap().is_empty());
}

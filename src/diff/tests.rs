//! Layers that are written, packed and shown again, and lists of changes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mica_fuse::{Ino, Timestamp};
use rustix::fs::{CWD, FileType as RealType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use super::*;
use crate::gc;
use crate::meta::{Labels, Namespace};
use crate::snapshots::SnapshotError;

mod compared;
mod directory;
mod entries;
mod written;

/// A store with a committed snapshot `base` and an active one `key` on it.
struct Stage {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
    snapshots: Snapshots,
}

/// A kernel overlayfs on an active snapshot.
struct Overlay(PathBuf);

/// What a view shows of a path.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    rdev: u32,
    /// `None` for the root.
    mtime: Option<Timestamp>,
    bytes: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first path of the same inode.
    same_as: Vec<u8>,
}

impl Stage {
    fn new(base: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("store")).unwrap());
        let stage = Self {
            snapshots: Snapshots::new(&store, Namespace::default()),
            store,
            _dir: dir,
        };
        base(&stage.prepare("preparing", None));
        stage.commit("base", "preparing");
        stage.prepare("key", Some("base"));
        stage
    }

    /// Makes an active snapshot; returns its upper.
    fn prepare(&self, key: &str, parent: Option<&str>) -> PathBuf {
        let mounts = self.snapshots.prepare(key, parent, Labels::new()).unwrap();
        mounts.upper.unwrap().fs
    }

    fn commit(&self, name: &str, key: &str) {
        self.snapshots.commit(name, key, Labels::new()).unwrap();
    }

    fn upper(&self) -> PathBuf {
        self.snapshots.mounts("key").unwrap().upper.unwrap().fs
    }

    /// Changes the active snapshot through the kernel.
    fn change(&self, change: impl FnOnce(&Path)) {
        let overlay = Overlay::mount(&self.snapshots.mounts("key").unwrap());
        change(&overlay.0);
    }

    fn difference(&self, name: &str) -> Difference {
        Difference::of_snapshot(&self.store, &self.snapshots, name).unwrap()
    }

    fn layer(&self, name: &str) -> Vec<u8> {
        self.difference(name).write_layer(Vec::new(), None).unwrap()
    }

    fn changes(&self, name: &str) -> Vec<String> {
        lines(&self.difference(name))
    }

    fn between(&self, before: &str, after: &str) -> Vec<String> {
        let [before, after] = [before, after].map(|name| self.snapshots.show(name).unwrap());
        lines(&Difference::between(&self.store, &self.snapshots, &before, &after).unwrap())
    }

    fn pack(&self, name: &str) -> Result<DiffId, DiffError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(pack(&self.store, &self.snapshots, name))
    }

    fn seen(&self, name: &str) -> BTreeMap<Vec<u8>, Seen> {
        let tree = self.snapshots.show(name).unwrap();
        seen(&view(&self.store, &tree).unwrap().unwrap())
    }
}

impl Overlay {
    fn mount(mounts: &SnapshotMounts) -> Self {
        let upper = mounts.upper.as_ref().unwrap();
        let point = upper.fs.with_file_name("point");
        fs::create_dir(&point).unwrap();
        let lowers = mounts.layers.iter().map(|layer| match layer {
            LayerPlan::Directory(path) => path.to_str().unwrap(),
            LayerPlan::Packed(_) => panic!("no directory"),
        });
        let lowers: Vec<&str> = lowers.collect();
        let options = format!(
            "redirect_dir=on,metacopy=on,lowerdir={},upperdir={},workdir={}",
            lowers.join(":"),
            upper.fs.display(),
            upper.work.display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "-o", &options, "overlay"]);
        assert!(mount.arg(&point).status().unwrap().success());
        Self(point)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let umount = Command::new("umount").arg(&self.0).status();
        assert!(umount.unwrap().success());
        fs::remove_dir(&self.0).unwrap();
    }
}

fn lines(difference: &Difference) -> Vec<String> {
    let line = |change: &Change| {
        let kind = format!("{:?}", change.kind);
        format!("{} {}", &kind[..1], change.path.display())
    };
    difference.changes().unwrap().iter().map(line).collect()
}

/// Walks a view as one without a parent, where all is new.
fn seen(view: &View) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    let mut first: HashMap<Ino, Vec<u8>> = HashMap::new();
    walk::walk(None, view, Relation::None, |visit| {
        let entry = visit.entry.unwrap();
        let attr = entry.attr;
        let bytes = match tree::file_type(&attr) {
            mica_fuse::FileType::Regular => {
                let mut bytes = Vec::new();
                let mut reader = view.reader(entry.node).unwrap();
                std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, attr.size);
                bytes
            }
            mica_fuse::FileType::Symlink => tree::link_target(view, entry.node).unwrap(),
            _ => Vec::new(),
        };
        let path = visit.path.to_vec();
        let seen = Seen {
            mode: attr.mode,
            owner: (attr.uid, attr.gid),
            rdev: attr.rdev,
            mtime: (!path.is_empty()).then_some(attr.mtime),
            bytes,
            xattrs: tree::xattrs(view, entry.node).unwrap(),
            same_as: first
                .entry(attr.ino)
                .or_insert_with(|| path.clone())
                .clone(),
        };
        all.insert(path, seen);
        Ok(())
    })
    .unwrap();
    all
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: not root");
    }
    is_root
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn set_mtime(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Makes files, and the directories on the way.
fn fill(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("contents of {file}")).unwrap();
    }
}

fn odd_names() -> Vec<OsString> {
    vec![
        OsString::from_vec(b"not \xff utf-8\n".to_vec()),
        OsString::from("n".repeat(255)),
        OsString::from("ä".repeat(60)),
        OsString::from(" = spaces and 100 bytes".repeat(4)),
    ]
}

fn base(root: &Path) {
    fill(
        root,
        &[
            "kept/file",
            "removed/file",
            "replaced/old",
            "replaced/sub/old",
            "renamed/deep/file",
            "renamed/linked",
            "edited",
            "mode",
            "gone",
            "becomes a directory",
            "becomes a link/file",
            "owner/file",
            "socket",
            "appended",
        ],
    );
    fs::hard_link(root.join("renamed/linked"), root.join("renamed/again")).unwrap();
    fs::write(root.join("large"), vec![7; 3 << 20]).unwrap();
    set_mtime(&root.join("edited"), 1_000_000_000, 5);
}

fn change(root: &Path) {
    let at = |path: &str| root.join(path);
    fs::remove_dir_all(at("removed")).unwrap();
    fs::remove_file(at("gone")).unwrap();
    fs::remove_dir_all(at("replaced")).unwrap();
    fill(root, &["replaced/new", "replaced/sub/new"]);
    fs::rename(at("renamed"), at("moved")).unwrap();
    fs::write(at("edited"), "CONTENTS of edited").unwrap();
    set_mtime(&at("edited"), 1_000_000_000, 5);
    fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(at("large"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(at("becomes a directory")).unwrap();
    fill(root, &["becomes a directory/file", "kept/new"]);
    fs::remove_dir_all(at("becomes a link")).unwrap();
    symlink("../some/where\u{e4}", at("becomes a link")).unwrap();
    symlink("t".repeat(300), at("kept/long link")).unwrap();
    fs::hard_link(at("kept/long link"), at("kept/long link too")).unwrap();
    chown(at("owner"), Some(3_000_000), Some(7)).unwrap();
    lchown(at("becomes a link"), Some(5), Some(u32::MAX - 1)).unwrap();
    fs::remove_file(at("socket")).unwrap();
    drop(UnixListener::bind(at("kept/another socket")).unwrap());
    for (name, kind, device) in [
        ("pipe", RealType::Fifo, 0),
        ("char", RealType::CharacterDevice, makedev(4000, 70_000)),
        ("block", RealType::BlockDevice, makedev(8, 1)),
    ] {
        let mode = Mode::from_raw_mode(0o640);
        mknodat(CWD, at("kept").join(name), kind, mode, device).unwrap();
    }
    for (index, name) in odd_names().iter().enumerate() {
        let directory = at("odd").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), name.as_bytes()).unwrap();
        fs::hard_link(directory.join(name), at(&format!("odd/link {index}"))).unwrap();
    }
    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"end", 1 << 20).unwrap();
    set_xattr(&at("sparse"), "user.k", b"v\0=\n\xff");
    set_xattr(&at("sparse"), "trusted.k", b"");
    set_xattr(&at("kept"), "user.directory", &[7; 300]);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    set_xattr(&at("kept/new"), "security.capability", capability);
    // Too large for the field of a header.
    set_mtime(&at("kept"), 9_000_000_000, 123_000_000);
}

#[test]
fn a_packed_snapshot_shows_what_its_directory_has_shown() {
    if !is_root() {
        return;
    }
    let stage = Stage::new(base);
    stage.change(change);
    let layer = stage.layer("key");
    let changes = stage.changes("key");
    assert!(layer == stage.layer("key"), "the same bytes again");
    stage.commit("name", "key");
    let mut before = stage.seen("name");
    before.remove(&b"kept/another socket"[..]).unwrap();
    let directory = stage.snapshots.stat("name").unwrap().id;

    let diff_id = stage.pack("name").unwrap();
    assert_eq!(diff_id, DiffId(crate::oci::Digest::sha256(&layer)));
    let record = stage.snapshots.stat("name").unwrap();
    assert_eq!((&record.layer, record.id), (&Some(diff_id.clone()), None));
    assert_eq!(stage.pack("name").unwrap(), diff_id, "packed already");
    assert!(directory.is_some());
    let root = Labels::from([(crate::labels::ROOT.to_owned(), "now".to_owned())]);
    stage.snapshots.update("name", &root, &[]).unwrap();
    assert_eq!(
        gc::collect(&stage.store).unwrap().snapshots,
        1,
        "the directory"
    );
    assert_eq!(gc::collect(&stage.store).unwrap().layers, 0);

    let after = stage.seen("name");
    for (path, seen) in &before {
        assert_eq!(after.get(path), Some(seen), "{}", path.escape_ascii());
    }
    assert_eq!(before.len(), after.len());
    assert_eq!(seen_sizes(&after), seen_sizes(&before));
    let of_socket = |line: &String| line.contains("another socket");
    let changes: Vec<String> = changes
        .into_iter()
        .filter(|line| !of_socket(line))
        .collect();
    assert_eq!(stage.changes("name"), changes);
}

fn seen_sizes(seen: &BTreeMap<Vec<u8>, Seen>) -> usize {
    seen.values().map(|seen| seen.bytes.len()).sum()
}

/// Why, what is made of the upper, the entries of its layer, and the changes.
type Case = (
    &'static str,
    fn(&Path),
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn attributes_of_an_overlayfs_in_the_tree_are_kept_and_ours_are_not() {
    if !is_root() {
        return;
    }
    let stage = Stage::new(|root| fill(root, &["directory/file"]));
    let directory = stage.upper().join("directory");
    fs::create_dir(&directory).unwrap();
    set_xattr(&directory, "trusted.overlay.origin", b"ours");
    set_xattr(&directory, "trusted.overlay.overlay.opaque", b"y");
    let names = entries::list(&stage.layer("key")).remove(0).xattrs;
    assert_eq!(names, [b"trusted.overlay.overlay.opaque"]);
    stage.commit("name", "key");
    stage.pack("name").unwrap();
    let seen = stage.seen("name");
    let expected = (b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    assert_eq!(seen[&b"directory"[..]].xattrs, [expected]);
    assert!(seen.contains_key(&b"directory/file"[..]));
}

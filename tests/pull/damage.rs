//! Layers that change under a mount: an error for what is damaged and a line in the
//! mount's log, while all else is shown as before.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::layout::{Layout, noise, tar_of};
use crate::mounting::{can_mount, names};
use crate::program::Mica;

/// A mounted image of one layer, taken away on drop.
struct Mounted {
    mica: Mica,
    point: TempDir,
    diff_id: String,
    layer: PathBuf,
}

impl Mounted {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let mut layout = Layout::new();
        layout.add_tar(&tar_of(files));
        let manifest = layout.finish();
        let mica = Mica::new();
        mica.ok(["pull", "-q", &layout.source()]);
        let point = tempfile::tempdir().unwrap();
        mica.ok([Path::new("mount"), Path::new(manifest.hex()), point.path()]);
        let diff_id = &layout.diff_ids[0];
        Self {
            layer: mica.root().join("layers/sha256").join(diff_id.hex()),
            mica,
            point,
            diff_id: diff_id.to_string(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.point.path().join(name)
    }

    fn open(&self, name: &str) -> File {
        let file = File::options().write(true).open(self.layer.join(name));
        file.unwrap()
    }

    /// Asserts that the log has one line, with the layer and the path.
    fn assert_logged(&self, path: &str) {
        let mounts = self.mica.json(["mounts"]);
        let log = fs::read_to_string(mounts[0]["log"].as_str().unwrap()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains(&self.diff_id), "{log}");
        assert!(lines[0].contains(path), "{log}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = self.mica.run([Path::new("umount"), self.point.path()]);
        if !std::thread::panicking() {
            assert!(unmounted.status.success());
            let left = fs::read_dir(self.mica.root().join("mounts")).unwrap();
            assert_eq!(left.count(), 0, "record and log go with the mount");
        }
    }
}

#[test]
fn data_that_is_cut_short_is_an_error_of_the_files_behind() {
    if !can_mount() {
        return;
    }
    let (front, back) = (noise(1, 100), noise(2, 100_000));
    let mounted = Mounted::new(&[("front", &front), ("d/back", &back)]);
    assert_eq!(fs::read(mounted.path("front")).unwrap(), front);
    mounted.open("data").set_len(4096).unwrap();
    for _ in 0..2 {
        let error = fs::read(mounted.path("d/back")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
    }
    assert_eq!(fs::read(mounted.path("front")).unwrap(), front);
    assert_eq!(names(mounted.point.path()), ["d", "front"]);
    mounted.assert_logged(": /d/back");
}

#[test]
fn data_that_is_cut_short_or_gone_before_its_first_use_is_an_error() {
    if !can_mount() {
        return;
    }
    for is_gone in [false, true] {
        let mounted = Mounted::new(&[("d/file", &noise(1, 10_000))]);
        mounted.open("data").set_len(4096).unwrap();
        if is_gone {
            fs::remove_file(mounted.layer.join("data")).unwrap();
        }
        let error = fs::read(mounted.path("d/file")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{is_gone}");
        mounted.assert_logged(": /d/file");
    }
}

#[test]
fn an_index_that_is_changed_or_cut_short_under_a_mount_changes_nothing() {
    if !can_mount() {
        return;
    }
    let mounted = Mounted::new(&[("other/file", b"1"), ("d/victim", b"2")]);
    let index = fs::read(mounted.layer.join("index")).unwrap();
    let place = index.windows(6).position(|name| name == b"victim").unwrap();
    let file = mounted.open("index");
    file.write_all_at(b"vic/im", place as u64).unwrap();
    assert_eq!(names(&mounted.path("d")), ["victim"]);
    file.set_len(64).unwrap();
    assert_eq!(names(mounted.point.path()), ["d", "other"]);
    assert_eq!(names(&mounted.path("other")), ["file"]);
    assert_eq!(fs::read(mounted.path("d/victim")).unwrap(), b"2");
}

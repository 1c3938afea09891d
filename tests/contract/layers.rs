//! The cases of what snapshots show: the same changes are made to a plain directory, and have to
//! look the same.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown as own, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::stage::Stage;
use crate::tree::tree;

/// What is done to one layer.
type Change = Box<dyn Fn(&Path)>;

fn change(change: impl Fn(&Path) + 'static) -> Change {
    Box::new(change)
}

fn write(path: &Path, contents: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, contents).unwrap();
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn make(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    set_mode(path, mode);
}

/// Makes each change in a snapshot on the one before and in one directory, and compares them
/// before, after, and in a view of all.
async fn look_the_same(stage: &mut Stage, changes: &[Change]) {
    let flat = stage.flat();
    let mut parent = String::new();
    for (number, change) in changes.iter().enumerate() {
        let key = format!("active {number}");
        let mounts = stage.snapshots.prepare(&key, &parent).await.unwrap();
        let mounted = stage.mount(&mounts);
        assert_eq!(tree(mounted.path()), tree(&flat), "before change {number}");
        change(mounted.path());
        change(&flat);
        assert_eq!(tree(mounted.path()), tree(&flat), "after change {number}");
        drop(mounted);
        parent = format!("layer {number}");
        stage.snapshots.commit(&parent, &key).await.unwrap();
    }
    let mounts = stage.snapshots.view("all", &parent).await.unwrap();
    let mounted = stage.mount(&mounts);
    assert_eq!(tree(mounted.path()), tree(&flat), "of all");
}

pub(crate) async fn layer_file_update(stage: &mut Stage) {
    // What shows only in the contents or the mode: size and times are the same.
    let update = |contents: &'static str, mode| {
        change(move |top| {
            let path = top.join("d/file");
            fs::create_dir_all(top.join("d")).unwrap();
            write(&path, contents, mode);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
            let file = File::options().write(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(time)).unwrap();
        })
    };
    let changes = [
        update("first", 0o644),
        update("other", 0o644),
        update("other", 0o600),
        update("third", 0o600),
        update("third", 0o755),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn remove_directory_in_lower_layer(stage: &mut Stage) {
    let changes = [
        change(|top| {
            make(&top.join("lib"), 0o755);
            write(&top.join("lib/hidden"), "old", 0o644);
        }),
        change(|top| {
            fs::remove_dir_all(top.join("lib")).unwrap();
            make(&top.join("lib"), 0o700);
            write(&top.join("lib/not-hidden"), "new", 0o644);
        }),
        change(|top| write(&top.join("lib/newfile"), "newer", 0o644)),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn chown(stage: &mut Stage) {
    let changes = [
        change(|top| {
            make(&top.join("opt/a/b"), 0o700);
            write(&top.join("opt/a/file"), "contents", 0o4755);
        }),
        change(|top| {
            for name in ["opt", "opt/a", "opt/a/file"] {
                own(top.join(name), Some(1), Some(2)).unwrap();
            }
            set_mode(&top.join("opt/a/file"), 0o4755);
        }),
        change(|top| own(top.join("opt/a/b"), None, Some(3)).unwrap()),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn directory_permission_on_commit(stage: &mut Stage) {
    let changes = [
        change(|top| {
            for name in ["a", "b", "c", "d"] {
                make(&top.join(name), 0o700);
                own(top.join(name), Some(1), Some(1)).unwrap();
                write(&top.join(name).join("file"), name, 0o644);
            }
        }),
        change(|top| {
            own(top.join("a"), Some(2), Some(2)).unwrap();
            fs::remove_dir_all(top.join("b")).unwrap();
            make(&top.join("b"), 0o755);
            own(top.join("b"), Some(2), Some(3)).unwrap();
            fs::remove_dir_all(top.join("c")).unwrap();
            set_mode(&top.join("d"), 0o1777);
        }),
        change(|top| {
            make(&top.join("c"), 0o711);
            own(top.join("c"), Some(3), Some(4)).unwrap();
            write(&top.join("a/new"), "", 0o600);
            write(&top.join("d/new"), "", 0o600);
        }),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn deleted_files_in_child_snapshot(stage: &mut Stage) {
    let changes = [
        change(|top| {
            make(&top.join("d"), 0o755);
            write(&top.join("d/gone"), "", 0o644);
            write(&top.join("gone"), "", 0o644);
            write(&top.join("stays"), "", 0o644);
        }),
        change(|top| {
            fs::remove_file(top.join("gone")).unwrap();
            fs::remove_file(top.join("d/gone")).unwrap();
        }),
        change(|_| {}),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn move_file_from_lower_layer(stage: &mut Stage) {
    let changes = [
        change(|top| {
            make(&top.join("dir1"), 0o700);
            write(&top.join("dir1/f1"), "moved with its directory", 0o644);
            make(&top.join("dir2"), 0o700);
            write(&top.join("dir2/f2"), "linked", 0o644);
        }),
        change(|top| {
            make(&top.join("dir3"), 0o700);
            write(&top.join("dir3/f1"), "moved with its directory", 0o644);
            fs::remove_dir_all(top.join("dir1")).unwrap();
            fs::hard_link(top.join("dir2/f2"), top.join("dir3/f2")).unwrap();
            fs::remove_file(top.join("dir2/f2")).unwrap();
        }),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn root_permission(stage: &mut Stage) {
    let mounts = stage.snapshots.prepare("key", "").await.unwrap();
    let mounted = stage.mount(&mounts);
    let top = fs::metadata(mounted.path()).unwrap();
    assert_eq!(top.mode() & 0o7777, 0o755);
}

pub(crate) async fn rename(stage: &mut Stage) {
    let changes = [
        change(|top| {
            make(&top.join("dir"), 0o755);
            make(&top.join("dir/below"), 0o755);
            write(&top.join("dir/below/file"), "in a directory", 0o644);
            write(&top.join("replaced"), "old", 0o644);
            write(&top.join("file"), "renamed", 0o644);
            symlink("file", top.join("link")).unwrap();
        }),
        change(|top| {
            fs::rename(top.join("dir"), top.join("renamed dir")).unwrap();
            write(&top.join("new"), "new", 0o600);
            fs::rename(top.join("new"), top.join("replaced")).unwrap();
            fs::rename(top.join("file"), top.join("renamed file")).unwrap();
            fs::rename(top.join("link"), top.join("renamed dir/link")).unwrap();
        }),
        change(|top| write(&top.join("renamed dir/below/late"), "", 0o644)),
    ];
    look_the_same(stage, &changes).await;
}

pub(crate) async fn mount_of_128_layers(stage: &mut Stage) {
    let layer = |number: u32| {
        change(move |top| {
            write(&top.join("bottom"), number.to_string(), 0o644);
            write(&top.join(format!("added {number}")), "", 0o644);
            let again = top.join("again");
            if number > 0 {
                fs::remove_dir_all(&again).unwrap();
            }
            make(&again, 0o755);
            write(&again.join(format!("file {number}")), "", 0o644);
        })
    };
    let changes: Vec<Change> = (0..128).map(layer).collect();
    look_the_same(stage, &changes).await;
}

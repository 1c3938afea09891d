//! An upper whose owners, modes and types are in attributes (rule 17).

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mica_fuse::{
    ActiveView, Attr, Caller, DirectoryLayer, FileType, Layer, NodeId, Operation, Ownership, Reply,
    Request, SetAttr, Upper, UpperOptions, View, ViewOptions, XattrSpace,
};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::walked::find;

/// What links lead to.
const TARGET: &[u8] = b"../file";

const CONTAINERS: &str = "user.containers.override_stat";
/// The number of `/dev/null`.
const NULL: u32 = 1 << 8 | 3;

/// Owner, group, mode and device number.
type Shown = (u32, u32, u32, u32);

/// A lower whose files belong to several users, and an upper.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["lower/d", "upper", "work"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let stage = Self { dir };
        let target = std::str::from_utf8(TARGET).unwrap();
        std::os::unix::fs::symlink(target, stage.path("lower/below")).unwrap();
        for (name, value) in [("", "1:2:0711"), ("d", "3:4:2755"), ("d/f", "5:6:4711")] {
            let path = stage.path("lower").join(name);
            if name == "d/f" {
                fs::write(&path, "contents").unwrap();
            }
            rustix::fs::setxattr(
                &path,
                CONTAINERS,
                value.as_bytes(),
                rustix::fs::XattrFlags::empty(),
            )
            .unwrap();
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn layer(&self, name: &str) -> Layer {
        Layer::Directory(Arc::new(DirectoryLayer::open(&self.path(name)).unwrap()))
    }

    fn open(&self) -> ActiveView {
        let options = UpperOptions {
            xattrs: XattrSpace::User,
            ownership: Ownership::Containers,
            volatile: true,
            links_are_files: true,
            ..UpperOptions::default()
        };
        let upper = Upper::open(&self.path("upper"), &self.path("work"), options).unwrap();
        ActiveView::open(vec![self.layer("lower")], upper, ViewOptions::default()).unwrap()
    }

    /// Asserts that an inode of the upper is this process's, a file or a directory, and
    /// no privilege of anybody.
    fn is_plain(&self, name: &str) {
        let metadata = fs::symlink_metadata(self.path("upper").join(name)).unwrap();
        assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
        assert_eq!(metadata.mode() & 0o7000, 0, "{name}");
        assert_eq!(metadata.mode() & 0o600, 0o600, "{name}");
        assert!(
            metadata.is_file() || metadata.is_dir(),
            "{name}: a device {}",
            metadata.file_type().is_char_device()
        );
    }
}

fn ask<'v>(view: &'v ActiveView, node: NodeId, operation: Operation<'_>) -> Reply<'v> {
    try_ask(view, node, operation).unwrap()
}

fn try_ask<'v>(
    view: &'v ActiveView,
    node: NodeId,
    operation: Operation<'_>,
) -> mica_fuse::Result<Reply<'v>> {
    let caller = Caller {
        uid: 1000,
        gid: 100,
        pid: 0,
    };
    view.answer(&Request {
        node,
        caller,
        operation,
    })
}

fn node(view: &ActiveView, path: &str) -> (NodeId, Attr) {
    let Reply::Attr(root) = ask(view, NodeId::ROOT, Operation::GetAttr) else {
        panic!("no attributes");
    };
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold((NodeId::ROOT, root), |(directory, _), name| {
        let name = name.as_bytes();
        match ask(view, directory, Operation::Lookup { name }) {
            Reply::Entry(entry) => (entry.node, entry.attr),
            other => panic!("{path}: {other:?}"),
        }
    })
}

fn set(view: &ActiveView, path: &str, set: SetAttr) -> Attr {
    match ask(view, node(view, path).0, Operation::SetAttr(set)) {
        Reply::Attr(attr) => attr,
        other => panic!("{other:?}"),
    }
}

fn chown(view: &ActiveView, path: &str, uid: u32, gid: u32) {
    let (uid, gid) = (Some(uid), Some(gid));
    let owner = SetAttr {
        uid,
        gid,
        ..SetAttr::default()
    };
    set(view, path, owner);
}

fn chmod(view: &ActiveView, path: &str, mode: u32) {
    let mode = Some(mode);
    let mode = SetAttr {
        mode,
        ..SetAttr::default()
    };
    set(view, path, mode);
}

fn shown(attr: Attr) -> Shown {
    (attr.uid, attr.gid, attr.mode, attr.rdev)
}

/// Makes something of every type, and returns what is to be shown.
fn change(view: &ActiveView) -> Vec<(&'static str, Shown)> {
    let make = |directory: &str, operation| {
        let reply = ask(view, node(view, directory).0, operation);
        assert!(matches!(reply, Reply::Entry(_) | Reply::Created(..)));
    };
    let special = |name: &'static [u8], file_type: FileType, rdev| Operation::MkNod {
        name,
        mode: file_type.mode_bits() | 0o666,
        rdev,
        umask: 0o022,
    };
    make("", special(b"null", FileType::CharDevice, NULL));
    make("", special(b"pipe", FileType::Fifo, 0));
    make("", special(b"file", FileType::Regular, 0));
    for name in [&b"link"[..], b"given"] {
        make(
            "d",
            Operation::Symlink {
                name,
                target: TARGET,
            },
        );
    }
    let (mode, umask) = (0o700, 0o022);
    let name = b"inner";
    make("d", Operation::MkDir { name, mode, umask });
    let name = b"own";
    let flags = libc::O_RDWR.cast_unsigned();
    make(
        "d/inner",
        Operation::Create {
            name,
            flags,
            mode: 0o4400,
            umask,
        },
    );
    chmod(view, "file", 0o6751);
    chown(view, "file", 5, 7);
    chown(view, "d/given", 33, 42);
    chown(view, "below", 34, 43);
    chmod(view, "null", 0o600);
    chmod(view, "d/f", 0o4750);
    let device = FileType::CharDevice.mode_bits();
    let directory = FileType::Directory.mode_bits();
    let pipe = FileType::Fifo.mode_bits();
    let link = FileType::Symlink.mode_bits() | 0o777;
    let regular = FileType::Regular.mode_bits();
    vec![
        ("", (1, 2, directory | 0o711, 0)),
        ("null", (1000, 100, device | 0o600, NULL)),
        ("pipe", (1000, 100, pipe | 0o644, 0)),
        ("d/link", (1000, 4, link, 0)),
        ("d/given", (33, 42, link, 0)),
        ("below", (34, 43, link, 0)),
        // chown takes the set-id bits away.
        ("file", (5, 7, regular | 0o751, 0)),
        ("d", (3, 4, directory | 0o2755, 0)),
        ("d/inner", (1000, 4, directory | 0o2700, 0)),
        ("d/inner/own", (1000, 4, regular | 0o4400, 0)),
        ("d/f", (5, 6, regular | 0o4750, 0)),
    ]
}

#[test]
fn rule_17_an_upper_keeps_owners_modes_and_types_in_attributes() {
    let stage = Stage::new();
    let view = stage.open();
    let expected = change(&view);
    let check = |view: &ActiveView, when: &str| {
        for (path, attr) in &expected {
            let (node, found) = node(view, path);
            assert_eq!(shown(found), *attr, "{path} {when}");
            if FileType::of_mode(attr.2) == Some(FileType::Symlink) {
                let target = ask(view, node, Operation::ReadLink);
                assert!(
                    matches!(target, Reply::Bytes(bytes) if *bytes == *TARGET),
                    "{path} {when}"
                );
                assert_eq!(found.size, TARGET.len() as u64, "{path} {when}");
            }
        }
    };
    check(&view, "at once");
    drop(view);
    let view = stage.open();
    check(&view, "after another mount");
    drop(view);
    for (path, _) in expected.iter().filter(|(path, _)| !path.is_empty()) {
        stage.is_plain(path);
    }

    // And as a layer.
    let layers = vec![stage.layer("upper"), stage.layer("lower")];
    let view = View::open(layers, ViewOptions::default()).unwrap();
    for (path, attr) in expected.iter().filter(|(path, _)| !path.is_empty()) {
        let entry = find(&view, path).unwrap();
        assert_eq!(shown(entry.attr), *attr, "{path} in a layer");
    }
}

#[test]
fn rule_17_the_attribute_itself_is_out_of_reach() {
    let stage = Stage::new();
    let view = stage.open();
    chown(&view, "d/f", 7, 8);
    let (file, _) = node(&view, "d/f");
    let name = CONTAINERS.as_bytes();
    let set = Operation::SetXattr {
        name,
        value: b"0:0:4755",
        flags: 0,
        kill_sgid: false,
    };
    let refused = |operation| try_ask(&view, file, operation).unwrap_err().errno();
    assert_eq!(refused(set), Errno::PERM);
    assert_eq!(refused(Operation::RemoveXattr { name }), Errno::PERM);
    let size = 0;
    assert_eq!(refused(Operation::GetXattr { name, size }), Errno::NODATA);
    let listed = ask(&view, file, Operation::ListXattr { size: 99 });
    assert!(matches!(listed, Reply::Bytes(names) if names.is_empty()));
}

#[test]
fn rule_17_a_write_takes_privileges_away() {
    let stage = Stage::new();
    let view = stage.open();
    let (file, _) = node(&view, "d/f");
    let (name, value) = (&b"security.capability"[..], &b"any"[..]);
    let set = Operation::SetXattr {
        name,
        value,
        flags: 0,
        kill_sgid: false,
    };
    assert!(matches!(ask(&view, file, set), Reply::Done));
    let get = Operation::GetXattr { name, size: 9 };
    assert!(matches!(ask(&view, file, get), Reply::Bytes(bytes) if *bytes == *value));
    let write = Operation::Write {
        offset: 0,
        data: b"C",
        kill_privileges: true,
    };
    assert!(matches!(ask(&view, file, write), Reply::Written(1)));
    assert_eq!(
        try_ask(&view, file, get).unwrap_err().errno(),
        Errno::NODATA
    );
    assert_eq!(node(&view, "d/f").1.mode & 0o7777, 0o711);
}

#[test]
fn rule_17_inodes_without_the_attribute_are_shown_as_they_are() {
    let stage = Stage::new();
    let path: &Path = &stage.path("upper/plain");
    fs::write(path, "").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
    let view = stage.open();
    let attr = node(&view, "plain").1;
    assert_eq!(attr.mode & 0o7777, 0o640);
    assert_eq!(attr.uid, rustix::process::geteuid().as_raw());
    chmod(&view, "plain", 0o4000);
    let changed = node(&view, "plain").1;
    assert_eq!((changed.mode & 0o7777, changed.uid), (0o4000, attr.uid));
    stage.is_plain("plain");
}

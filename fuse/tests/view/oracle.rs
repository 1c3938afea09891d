//! The kernel's overlayfs as the oracle: the same stack through both. Needs root.
//!
//! The mounts are never attached anywhere: they go away with their descriptors.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::on_disk::Stack;
use crate::on_disk::Step::{
    self, Device, Directory, Fifo, File, HardLink, Symlink, Whiteout, Xattr,
};
use crate::walked::{walk_kernel, walk_view};

const OPAQUE: &str = "trusted.overlay.opaque";

/// Mounts a stack with overlayfs, read-only unless there is an upper.
pub(crate) fn overlay(stack: &Stack, options: &[(&str, &str)]) -> OwnedFd {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for layer in stack.layers() {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", layer).unwrap();
    }
    for (option, value) in options {
        rustix::mount::fsconfig_set_string(&context, *option, *value).unwrap();
    }
    rustix::mount::fsconfig_create(&context).unwrap();
    let attributes = if options.iter().any(|(option, _)| *option == "upperdir") {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap()
}

pub(crate) fn path_of(mount: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()))
}

pub(crate) fn assert_same(why: &str, stack: &Stack, options: &[(&str, &str)]) {
    let mount = overlay(stack, options);
    let (kernel, view) = (walk_kernel(&path_of(&mount)), walk_view(&stack.view()));
    let paths = |tree: &crate::walked::Walked| {
        tree.keys()
            .map(|path| path.escape_ascii().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(&view), paths(&kernel), "{why}");
    for (path, seen) in &kernel {
        assert_eq!(view.get(path), Some(seen), "{why}: {}", path.escape_ascii());
    }
}

/// Why, and the steps of each layer, uppermost first.
type Case = (&'static str, &'static [&'static [Step]]);

const CASES: &[Case] = &[
    (
        "rule 1: nothing but names",
        &[&[File("a", "upper")], &[File("a", "lower"), File("b", "")]],
    ),
    (
        "all types",
        &[
            &[
                Device("null", 1, 3),
                Fifo("fifo"),
                Symlink("link", "nowhere/at/all"),
                Directory("d", 0o1777),
            ],
            &[Device("big", 259, 70_000)],
        ],
    ),
    (
        "trap 5: hard links keep their count when one name is hidden",
        &[
            &[Whiteout("c")],
            &[
                File("a", "x"),
                HardLink("b", "a"),
                HardLink("c", "a"),
                HardLink("d/e", "a"),
            ],
        ],
    ),
    (
        "trap 19: a directory with nothing but whiteouts is empty",
        &[
            &[Whiteout("d/a"), Whiteout("d/b")],
            &[File("d/a", ""), File("d/b", "")],
        ],
    ),
    (
        "trap 22: an opaque directory is empty, and cuts the whole subtree",
        &[
            &[File("d/e/new", "")],
            &[Directory("d/e", 0o755), Xattr("d", OPAQUE, "y")],
            &[File("d/old", ""), File("d/e/old", ""), File("d/f/old", "")],
        ],
    ),
    (
        "trap 22: a whiteout between two directories cuts",
        &[
            &[File("d/e/new", "")],
            &[Whiteout("d")],
            &[File("d/old", ""), File("d/e/old", "")],
        ],
    ),
    (
        "trap 22: opaque in the middle of three",
        &[
            &[File("d/a", "1")],
            &[File("d/b", "2"), Xattr("d", OPAQUE, "y")],
            &[File("d/c", "3")],
        ],
    ),
    (
        "trap 23: a file cuts, and so does a link",
        &[
            &[File("d/a", ""), File("e", "file"), Directory("f", 0o700)],
            &[File("d", "file"), File("e/x", ""), Symlink("f", "e")],
            &[File("d/b", ""), File("e/y", ""), File("f/z", "")],
        ],
    ),
    (
        "trap 24: whiteouts by attribute, in a directory that may hold them",
        &[
            &[
                Directory("d", 0o755),
                Xattr("d", OPAQUE, "x"),
                File("d/gone", ""),
                Xattr("d/gone", "trusted.overlay.whiteout", "y"),
                File("d/empty", ""),
            ],
            &[
                File("d/gone", "old"),
                File("d/empty", "old"),
                File("d/kept", "old"),
            ],
        ],
    ),
    (
        "trap 25: whiteouts of nothing",
        &[&[Whiteout("a"), Whiteout("d/b")], &[Device("zero", 1, 5)]],
    ),
    (
        "trap 26: whiteouts in an opaque directory",
        &[
            &[Whiteout("d/a"), File("d/b", ""), Xattr("d", OPAQUE, "y")],
            &[File("d/a", ""), File("d/c", "")],
        ],
    ),
    (
        "trap 27: opaque and nothing below",
        &[
            &[File("d/a", ""), Xattr("d", OPAQUE, "y")],
            &[File("e", "")],
        ],
    ),
    (
        "trap 29: the same name in many layers is many files",
        &[
            &[File("d/a", "1")],
            &[File("d/b", "1")],
            &[File("d/a", "2"), File("d/c", "2")],
        ],
    ),
    (
        "rule 10: attributes",
        &[
            &[
                File("a", ""),
                Xattr("a", "user.a", "1"),
                Xattr("a", "trusted.overlayfoo", "2"),
                Xattr("a", "trusted.overlay.origin", "hidden"),
                Xattr("a", "trusted.overlay.overlay.opaque", "nested"),
                Directory("d", 0o755),
                Xattr("d", "user.d", "3"),
                Symlink("l", "a"),
                Xattr("l", "trusted.l", "4"),
                Fifo("f"),
                Xattr("f", "trusted.f", "5"),
            ],
            &[Directory("d", 0o700), Xattr("d", "user.lower", "6")],
        ],
    ),
];

#[test]
fn stacks_look_as_through_overlayfs() {
    for (why, layers) in CASES {
        assert_same(why, &Stack::of(layers), &[]);
    }
}

#[test]
fn names_of_all_lengths_and_bytes() {
    let mut stack = Stack::of(&[&[], &[]]);
    let longest = "n".repeat(255);
    for (layer, names) in [
        (0, vec!["a\n", "\\", " "]),
        (1, vec![longest.as_str(), "é", "a\n"]),
    ] {
        for name in names {
            std::fs::write(stack.layers()[layer].join(name), name).unwrap();
        }
    }
    let bytes = std::ffi::OsStr::from_bytes(b"\xff\xfe.wh.");
    std::fs::write(stack.add().join(bytes), "not UTF-8").unwrap();
    assert_same("trap 28", &stack, &[]);
}

#[test]
fn a_deep_stack_and_a_large_directory() {
    let mut stack = Stack::new();
    for layer in 0..200 {
        let path = stack.add().join("d/e");
        std::fs::create_dir_all(&path).unwrap();
        for file in 0..50 {
            std::fs::write(
                path.join(format!("{}", (layer * 37 + file * 101) % 2000)),
                layer.to_string(),
            )
            .unwrap();
        }
    }
    assert_same("traps 31, 32", &stack, &[]);
}

#[test]
fn paths_longer_than_path_max() {
    let mut stack = Stack::new();
    stack.add();
    let layer = stack.add();
    let name = "long".repeat(60);
    let mut directory = std::fs::File::open(&layer).unwrap();
    for _ in 0..20 {
        let mode = rustix::fs::Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&directory, name.as_str(), mode).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        directory = rustix::fs::openat(&directory, name.as_str(), flags, rustix::fs::Mode::empty())
            .unwrap()
            .into();
    }
    let view = stack.view();
    let walked = walk_view(&view);
    assert_eq!(walked.len(), 21);
}

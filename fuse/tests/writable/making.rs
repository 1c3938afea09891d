//! New inodes: whose they are, and what they may.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, linkat, openat};

use crate::bed::{Bed, xattr};
use crate::copying::as_nobody;

/// Trap 33.
#[test]
fn a_file_without_a_name_can_be_written_and_then_named() {
    let mut bed = Bed::new(|lower| fs::create_dir(lower.join("dir")).unwrap());
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, bed.path("dir"), flags, Mode::from_raw_mode(0o640)).unwrap();
    let file = File::from(file);
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all_at(b"contents", 0).unwrap();
    assert_eq!(bed.names("dir"), [""; 0]);
    let proc = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(
        CWD,
        proc,
        CWD,
        bed.path("dir/named"),
        AtFlags::SYMLINK_FOLLOW,
    )
    .unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 1);
    drop(file);
    bed.remount();
    assert_eq!(bed.read("dir/named"), b"contents");
    assert_eq!(bed.half_made(), [""; 0]);
}

/// An access list: each entry a tag, permissions and an ID.
fn access_list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

/// Makes a file, a directory and a pipe in a directory, with that umask.
fn make_with_umask(bed: &Bed, directory: &str, umask: &str) {
    let script = format!("umask {umask}; cd \"$1\" && : >file && mkdir dir && mkfifo pipe");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh"])
        .arg(bed.shared_path(directory));
    assert!(command.status().unwrap().success());
}

/// Trap 39.
#[test]
fn the_umask_is_that_of_the_caller() {
    let bed = Bed::new(|lower| fs::create_dir(lower.join("in")).unwrap());
    make_with_umask(&bed, "in", "027");
    let modes = ["in/file", "in/dir", "in/pipe"].map(|name| bed.stat(name).mode() & 0o7777);
    assert_eq!(modes, [0o640, 0o750, 0o640]);
}

/// Traps 37 and 39.
#[test]
fn a_default_access_list_is_inherited_and_goes_before_the_umask() {
    const ANY: u32 = u32::MAX;
    let list = access_list(&[
        (1, 7, ANY),
        (2, 6, 5),
        (4, 5, ANY),
        (0x10, 7, ANY),
        (0x20, 4, ANY),
    ]);
    let bed = Bed::new(|lower| {
        fs::create_dir(lower.join("in")).unwrap();
        let name = "system.posix_acl_default";
        rustix::fs::lsetxattr(lower.join("in"), name, &list, XattrFlags::empty()).unwrap();
    });
    make_with_umask(&bed, "in", "077");
    let modes = ["in/file", "in/dir", "in/pipe"].map(|name| bed.stat(name).mode() & 0o777);
    assert_eq!(modes, [0o664, 0o774, 0o664]);
    let inherited = xattr(&bed.path("in/dir"), "system.posix_acl_default");
    assert_eq!(inherited.unwrap(), list);
    let access = xattr(&bed.path("in/file"), "system.posix_acl_access").unwrap();
    let masked = [
        (1, 6, ANY),
        (2, 6, 5),
        (4, 5, ANY),
        (0x10, 6, ANY),
        (0x20, 4, ANY),
    ];
    assert_eq!(access, access_list(&masked));
}

fn set_group_directory(lower: &Path) {
    let directory = lower.join("in");
    fs::create_dir(&directory).unwrap();
    for name in ["file", "dir"] {
        fs::write(directory.join(name), "").unwrap();
    }
    chown(&directory, Some(0), Some(77)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o2777)).unwrap();
}

/// Trap 38.
#[test]
fn what_is_made_over_a_whiteout_is_the_callers_and_takes_the_group_of_the_directory() {
    let bed = Bed::new(set_group_directory);
    for name in ["in/file", "in/dir"] {
        fs::remove_file(bed.path(name)).unwrap();
    }
    assert!(as_nobody(
        "cd \"$1\" && : >file && mkdir dir",
        &bed.shared_path("in")
    ));
    for (name, group_bit) in [("in/file", 0), ("in/dir", 0o2000)] {
        let shown = bed.stat(name);
        assert_eq!((shown.uid(), shown.gid()), (65534, 77), "{name}");
        assert_eq!(shown.mode() & 0o2000, group_bit, "{name}");
    }
}

/// Trap 25.
#[test]
fn nobody_can_make_a_whiteout_that_would_hide_itself() {
    use rustix::fs::{FileType, mknodat};
    let bed = Bed::new(|_| ());
    let made = mknodat(CWD, bed.path("x"), FileType::CharacterDevice, Mode::RUSR, 0);
    assert!(made.is_err());
    assert_eq!(bed.names("."), [""; 0]);
}

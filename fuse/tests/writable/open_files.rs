//! Files that are open while their names go or their inodes are copied up.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown};

use rustix::fs::{FallocateFlags, FlockOperation, XattrFlags, fallocate, flock, fsetxattr};

use crate::bed::{Bed, drop_caches, errno, open_to_write};

/// Does everything to a file that has no name any more.
fn use_unnamed(file: &File, why: &str) {
    assert_eq!(file.metadata().unwrap().nlink(), 0, "{why}");
    drop_caches();
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"old", "{why}");
    file.write_all_at(b"new and longer", 0).unwrap();
    file.set_len(5).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    fchown(file, Some(3), Some(4)).unwrap();
    fsetxattr(file, "user.x", b"y", XattrFlags::empty()).unwrap();
    fallocate(file, FallocateFlags::empty(), 0, 8192).unwrap();
    let shown = file.metadata().unwrap();
    assert_eq!(
        (shown.len(), shown.uid(), shown.gid(), shown.nlink()),
        (8192, 3, 4, 0),
        "{why}"
    );
    let again = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    assert_eq!(&again[..6], b"new a\0", "{why}");
}

/// Trap 6.
#[test]
fn a_file_without_a_name_is_used_like_any_other() {
    let bed = Bed::new(|lower| {
        for name in ["lower", "changed", "written"] {
            fs::write(lower.join(name), "old").unwrap();
        }
    });
    fs::write(bed.path("upper"), "old").unwrap();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(bed.path("changed"), mode).unwrap();
    fs::write(bed.path("written"), "old").unwrap();
    for name in ["lower", "changed", "written", "upper"] {
        let both = File::options().read(true).write(true).open(bed.path(name));
        let both = both.unwrap();
        fs::remove_file(bed.path(name)).unwrap();
        use_unnamed(&both, name);
    }
    assert_eq!(bed.names("."), [""; 0]);
    assert_eq!(bed.half_made(), [""; 0]);
}

/// Trap 6: one that nobody had opened for writing is copied up without a name.
#[test]
fn a_lower_file_without_a_name_is_opened_again_to_be_written() {
    let bed = Bed::new(|lower| fs::write(lower.join("file"), "old").unwrap());
    let file = File::open(bed.path("file")).unwrap();
    fs::remove_file(bed.path("file")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    let again = open_to_write(format!("/proc/self/fd/{}", file.as_raw_fd()).as_ref());
    again.write_all_at(b"N", 0).unwrap();
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"Nld");
    assert_eq!(fs::read(bed.lower("file")).unwrap(), b"old");
    assert_eq!(bed.names("."), [""; 0]);
}

/// Trap 46.
#[test]
fn a_lock_holds_when_the_file_is_copied_up() {
    let bed = Bed::new(|lower| fs::write(lower.join("file"), "old").unwrap());
    let owner = File::open(bed.path("file")).unwrap();
    flock(&owner, FlockOperation::LockExclusive).unwrap();
    let writer = open_to_write(&bed.path("file"));
    writer.write_all_at(b"N", 0).unwrap();
    let other = File::open(bed.path("file")).unwrap();
    for file in [&writer, &other] {
        let refused = flock(file, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(errno(refused), libc::EWOULDBLOCK);
    }
    drop(owner);
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
}

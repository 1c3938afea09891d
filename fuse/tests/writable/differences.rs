//! Where a writable view differs from the kernel's overlayfs, shown on both: what
//! `semantics.md` says of each.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{CWD, FallocateFlags, IFlags, RenameFlags};
use rustix::fs::{fallocate, ioctl_setflags, renameat_with};
use rustix::io::Errno;

use crate::bed::{Bed, xattr};

fn some_files(lower: &Path) {
    fs::create_dir(lower.join("dir")).unwrap();
    for name in ["dir/file", "other"] {
        fs::write(lower.join(name), vec![7; 16384]).unwrap();
    }
}

/// Returns what both answer, the kernel first.
fn both<T>(ask: impl Fn(&Bed) -> T) -> (T, T) {
    let mut bed = Bed::unmounted(some_files);
    bed.remount_as_overlayfs();
    let kernel = ask(&bed);
    drop(bed);
    (kernel, ask(&Bed::new(some_files)))
}

/// Rule 27.
#[test]
fn rename_with_whiteout() {
    let rename = |bed: &Bed| {
        let (from, to) = (bed.path("other"), bed.path("moved"));
        renameat_with(CWD, from, CWD, to, RenameFlags::WHITEOUT)
    };
    assert_eq!(both(rename), (Err(Errno::INVAL), Ok(())));
}

/// Rule 28.
#[test]
fn names_that_would_be_marks() {
    let make = |bed: &Bed| fs::create_dir(bed.path(".wh.x")).is_ok();
    assert_eq!(both(make), (true, false));
}

/// Rule 29.
#[test]
fn links_of_a_lower_file_that_lost_its_name() {
    let links = |bed: &Bed| {
        use std::os::unix::fs::MetadataExt;
        let file = File::open(bed.path("other")).unwrap();
        fs::remove_file(bed.path("other")).unwrap();
        file.metadata().unwrap().nlink()
    };
    assert_eq!(both(links), (1, 0));
}

#[test]
fn collapsing_a_range() {
    let collapse = |bed: &Bed| {
        let file = File::options().write(true).open(bed.path("other")).unwrap();
        fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096)
    };
    assert_eq!(both(collapse), (Ok(()), Err(Errno::OPNOTSUPP)));
}

/// The kernel keeps them by an attribute of its own and holds everybody to them itself.
#[test]
fn flags_of_files_of_layers_bind_nobody() {
    let write = |bed: &Bed| {
        let lower = File::open(bed.lower("other")).unwrap();
        ioctl_setflags(&lower, IFlags::IMMUTABLE).unwrap();
        let written = File::options().write(true).open(bed.path("other"));
        ioctl_setflags(&lower, IFlags::empty()).unwrap();
        written.map(drop).map_err(|error| error.raw_os_error())
    };
    assert_eq!(both(write), (Err(Some(libc::EPERM)), Ok(())));
}

/// Rule 20.
#[test]
fn marks_of_a_copied_up_file() {
    let marks = |bed: &Bed| {
        fs::write(bed.path("dir/file"), "new").unwrap();
        ["trusted.overlay.origin", "trusted.overlay.mica.ino"]
            .map(|name| xattr(&bed.upper("dir/file"), name).is_some())
    };
    assert_eq!(both(marks), ([true, false], [false, true]));
}

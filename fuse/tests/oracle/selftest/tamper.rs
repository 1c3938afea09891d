//! Differences that are made on purpose.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fsetxattr, fstat, futimens, linkat, openat, renameat_with, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::{Errno, pread, pwrite};

use crate::generate::Sequence;
use crate::operation::{Look, Octal, Operation, Place, Step, Target, Who};
use crate::stack::{Made, Making};

/// Why, what is done at the root of the subject after every step, and the kind of
/// difference that it is.
type Case = (&'static str, fn(BorrowedFd<'_>), &'static str);

pub(super) const CASES: &[Case] = &[
    (
        "one byte, with the time put back",
        change_a_byte,
        "contents of tree",
    ),
    (
        "a permission",
        |root| chmodat(root, "file", Mode::from_raw_mode(0o640), FOLLOW).unwrap(),
        "mode of tree",
    ),
    (
        "a group",
        |root| own(root, "file", None, Some(7)),
        "owner of tree",
    ),
    (
        "the owner of a link",
        |root| own(root, "link", Some(7), None),
        "owner of tree",
    ),
    (
        "a nanosecond",
        |root| date(root, "file", 5),
        "mtime of tree",
    ),
    (
        "a time that was set",
        |root| date(root, "directory", 0),
        "mtime of tree",
    ),
    ("an attribute", add_an_attribute, "xattrs of tree"),
    (
        "a name more",
        |root| retry(symlinkat("x", root, "new")),
        "names of tree",
    ),
    (
        "a name less",
        |root| retry(unlinkat(root, "directory/below", FOLLOW)),
        "mtime of tree",
    ),
    ("another target", retarget, "size of tree"),
    (
        "another pairing of the same links",
        swap_links,
        "links of tree",
    ),
    (
        "a link more",
        |root| retry(linkat(root, "directory/below", root, "new", FOLLOW)),
        "nlink of tree",
    ),
    (
        "what a step asks for",
        |root| retry(unlinkat(root, "asked", FOLLOW)),
        "outcome of Stat",
    ),
];

const FOLLOW: AtFlags = AtFlags::empty();

/// Returns a short sequence on a small tree, which all cases tamper with.
pub(super) fn sequence() -> Sequence {
    let file = Making::File {
        size: 5000,
        byte: 1,
        data: 4096,
        stride: 4096,
    };
    let made = [
        ("file", file.clone()),
        ("asked", file.clone()),
        ("link", Making::Symlink(PathBuf::from("file"))),
        ("directory", Making::Directory),
        ("directory/below", file),
    ];
    let look = Operation::Look {
        target: Target::Path(Place::root("asked"), false),
        look: Look::Stat,
    };
    let new = |path| Operation::MakeNode {
        at: Place::root(path),
        kind: FileType::RegularFile,
        mode: Octal(0o644),
        device: (0, 0),
    };
    let link = |from, to| Operation::Link {
        from: Place::root(from),
        to: Place::root(to),
        follow: false,
    };
    let operations = [
        look.clone(),
        new("one"),
        link("one", "one too"),
        new("two"),
        link("two", "two too"),
        look,
    ];
    let step = |operation| Step {
        who: Who::ROOT,
        operation,
    };
    Sequence {
        seed: 0,
        in_memory: false,
        metacopy: true,
        lowers: 1,
        made: made
            .map(|(path, making)| Made {
                layer: 0,
                path: PathBuf::from(path),
                making,
            })
            .into(),
        steps: operations.map(step).into(),
    }
}

/// Tampering goes on after every step.
fn retry(result: Result<(), Errno>) {
    if let Err(errno) = result
        && !matches!(errno, Errno::EXIST | Errno::NOENT)
    {
        panic!("{errno}");
    }
}

fn open(root: BorrowedFd<'_>, name: &str) -> OwnedFd {
    openat(root, name, OFlags::RDWR, Mode::empty()).unwrap()
}

fn times(seconds: i64, nanoseconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn change_a_byte(root: BorrowedFd<'_>) {
    let file = open(root, "file");
    let stat = fstat(&file).unwrap();
    let mut byte = [0];
    pread(&file, &mut byte, 4999).unwrap();
    pwrite(&file, &[byte[0] ^ 1 | 0x80], 4999).unwrap();
    let time = times(stat.st_mtime, stat.st_mtime_nsec.cast_signed());
    futimens(&file, &time).unwrap();
}

/// Sets a time of long ago; of a file that has one, only nanoseconds differ.
fn date(root: BorrowedFd<'_>, name: &str, nanoseconds: i64) {
    let stat = statat(root, name, FOLLOW).unwrap();
    let seconds = if nanoseconds > 0 {
        stat.st_mtime
    } else {
        12345
    };
    utimensat(root, name, &times(seconds, nanoseconds), FOLLOW).unwrap();
}

fn add_an_attribute(root: BorrowedFd<'_>) {
    fsetxattr(open(root, "file"), "user.new", b"", XattrFlags::empty()).unwrap();
}

/// Exchanges two names of files that differ in nothing but their names.
fn swap_links(root: BorrowedFd<'_>) {
    let number = |name| statat(root, name, FOLLOW).map(|stat| stat.st_ino);
    let (one, two) = (number("one too"), number("two too"));
    if one.is_ok() && two.is_ok() && number("one") == one {
        renameat_with(root, "one too", root, "two too", RenameFlags::EXCHANGE).unwrap();
    }
}

fn own(root: BorrowedFd<'_>, name: &str, uid: Option<u32>, gid: Option<u32>) {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    chownat(root, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn retarget(root: BorrowedFd<'_>) {
    unlinkat(root, "link", FOLLOW).unwrap();
    symlinkat("elsewhere", root, "link").unwrap();
}

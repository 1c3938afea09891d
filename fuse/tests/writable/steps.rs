//! Changes that fail at each of their steps, or whose server is killed there: what is
//! shown is then as before or as after, nothing is left half made, and it can be tried again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mica_fuse::session::{Busy, unmount};
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, XattrFlags};
use rustix::io::Errno;

use crate::bed::{Bed, names, xattr};
use crate::failing::serve_elsewhere;
use crate::faults::{Fault, Faults, Which};

/// More steps than any change has.
const MOST_STEPS: u32 = 200;

const NOW: rustix::fs::Timespec = rustix::fs::Timespec {
    tv_sec: 0,
    tv_nsec: rustix::fs::UTIME_NOW,
};

/// A change of the tree at a path.
type Change = fn(&Path) -> io::Result<()>;

/// What is changed, what is done before, and how.
const CHANGES: &[(&str, Option<Change>, Change)] = &[
    ("append", None, append),
    (
        "append to a file whose attributes are in the upper",
        Some(touch),
        append,
    ),
    ("truncate", None, |root| {
        File::options()
            .write(true)
            .open(root.join("d/file"))?
            .set_len(5000)
    }),
    ("empty", None, |root| {
        File::create(root.join("d/file")).map(drop)
    }),
    ("chmod", None, chmod),
    ("chmod of a directory", None, |root| {
        fs::set_permissions(root.join("d/sub"), Permissions::from_mode(0o711))
    }),
    ("chmod of a pipe", None, |root| {
        fs::set_permissions(root.join("pipe"), Permissions::from_mode(0o711))
    }),
    ("chown of a link", None, |root| {
        lchown(root.join("link"), Some(7), Some(8))
    }),
    ("set an attribute", None, |root| {
        let flags = XattrFlags::empty();
        Ok(rustix::fs::setxattr(
            root.join("d/file"),
            "user.new",
            b"value",
            flags,
        )?)
    }),
    ("make a file", None, |root| {
        File::create_new(root.join("d/new")).map(drop)
    }),
    ("make a file over a whiteout", Some(remove), |root| {
        File::create_new(root.join("d/file")).map(drop)
    }),
    ("make a directory", None, |root| {
        fs::create_dir(root.join("d/new"))
    }),
    ("make a directory over a whiteout", Some(remove), |root| {
        fs::create_dir(root.join("d/file"))
    }),
    ("make a link over a whiteout", Some(remove), |root| {
        symlink("there", root.join("d/file"))
    }),
    ("link", None, |root| {
        fs::hard_link(root.join("d/file"), root.join("other"))
    }),
    ("remove", None, remove),
    ("remove a directory", None, |root| {
        fs::remove_dir(root.join("empty"))
    }),
    ("rename", None, |root| {
        fs::rename(root.join("d/file"), root.join("new"))
    }),
    ("rename over a file", None, |root| {
        fs::rename(root.join("d/file"), root.join("one"))
    }),
    ("rename a directory", None, |root| {
        fs::rename(root.join("d"), root.join("new"))
    }),
    ("exchange", None, |root| {
        let (from, to) = (root.join("d/file"), root.join("empty"));
        Ok(rustix::fs::renameat_with(
            CWD,
            from,
            CWD,
            to,
            RenameFlags::EXCHANGE,
        )?)
    }),
];

fn append(root: &Path) -> io::Result<()> {
    let mut file = File::options().append(true).open(root.join("d/file"))?;
    file.write_all(b"end")
}

fn chmod(root: &Path) -> io::Result<()> {
    fs::set_permissions(root.join("d/file"), Permissions::from_mode(0o600))
}

/// A copy of contents that is broken off can leave the time of it.
fn touch(root: &Path) -> io::Result<()> {
    let times = rustix::fs::Timestamps {
        last_access: NOW,
        last_modification: NOW,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        root.join("d/file"),
        &times,
        AtFlags::empty(),
    )?)
}

fn remove(root: &Path) -> io::Result<()> {
    fs::remove_file(root.join("d/file"))
}

fn lay(lower: &Path) {
    fs::create_dir_all(lower.join("d/sub")).unwrap();
    fs::create_dir(lower.join("empty")).unwrap();
    fs::write(lower.join("d/file"), vec![7; 20_000]).unwrap();
    fs::write(lower.join("d/sub/x"), "x").unwrap();
    fs::write(lower.join("one"), "one").unwrap();
    fs::hard_link(lower.join("one"), lower.join("two")).unwrap();
    symlink("target", lower.join("link")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, lower.join("pipe"), FileType::Fifo, mode, 0).unwrap();
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(lower.join("d/file"), "user.old", b"value", flags).unwrap();
    lchown(lower.join("d/file"), Some(1), Some(2)).unwrap();
    for path in ["d/file", "d/sub", "d", "one", ""] {
        let file = File::open(lower.join(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
    }
}

/// Describes each path of a tree: all but the times of directories, of which a failure may
/// leave that of the last step.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(root, "", &mut found);
    found
}

fn walk(path: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    let metadata = path.symlink_metadata().unwrap();
    let mut text = format!(
        "{:o} {}:{}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid()
    );
    if metadata.is_dir() {
        for below in names(path) {
            walk(&path.join(&below), &format!("{name}/{below}"), found);
        }
        found.insert(name.to_owned(), text);
        return;
    }
    let is_old = metadata.mtime() == 1_000_000_000;
    write!(text, " {}", if is_old { "old" } else { "new" }).unwrap();
    if metadata.is_symlink() {
        write!(text, " {}", fs::read_link(path).unwrap().display()).unwrap();
    } else if metadata.is_file() {
        let bytes = fs::read(path).unwrap();
        let sum = bytes
            .iter()
            .fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        let attributes = ["user.old", "user.new"].map(|name| xattr(path, name).is_some());
        write!(
            text,
            " {} {sum:x} {attributes:?} {}",
            bytes.len(),
            metadata.nlink()
        )
        .unwrap();
    }
    found.insert(name.to_owned(), text);
}

/// Makes the upper new, with what comes before the change in it.
fn start_over(bed: &mut Bed, before: Option<Change>) {
    bed.unmount();
    for directory in [&bed.ground.upper, &bed.ground.work] {
        fs::remove_dir_all(directory).unwrap();
        fs::create_dir(directory).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    if let Some(before) = before {
        bed.remount();
        before(&bed.path("")).unwrap();
        bed.unmount();
    }
}

/// Returns what is to be shown before and after a change.
fn trees(bed: &mut Bed, before: Option<Change>, change: Change) -> [BTreeMap<String, String>; 2] {
    start_over(bed, before);
    bed.remount();
    let old = tree(&bed.path(""));
    change(&bed.path("")).unwrap();
    bed.remount();
    [old, tree(&bed.path(""))]
}

/// Lets each call of each change fail.
fn fail_everywhere(which: Which, errors: &[Errno]) {
    let mut bed = Bed::unmounted(lay);
    let lower = tree(&bed.ground.lowers[0]);
    for (what, before, change) in CHANGES {
        let [old, new] = trees(&mut bed, *before, *change);
        for step in 0.. {
            assert!(step < MOST_STEPS, "{what}");
            let errno = errors[step as usize % errors.len()];
            start_over(&mut bed, *before);
            let faults = Faults::default();
            faults.watch(which, || bed.remount());
            // When it answers, it has done all that it does at its start.
            rustix::fs::statfs(bed.path("")).unwrap();
            faults.arm(Fault::Error(errno), step);
            let result = change(&bed.path(""));
            let Some(call) = faults.disarm() else {
                result.unwrap();
                break;
            };
            let why = format!("{what}, step {step}, call {call}: {errno}");
            if result.is_ok() {
                // What a replaced name leaves in the work directory the next mount clears.
                // What was read may have been for the server itself, or the kernel does
                // not mind.
                let is_nobodys = which == Which::Reads || call == libc::SYS_unlinkat;
                assert!(is_nobodys, "{why}: no error");
            } else {
                assert_eq!(crate::bed::errno(result), errno.raw_os_error(), "{why}");
                check_failed(&bed, *change, &why, (&old, &new));
            }
            if call != libc::SYS_unlinkat {
                assert_eq!(bed.half_made(), [""; 0], "{why}");
            }
            if which == Which::Changes {
                bed.remount();
                assert_eq!(bed.half_made(), [""; 0], "{why}");
            }
            assert_eq!(tree(&bed.path("")), new, "{why}: again");
        }
    }
    bed.unmount();
    assert_eq!(tree(&bed.ground.lowers[0]), lower);
}

/// Checks that a change that failed has not been made, or all but its last steps; and makes
/// it then.
fn check_failed(
    bed: &Bed,
    change: Change,
    why: &str,
    (old, new): (&BTreeMap<String, String>, &BTreeMap<String, String>),
) {
    let found = tree(&bed.path(""));
    let is_old = found == *old;
    assert!(is_old || found == *new, "{why}: {found:#?}");
    if is_old {
        change(&bed.path("")).unwrap_or_else(|error| panic!("{why}: again: {error}"));
    }
}

/// Trap 41: a loss of power cannot be had here, so it is the order of the calls.
#[test]
fn contents_are_on_disk_before_anything_says_that_they_are_the_true_ones() {
    let cases: [(&str, Option<Change>, libc::c_long); 2] = [
        ("a new copy", None, libc::SYS_renameat2),
        ("a copy of attributes", Some(touch), libc::SYS_removexattr),
    ];
    let mut bed = Bed::unmounted(lay);
    for (what, before, publish) in cases {
        start_over(&mut bed, before);
        let faults = Faults::default();
        faults.watch(Which::Changes, || bed.remount());
        rustix::fs::statfs(bed.path("")).unwrap();
        let calls = faults.calls_of(|| append(&bed.path("")).unwrap());
        let last = |number| calls.iter().rposition(|call| *call == number);
        let published = last(publish).expect(what);
        let writes = [libc::SYS_copy_file_range, libc::SYS_pwrite64];
        let before = calls.get(..published).unwrap();
        let copied = before.iter().rposition(|call| writes.contains(call));
        let synced = before.iter().rposition(|call| *call == libc::SYS_fsync);
        assert!(copied.is_some() && synced > copied, "{what}: {calls:?}");
    }
}

/// Trap 42.
#[test]
fn a_change_without_space_or_quota_at_any_step_fails_and_can_be_tried_again() {
    fail_everywhere(Which::Changes, &[Errno::DQUOT, Errno::NOSPC]);
}

/// Trap 42; what cannot be read is an error and not absent.
#[test]
fn a_change_that_meets_an_io_error_at_any_step_fails_and_can_be_tried_again() {
    fail_everywhere(Which::Reads, &[Errno::IO]);
}

/// What is read of a tree, as text.
type Look = fn(&Path) -> io::Result<String>;

const LOOKS: &[(&str, Look)] = &[
    ("list the root", |root| list(root)),
    ("list a directory", |root| list(&root.join("d"))),
    ("stat", |root| {
        Ok(root.join("d/sub/x").symlink_metadata()?.len().to_string())
    }),
    ("read", |root| fs::read_to_string(root.join("d/sub/x"))),
    ("read a link", |root| {
        Ok(fs::read_link(root.join("link"))?.display().to_string())
    }),
    ("look for what is absent", |root| {
        match root.join("d/absent").symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            found => found.map(|_| "found".to_owned()),
        }
    }),
];

fn list(directory: &Path) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().into_string().unwrap());
    }
    names.sort();
    Ok(names.join(" "))
}

#[test]
fn a_layer_that_cannot_be_read_at_any_step_is_an_error_and_nothing_is_absent() {
    let mut bed = Bed::new(lay);
    for (what, look) in LOOKS {
        bed.remount();
        let expected = look(&bed.path("")).unwrap();
        for step in 0.. {
            assert!(step < MOST_STEPS, "{what}");
            let faults = Faults::default();
            bed.unmount();
            faults.watch(Which::Reads, || bed.remount());
            rustix::fs::statfs(bed.path("")).unwrap();
            faults.arm(Fault::Error(Errno::IO), step);
            let seen = look(&bed.path(""));
            let is_over = faults.disarm().is_none();
            match seen {
                Ok(seen) => assert_eq!(seen, expected, "{what}, step {step}"),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{what}, step {step}");
                }
            }
            assert_eq!(
                look(&bed.path("")).unwrap(),
                expected,
                "{what}, step {step}: again"
            );
            if is_over {
                break;
            }
        }
    }
}

/// Trap 43.
#[test]
fn a_crash_at_any_step_of_a_change_leaves_the_old_or_the_new_tree() {
    let mut bed = Bed::unmounted(lay);
    for (what, before, change) in CHANGES {
        let [old, new] = trees(&mut bed, *before, *change);
        for step in 0.. {
            assert!(step < MOST_STEPS, "{what}");
            start_over(&mut bed, *before);
            let mut server = serve_elsewhere(bed.directory(), Some(step));
            let result = change(&bed.shared_path(""));
            if result.is_ok() {
                server.kill().unwrap();
            }
            server.wait().unwrap();
            unmount(&bed.shared_path(""), Busy::Detach).unwrap();
            bed.remount();
            let found = tree(&bed.path(""));
            assert_eq!(bed.half_made(), [""; 0], "{what}, step {step}");
            if result.is_ok() {
                assert_eq!(found, new, "{what}");
                break;
            }
            assert!(
                found == old || found == new,
                "{what}, step {step}: {found:#?}"
            );
        }
    }
}

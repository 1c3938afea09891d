//! The differences that are intended, and why, with the rules of `semantics.md`. Everything else is a mistake.
//!
//! Never made at all, because the way to the kernel has no word for them, or because
//! `semantics.md` names a difference:
//!
//! - `FALLOC_FL_COLLAPSE_RANGE` and `FALLOC_FL_INSERT_RANGE`: FUSE refuses them.
//! - `chown` to neither an owner nor a group: FUSE tells nobody of it, so that it clears no
//!   set-id bits.
//! - `RENAME_WHITEOUT` (rule 27): overlayfs refuses it, and it has a test of its own.
//! - Names that start with `.wh.` (rule 28), and attributes of overlayfs itself (rule 32).

use mica_fuse::session::CacheMode;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::mount::usual_cache;
use crate::operation::{Change, Look, Operation, Target};
use crate::seen::{Mtime, Seen};
use crate::side::{Answer, Outcome};
use crate::tree::Entry;

/// What is compared, the kernel's first.
pub(crate) enum Compared<'a> {
    Outcome(&'a Operation, &'a Outcome, &'a Outcome),
    /// The attributes of an operand.
    Attributes(&'a Seen, &'a Seen),
    /// What a path of a tree is.
    Entry(Option<&'a Entry>, Option<&'a Entry>),
}

/// An intended difference.
struct Allowed {
    #[expect(dead_code, reason = "for who reads the table")]
    why: &'static str,
    only_with_metacopy: bool,
    permits: fn(&Compared<'_>) -> bool,
}

const TABLE: &[Allowed] = &[
    Allowed {
        why: "rule 2: whiteouts in a directory that merges with no other \
              are listed by the kernel, but not found",
        only_with_metacopy: false,
        permits: |compared| match compared {
            Compared::Outcome(_, Ok(Answer::Names(kernel)), Ok(Answer::Names(subject))) => {
                let mut kernel = kernel.clone();
                kernel.retain(|name, kind| {
                    *kind != FileType::CharacterDevice || subject.contains_key(name)
                });
                kernel == *subject
            }
            Compared::Entry(kernel, None) => {
                matches!(kernel, Some(Entry::Refused("stat", Errno::NOENT)))
            }
            _ => false,
        },
    },
    Allowed {
        why: "rules 21 and 22: the kernel modifies a file when it copies its contents up after its attributes",
        only_with_metacopy: true,
        permits: |compared| {
            same_but(compared, |kernel, subject| {
                if (kernel.mtime, kernel.kind()) == (Mtime::Recent, FileType::RegularFile) {
                    kernel.mtime = subject.mtime;
                }
            })
        },
    },
    Allowed {
        why: "rules 26 and 29: the kernel shows the links of the file in the lower, whatever became of its names",
        only_with_metacopy: false,
        permits: |compared| {
            let is_operand = !matches!(compared, Compared::Entry(..));
            is_operand
                && same_but(compared, |kernel, subject| {
                    kernel.nlink = kernel.nlink.min(subject.nlink);
                })
        },
    },
    Allowed {
        why: "rule 31: a writer outside of the group clears the set-group-ID bit of a file that the group \
              may not execute, but FUSE does not say who is in the group",
        only_with_metacopy: false,
        permits: |compared| {
            same_but(compared, |kernel, subject| {
                let bits = libc::S_ISGID | libc::S_IXGRP;
                if subject.mode & bits == libc::S_ISGID {
                    kernel.mode |= libc::S_ISGID;
                }
            })
        },
    },
    Allowed {
        why: "rule 31: set-id bits that a file got while it was open stay where the kernel \
              writes it by itself",
        only_with_metacopy: false,
        permits: |compared| {
            usual_cache() == CacheMode::Passthrough
                && same_but(compared, |kernel, subject| {
                    kernel.mode |= subject.mode & (libc::S_ISUID | libc::S_ISGID);
                })
        },
    },
    Allowed {
        why: "rule 32: the kernel measures the buffer for names by its own attributes too",
        only_with_metacopy: false,
        permits: |compared| {
            matches!(
                compared,
                Compared::Outcome(
                    Operation::Look {
                        look: Look::Xattrs(_),
                        ..
                    },
                    Err(Errno::RANGE),
                    Ok(Answer::Xattrs(_)),
                )
            )
        },
    },
];

/// Returns whether a difference is intended.
pub(crate) fn permits(compared: &Compared<'_>, metacopy: bool) -> bool {
    let mut rows = TABLE
        .iter()
        .filter(|row| metacopy || !row.only_with_metacopy);
    rows.any(|row| (row.permits)(compared))
}

/// Returns whether both are the same once the kernel's attributes are put right.
fn same_but(compared: &Compared<'_>, put_right: fn(&mut Seen, &Seen)) -> bool {
    let is_same = |kernel: &Seen, subject: &Seen| {
        let mut kernel = kernel.clone();
        put_right(&mut kernel, subject);
        kernel == *subject
    };
    match compared {
        Compared::Attributes(kernel, subject) => is_same(kernel, subject),
        Compared::Outcome(_, Ok(Answer::Stat(kernel)), Ok(Answer::Stat(subject))) => {
            is_same(kernel, subject)
        }
        Compared::Entry(Some(Entry::Found(kernel)), Some(Entry::Found(subject))) => {
            let mut kernel = kernel.clone();
            put_right(&mut kernel.seen, &subject.seen);
            kernel.difference(subject).is_none()
        }
        _ => false,
    }
}

/// Returns whether the kernel is known to do a step wrongly, so that there is nothing to
/// compare with. `operands` are what the step is about, as one side shows it.
pub(crate) fn is_avoided(operation: &Operation, operands: &[Result<Stat, Errno>]) -> bool {
    let Operation::Change { target, change } = operation else {
        return false;
    };
    let any = |is_so: fn(&Stat) -> bool| operands.iter().flatten().any(is_so);
    match (target, change) {
        // To change a pipe, a device or a directory of a lower that has no name any more gives
        // it its name back, in the upper, also in the place of what has it now (rule 29).
        (Target::Open(_), _) if any(is_not_file) => any(|stat| stat.st_nlink == 0),
        // Whether it counts as a modification depends on the file system.
        (Target::Path(..), Change::Size(size)) => operands
            .iter()
            .flatten()
            .any(|stat| stat.st_size.cast_unsigned() == *size),
        // The file is copied up, and its hard links break, before the change is refused.
        (_, Change::SetXattr(_, _, flags)) if !flags.is_empty() => any(|stat| stat.st_nlink > 1),
        _ => false,
    }
}

/// Returns whether the kernel failed because it could not copy up what has no name any
/// more; a name, or what is in its place, is then in the way.
pub(crate) fn is_unnamed(operation: &Operation, outcome: &Outcome) -> bool {
    let is_by_file = matches!(
        operation,
        Operation::Change {
            target: Target::Open(_),
            ..
        }
    );
    is_by_file
        && matches!(
            outcome,
            Err(Errno::EXIST | Errno::NOTDIR | Errno::NOTEMPTY | Errno::NOENT)
        )
}

fn is_not_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
}

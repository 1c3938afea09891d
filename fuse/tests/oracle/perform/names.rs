//! Operations that make, move and take away names.

use std::os::fd::AsRawFd;

use rustix::fs::{
    AtFlags, CWD, linkat, makedev, mkdirat, mknodat, renameat_with, symlinkat, unlinkat,
};

use super::done;
use crate::operation::{Octal, Operation};
use crate::side::{Outcome, Side};

pub(super) fn perform(side: &Side, operation: &Operation) -> Outcome {
    let mode = |Octal(mode): &Octal| rustix::fs::Mode::from_raw_mode(*mode);
    done(match operation {
        Operation::MakeDirectory { at, mode: bits } => {
            mkdirat(side.base(at)?, at.path(), mode(bits))
        }
        Operation::MakeNode {
            at,
            kind,
            mode: bits,
            device: (major, minor),
        } => {
            let device = makedev(*major, *minor);
            mknodat(side.base(at)?, at.path(), *kind, mode(bits), device)
        }
        Operation::Symlink { at, target } => symlinkat(target, side.base(at)?, at.path()),
        Operation::Link { from, to, follow } => {
            let flags = if *follow {
                AtFlags::SYMLINK_FOLLOW
            } else {
                AtFlags::empty()
            };
            linkat(
                side.base(from)?,
                from.path(),
                side.base(to)?,
                to.path(),
                flags,
            )
        }
        Operation::LinkOpen { slot, to } => {
            let from = format!("/proc/self/fd/{}", side.file(*slot)?.as_raw_fd());
            linkat(
                CWD,
                from,
                side.base(to)?,
                to.path(),
                AtFlags::SYMLINK_FOLLOW,
            )
        }
        Operation::Unlink { at } => unlinkat(side.base(at)?, at.path(), AtFlags::empty()),
        Operation::RemoveDirectory { at } => {
            unlinkat(side.base(at)?, at.path(), AtFlags::REMOVEDIR)
        }
        Operation::Rename { from, to, flags } => renameat_with(
            side.base(from)?,
            from.path(),
            side.base(to)?,
            to.path(),
            *flags,
        ),
        operation => unreachable!("{operation:?}"),
    })
}

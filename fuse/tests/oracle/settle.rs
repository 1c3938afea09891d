//! Both sides brought to one state where the kernel has copied up more than was needed.

use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, fchmod, fstat, utimensat,
};
use rustix::io::Errno;

use crate::operation::{Operation, Place, Slot, Step};
use crate::side::{Outcome, Side};

/// Does on a side what the kernel did by itself; the outcome is the kernel's.
pub(crate) fn settle(side: &Side, step: &Step, outcome: &Outcome) {
    match (&step.operation, outcome) {
        (Operation::Open { slot, flags, .. }, Ok(_))
            if flags.intersects(OFlags::WRONLY | OFlags::RDWR) =>
        {
            copy_up(side, *slot);
        }
        (Operation::Rename { from, .. }, Err(Errno::NOTEMPTY)) => touch(side, from),
        _ => (),
    }
}

/// Has a file copied up that is open to be written: the kernel did when it was opened, and
/// the hard links that break show when.
fn copy_up(side: &Side, slot: Slot) {
    if let Ok(file) = side.file(slot)
        && let Ok(stat) = fstat(file)
    {
        // A path without a file behind it has no mode to change.
        fchmod(file, Mode::from_raw_mode(stat.st_mode)).ok();
    }
}

/// Modifies the directory of a place: the kernel did when it copied up what it then could
/// not move.
fn touch(side: &Side, place: &Place) {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let parent = Place {
        base: place.base,
        path: place.path.parent().unwrap_or(Path::new("")).to_path_buf(),
    };
    if let Ok(base) = side.base(&parent) {
        utimensat(base, parent.path(), &times, AtFlags::empty()).ok();
    }
}

//! Attributes and extended attributes.

use super::body::Body;
use crate::kernel::abi::{self, fattr};
use crate::{Operation, SetAttr, SetTime, Timestamp};

pub(super) fn setattr(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::SetattrIn = body.structure()?;
    let has = |bit| asked.valid & bit != 0;
    let time = |bit, now, seconds: u64, nanoseconds| {
        Some(match (has(bit), has(now)) {
            (false, _) => None,
            (true, true) => Some(SetTime::Now),
            (true, false) => Some(SetTime::At(timestamp(seconds, nanoseconds)?)),
        })
    };
    Some(Operation::SetAttr(SetAttr {
        size: has(fattr::SIZE).then_some(asked.size),
        mode: has(fattr::MODE).then_some(asked.mode),
        uid: has(fattr::UID).then_some(asked.uid),
        gid: has(fattr::GID).then_some(asked.gid),
        atime: time(fattr::ATIME, fattr::ATIME_NOW, asked.atime, asked.atimensec)?,
        mtime: time(fattr::MTIME, fattr::MTIME_NOW, asked.mtime, asked.mtimensec)?,
        kill_privileges: has(fattr::KILL_SUIDGID),
    }))
}

/// Nanoseconds beyond a second would be `UTIME_NOW` or `UTIME_OMIT` to the next system
/// call.
fn timestamp(seconds: u64, nanoseconds: u32) -> Option<Timestamp> {
    (nanoseconds < 1_000_000_000).then_some(Timestamp {
        seconds: seconds.cast_signed(),
        nanoseconds,
    })
}

pub(super) fn setxattr<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::SetxattrIn = body.structure()?;
    Some(Operation::SetXattr {
        name: body.name()?,
        value: body.bytes(asked.size)?,
        flags: asked.flags,
        kill_sgid: asked.setxattr_flags & abi::SETXATTR_ACL_KILL_SGID != 0,
    })
}

pub(super) fn getxattr<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::GetxattrIn = body.structure()?;
    Some(Operation::GetXattr {
        name: body.name()?,
        size: asked.size,
    })
}

pub(super) fn listxattr(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::GetxattrIn = body.structure()?;
    Some(Operation::ListXattr { size: asked.size })
}

pub(super) fn access(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::AccessIn = body.structure()?;
    Some(Operation::Access { mask: asked.mask })
}

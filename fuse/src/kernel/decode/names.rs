//! Operations on a name of a directory.
//!
//! A name too long is passed on: the view refuses it with the errno that it deserves.

use super::body::Body;
use crate::kernel::abi;
use crate::{NodeId, Operation};

pub(super) fn symlink<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    Some(Operation::Symlink {
        name: body.name()?,
        target: body.name()?,
    })
}

pub(super) fn mknod<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::MknodIn = body.structure()?;
    Some(Operation::MkNod {
        name: body.name()?,
        mode: asked.mode,
        rdev: asked.rdev,
        umask: asked.umask,
    })
}

pub(super) fn mkdir<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::MkdirIn = body.structure()?;
    Some(Operation::MkDir {
        name: body.name()?,
        mode: asked.mode,
        umask: asked.umask,
    })
}

/// `RENAME`, which the kernel sends where there are no flags.
pub(super) fn rename<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::RenameIn = body.structure()?;
    rename_to(asked.newdir, 0, body)
}

pub(super) fn rename2<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::Rename2In = body.structure()?;
    rename_to(asked.newdir, asked.flags, body)
}

fn rename_to<'a>(newdir: u64, flags: u32, body: &mut Body<'a>) -> Option<Operation<'a>> {
    Some(Operation::Rename {
        name: body.name()?,
        to: NodeId(newdir),
        new_name: body.name()?,
        flags,
    })
}

pub(super) fn link<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::LinkIn = body.structure()?;
    Some(Operation::Link {
        file: NodeId(asked.oldnodeid),
        name: body.name()?,
    })
}

pub(super) fn create<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::CreateIn = body.structure()?;
    Some(Operation::Create {
        name: body.name()?,
        flags: asked.flags,
        mode: asked.mode,
        umask: asked.umask,
    })
}

/// The name that follows is a placeholder of the kernel's.
pub(super) fn tmpfile(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::CreateIn = body.structure()?;
    Some(Operation::TmpFile {
        flags: asked.flags,
        mode: asked.mode,
        umask: asked.umask,
    })
}

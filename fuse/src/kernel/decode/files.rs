//! Open files and their contents, listings of directories.
//!
//! Handles are not looked at: none was given out.

use super::body::Body;
use crate::kernel::abi::{self, opcode};
use crate::{NodeId, Operation, Whence};

/// The most bytes of one `COPY_FILE_RANGE`, whose answer has 32 bits for them: what newer
/// kernels ask for at most (`__fuse_copy_file_range`).
const COPY_LIMIT: u64 = 0xffff_f000;

pub(super) fn open(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::OpenIn = body.structure()?;
    Some(Operation::Open {
        flags: asked.flags,
        kill_privileges: asked.open_flags & abi::OPEN_KILL_SUIDGID != 0,
    })
}

pub(super) fn read(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::ReadIn = body.structure()?;
    Some(Operation::Read {
        offset: asked.offset,
        size: asked.size,
    })
}

pub(super) fn readdir(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let abi::ReadIn { offset, .. } = body.structure()?;
    Some(Operation::ReadDir { offset })
}

pub(super) fn readdirplus(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let abi::ReadIn { offset, .. } = body.structure()?;
    Some(Operation::ReadDirPlus { offset })
}

pub(super) fn write<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::WriteIn = body.structure()?;
    Some(Operation::Write {
        offset: asked.offset,
        data: body.bytes(asked.size)?,
        kill_privileges: asked.write_flags & abi::WRITE_KILL_SUIDGID != 0,
    })
}

pub(super) fn fsync(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::FsyncIn = body.structure()?;
    Some(Operation::Fsync {
        data_only: asked.fsync_flags & abi::FSYNC_FDATASYNC != 0,
    })
}

pub(super) fn fallocate(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::FallocateIn = body.structure()?;
    Some(Operation::Allocate {
        offset: asked.offset,
        length: asked.length,
        mode: asked.mode,
    })
}

pub(super) fn copy_file_range(code: u32, body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::CopyFileRangeIn = body.structure()?;
    if asked.flags != 0 {
        // None is known; the kernel then copies by itself.
        return Some(Operation::Unknown { opcode: code });
    }
    let limit = match code {
        opcode::COPY_FILE_RANGE_64 => u64::MAX,
        _ => COPY_LIMIT,
    };
    Some(Operation::CopyFileRange {
        offset: asked.off_in,
        to: NodeId(asked.nodeid_out),
        to_offset: asked.off_out,
        length: asked.len.min(limit),
    })
}

/// The kernel resolves `SEEK_SET`, `SEEK_CUR` and `SEEK_END` itself.
pub(super) fn lseek(body: &mut Body<'_>) -> Option<Operation<'static>> {
    let asked: abi::LseekIn = body.structure()?;
    let whence = match i32::try_from(asked.whence) {
        Ok(libc::SEEK_DATA) => Whence::Data,
        Ok(libc::SEEK_HOLE) => Whence::Hole,
        _ => {
            return Some(Operation::Unknown {
                opcode: opcode::LSEEK,
            });
        }
    };
    Some(Operation::Seek {
        offset: asked.offset,
        whence,
    })
}

pub(super) fn ioctl<'a>(body: &mut Body<'a>) -> Option<Operation<'a>> {
    let asked: abi::IoctlIn = body.structure()?;
    Some(Operation::Ioctl {
        command: asked.cmd,
        input: body.bytes(asked.in_size)?,
        room: asked.out_size,
    })
}

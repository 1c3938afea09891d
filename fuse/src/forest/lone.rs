//! Answers in place of `ENOSYS`, by which a lone tree tells the kernel never to ask again.

use std::borrow::Cow;

use rustix::io::Errno;

use super::branch;
use crate::view::sized;
use crate::{Error, Opened, Operation, Reply, Request, Result, Tree};

/// The bits of an open's flags that say whether it reads or writes.
const ACCESS_MODE: u32 = libc::O_ACCMODE.cast_unsigned();
const READ_ONLY: u32 = libc::O_RDONLY.cast_unsigned();
const TRUNCATES: u32 = libc::O_TRUNC.cast_unsigned();

/// Returns whether an operation would change something, or open a file for that.
pub(super) fn changes(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::Open { flags, .. } => flags & ACCESS_MODE != READ_ONLY || flags & TRUNCATES != 0,
        other => other.is_change(),
    }
}

/// Answers what the tree leaves to the kernel.
pub(super) fn answer<'a>(tree: &Tree, request: &Request<'_>) -> Result<Reply<'a>> {
    match request.operation {
        // Only a tree that takes no changes leaves opens to the kernel.
        operation @ Operation::Open { .. } if changes(&operation) => {
            Err(Error::Refused(Errno::ROFS))
        }
        Operation::Open { .. } | Operation::OpenDir => Ok(Reply::Opened(Opened {
            keep_cache: true,
            backing: None,
        })),
        Operation::Seek { offset, whence } => {
            let attributes = Request {
                operation: Operation::GetAttr,
                ..*request
            };
            match tree.answer(&attributes)? {
                Reply::Attr(attr) => Ok(Reply::Offset(branch::seek(attr.size, offset, whence)?)),
                _ => Err(Error::Refused(Errno::IO)),
            }
        }
        Operation::Rename { .. } => Err(Error::Refused(Errno::INVAL)),
        other => plain(other).unwrap_or(Err(Error::Refused(Errno::OPNOTSUPP))),
    }
}

/// Answers for what has no extended attributes, no controls of its own, and nothing to do
/// when it is closed or made to last; `None` for all else.
pub(super) fn plain<'a>(operation: Operation<'_>) -> Option<Result<Reply<'a>>> {
    Some(match operation {
        Operation::Release
        | Operation::Nothing
        | Operation::Access { .. }
        | Operation::Fsync { .. }
        | Operation::FsyncDir
        | Operation::SyncFs => Ok(Reply::Done),
        Operation::GetXattr { .. } => Err(Error::Refused(Errno::NODATA)),
        Operation::ListXattr { size } => sized(Cow::Borrowed(b""), size),
        Operation::Ioctl { .. } => Err(Error::Refused(Errno::NOTTY)),
        // Nothing here has an answer to it.
        Operation::Unknown { .. } => Err(Error::Refused(Errno::NOSYS)),
        _ => return None,
    })
}

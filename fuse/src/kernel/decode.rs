//! Bytes of the kernel to a value, bounds checked; a pure function.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::abi::{self, opcode};
use crate::{Caller, NodeId, Operation, Request, Whence};

/// The longest link target that the kernel takes: it reads into one page and
/// ends it with NUL (`fuse_readlink_page`).
const LINK_ROOM: usize = 4095;

/// A message of the kernel.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// A request that the view answers.
    Ask(Question<'a>),
    /// References that the kernel gives back; nobody waits for an answer.
    Forget(Forgets<'a>),
    /// The caller of another request got a signal.
    Interrupt { unique: u64 },
    /// The file system is gone.
    Destroy { unique: u64 },
}

/// A request with what its answer must know of it.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The number under which the kernel waits for the answer.
    pub(crate) unique: u64,
    /// The most bytes that the caller takes, where the reply has no fixed size.
    pub(crate) room: usize,
    /// What the view sees.
    pub(crate) request: Request<'a>,
}

/// The nodes of a `FORGET` or a `BATCH_FORGET`.
#[derive(Debug)]
pub(crate) enum Forgets<'a> {
    One(abi::ForgetOne),
    Many(&'a [u8]),
}

impl<'a> Iterator for Forgets<'a> {
    type Item = Request<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let one = match self {
            Self::One(one) => {
                let one = *one;
                *self = Self::Many(&[]);
                one
            }
            Self::Many(bytes) => {
                let (one, rest) = abi::ForgetOne::read_from_prefix(bytes).ok()?;
                *bytes = rest;
                one
            }
        };
        Some(Request {
            node: NodeId(one.nodeid),
            caller: Caller::default(),
            operation: Operation::Forget {
                lookups: one.nlookup,
            },
        })
    }
}

/// Bytes that are no message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The number to answer, where that much could be read.
    pub(crate) unique: Option<u64>,
    /// The opcode, or 0.
    pub(crate) opcode: u32,
}

/// Returns the opcode of a message, or `None` for less than a header.
pub(crate) fn opcode_of(bytes: &[u8]) -> Option<u32> {
    abi::InHeader::read_from_prefix(bytes)
        .ok()
        .map(|(header, _)| header.opcode)
}

/// Returns the thread that a message comes from, 0 where the server's PID namespace has
/// no number for it, or `None` for less than a header.
pub(crate) fn caller_of(bytes: &[u8]) -> Option<u32> {
    abi::InHeader::read_from_prefix(bytes)
        .ok()
        .map(|(header, _)| header.pid)
}

/// Decodes one message; `bytes` is all that one read gave.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (header, body) = abi::InHeader::read_from_prefix(bytes).map_err(|_| Malformed {
        unique: None,
        opcode: 0,
    })?;
    let malformed = Malformed {
        unique: Some(header.unique),
        opcode: header.opcode,
    };
    if header.len as usize != bytes.len() {
        return Err(malformed);
    }
    let message = match header.opcode {
        opcode::FORGET => forget(&header, body).map(Message::Forget),
        opcode::BATCH_FORGET => batch_forget(body).map(Message::Forget),
        opcode::INTERRUPT => Some(Message::Interrupt {
            unique: header.unique,
        }),
        opcode::DESTROY => Some(Message::Destroy {
            unique: header.unique,
        }),
        _ => operation(header.opcode, body).map(|(operation, room)| {
            Message::Ask(Question {
                unique: header.unique,
                room,
                request: Request {
                    node: NodeId(header.nodeid),
                    caller: Caller {
                        uid: header.uid,
                        gid: header.gid,
                    },
                    operation,
                },
            })
        }),
    };
    message.ok_or(malformed)
}

/// Returns the operation and the room for its answer; `None` if the body is too short.
fn operation(code: u32, body: &[u8]) -> Option<(Operation<'_>, usize)> {
    Some(match code {
        opcode::LOOKUP => (Operation::Lookup { name: name(body)? }, 0),
        opcode::GETATTR => (Operation::GetAttr, 0),
        opcode::READLINK => (Operation::ReadLink, LINK_ROOM),
        opcode::READ | opcode::READDIR | opcode::READDIRPLUS => {
            let asked = prefix::<abi::ReadIn>(body)?;
            (reading(code, &asked), asked.size as usize)
        }
        opcode::STATFS => (Operation::StatFs, 0),
        opcode::GETXATTR => {
            let (asked, rest) = abi::GetxattrIn::read_from_prefix(body).ok()?;
            let operation = Operation::GetXattr {
                name: name(rest)?,
                size: asked.size,
            };
            (operation, asked.size as usize)
        }
        opcode::LISTXATTR => {
            let asked = prefix::<abi::GetxattrIn>(body)?;
            (
                Operation::ListXattr { size: asked.size },
                asked.size as usize,
            )
        }
        opcode::ACCESS => (
            Operation::Access {
                mask: prefix::<abi::AccessIn>(body)?.mask,
            },
            0,
        ),
        opcode::LSEEK => (seek(prefix::<abi::LseekIn>(body)?), 0),
        opcode::OPEN | opcode::OPENDIR | opcode::FLUSH | opcode::RELEASE | opcode::RELEASEDIR => {
            (Operation::Nothing, 0)
        }
        opcode::SETATTR
        | opcode::SYMLINK
        | opcode::MKNOD
        | opcode::MKDIR
        | opcode::UNLINK
        | opcode::RMDIR
        | opcode::RENAME
        | opcode::RENAME2
        | opcode::LINK
        | opcode::WRITE
        | opcode::SETXATTR
        | opcode::REMOVEXATTR
        | opcode::CREATE
        | opcode::TMPFILE
        | opcode::FALLOCATE
        | opcode::COPY_FILE_RANGE
        | opcode::COPY_FILE_RANGE_64 => (Operation::Change, 0),
        unknown => (Operation::Unknown { opcode: unknown }, 0),
    })
}

fn reading(code: u32, asked: &abi::ReadIn) -> Operation<'static> {
    let (offset, size) = (asked.offset, asked.size);
    match code {
        opcode::READDIR => Operation::ReadDir { offset },
        opcode::READDIRPLUS => Operation::ReadDirPlus { offset },
        _ => Operation::Read { offset, size },
    }
}

/// The kernel resolves `SEEK_SET`, `SEEK_CUR` and `SEEK_END` itself.
fn seek(asked: abi::LseekIn) -> Operation<'static> {
    let whence = match i32::try_from(asked.whence) {
        Ok(libc::SEEK_DATA) => Whence::Data,
        Ok(libc::SEEK_HOLE) => Whence::Hole,
        _ => {
            return Operation::Unknown {
                opcode: opcode::LSEEK,
            };
        }
    };
    Operation::Seek {
        offset: asked.offset,
        whence,
    }
}

fn forget<'a>(header: &abi::InHeader, body: &[u8]) -> Option<Forgets<'a>> {
    let nlookup = prefix::<abi::ForgetIn>(body)?.nlookup;
    Some(Forgets::One(abi::ForgetOne {
        nodeid: header.nodeid,
        nlookup,
    }))
}

fn batch_forget(body: &[u8]) -> Option<Forgets<'_>> {
    let (batch, rest) = abi::BatchForgetIn::read_from_prefix(body).ok()?;
    let length = (batch.count as usize).checked_mul(size_of::<abi::ForgetOne>())?;
    rest.get(..length).map(Forgets::Many)
}

fn prefix<T: FromBytes + KnownLayout + Immutable>(body: &[u8]) -> Option<T> {
    T::read_from_prefix(body).ok().map(|(value, _)| value)
}

/// Returns the name that ends at the first NUL.
fn name(body: &[u8]) -> Option<&[u8]> {
    let end = body.iter().position(|byte| *byte == 0)?;
    body.get(..end)
}

#[cfg(test)]
mod tests;

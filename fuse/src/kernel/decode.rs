//! Bytes of the kernel to a value, bounds checked; a pure function.
//!
//! Here are the messages; the parts have the operations, by what they are about.

mod attributes;
mod body;
mod files;
mod names;

use tracing::error;
use zerocopy::FromBytes;

use super::abi::{self, opcode};
use crate::{Caller, NodeId, Operation, Request};
use body::Body;

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
    /// What the kernel asked, where the same operation has two forms of answer.
    pub(crate) opcode: u32,
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

impl Malformed {
    /// Tells of it.
    pub(crate) fn report(self) {
        error!(
            opcode = self.opcode,
            "a message of the kernel has the wrong length"
        );
    }
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
    decode_parts(&header, body, &[])
}

/// Decodes one message whose body lies in two places.
pub(crate) fn decode_parts<'a>(
    header: &abi::InHeader,
    first: &'a [u8],
    rest: &'a [u8],
) -> Result<Message<'a>, Malformed> {
    let malformed = Malformed {
        unique: Some(header.unique),
        opcode: header.opcode,
    };
    if header.len as usize != size_of::<abi::InHeader>() + first.len() + rest.len() {
        return Err(malformed);
    }
    let body = || Body::new(first, rest);
    let message = match header.opcode {
        opcode::FORGET => forget(header, &mut body()).map(Message::Forget),
        opcode::BATCH_FORGET => batch_forget(&mut body()).map(Message::Forget),
        opcode::INTERRUPT => Some(Message::Interrupt {
            unique: header.unique,
        }),
        opcode::DESTROY => Some(Message::Destroy {
            unique: header.unique,
        }),
        code => operation(code, &mut body()).map(|operation| {
            Message::Ask(Question {
                unique: header.unique,
                opcode: code,
                room: room(code, &mut body()).unwrap_or(0),
                request: Request {
                    node: NodeId(header.nodeid),
                    caller: Caller {
                        uid: header.uid,
                        gid: header.gid,
                        pid: header.pid,
                    },
                    operation,
                },
            })
        }),
    };
    message.ok_or(malformed)
}

/// Returns the operation; `None` if the body is too short.
fn operation<'a>(code: u32, body: &mut Body<'a>) -> Option<Operation<'a>> {
    match code {
        opcode::LOOKUP => Some(Operation::Lookup { name: body.name()? }),
        opcode::GETATTR => Some(Operation::GetAttr),
        opcode::SETATTR => attributes::setattr(body),
        opcode::READLINK => Some(Operation::ReadLink),
        opcode::SYMLINK => names::symlink(body),
        opcode::MKNOD => names::mknod(body),
        opcode::MKDIR => names::mkdir(body),
        opcode::UNLINK => Some(Operation::Unlink { name: body.name()? }),
        opcode::RMDIR => Some(Operation::RmDir { name: body.name()? }),
        opcode::RENAME => names::rename(body),
        opcode::RENAME2 => names::rename2(body),
        opcode::LINK => names::link(body),
        opcode::OPEN => files::open(body),
        opcode::CREATE => names::create(body),
        opcode::TMPFILE => names::tmpfile(body),
        opcode::RELEASE => Some(Operation::Release),
        opcode::READ => files::read(body),
        opcode::WRITE => files::write(body),
        opcode::FSYNC => files::fsync(body),
        opcode::FSYNCDIR => Some(Operation::FsyncDir),
        opcode::SYNCFS => Some(Operation::SyncFs),
        opcode::FALLOCATE => files::fallocate(body),
        opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => files::copy_file_range(code, body),
        opcode::READDIR => files::readdir(body),
        opcode::READDIRPLUS => files::readdirplus(body),
        opcode::STATFS => Some(Operation::StatFs),
        opcode::GETXATTR => attributes::getxattr(body),
        opcode::LISTXATTR => attributes::listxattr(body),
        opcode::SETXATTR => attributes::setxattr(body),
        opcode::REMOVEXATTR => Some(Operation::RemoveXattr { name: body.name()? }),
        opcode::ACCESS => attributes::access(body),
        opcode::LSEEK => files::lseek(body),
        opcode::IOCTL => files::ioctl(body),
        opcode::OPENDIR => Some(Operation::OpenDir),
        opcode::RELEASEDIR | opcode::FLUSH => Some(Operation::Nothing),
        // All that it tells beside GETATTR is a time of birth. Refused once, it is not asked
        // again; answered, whoever wants that time too, as every program in Rust does, would
        // ask for each file although the kernel has the rest.
        opcode::STATX => Some(Operation::Unknown {
            opcode: opcode::STATX,
        }),
        unknown => Some(Operation::Unknown { opcode: unknown }),
    }
}

/// Returns how many bytes the caller takes, for operations whose answer has no fixed size.
fn room(code: u32, body: &mut Body<'_>) -> Option<usize> {
    let size = match code {
        opcode::READLINK => return Some(LINK_ROOM),
        opcode::READ | opcode::READDIR | opcode::READDIRPLUS => {
            body.structure::<abi::ReadIn>()?.size
        }
        opcode::GETXATTR | opcode::LISTXATTR => body.structure::<abi::GetxattrIn>()?.size,
        opcode::IOCTL => body.structure::<abi::IoctlIn>()?.out_size,
        _ => 0,
    };
    usize::try_from(size).ok()
}

fn forget<'a>(header: &abi::InHeader, body: &mut Body<'_>) -> Option<Forgets<'a>> {
    let nlookup = body.structure::<abi::ForgetIn>()?.nlookup;
    Some(Forgets::One(abi::ForgetOne {
        nodeid: header.nodeid,
        nlookup,
    }))
}

fn batch_forget<'a>(body: &mut Body<'a>) -> Option<Forgets<'a>> {
    let batch = body.structure::<abi::BatchForgetIn>()?;
    let one = u32::try_from(size_of::<abi::ForgetOne>()).ok()?;
    body.bytes(batch.count.checked_mul(one)?).map(Forgets::Many)
}

#[cfg(test)]
mod tests;

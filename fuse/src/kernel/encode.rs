//! An answer of the view to bytes of the kernel; a pure function but for the log
//! line of a damaged layer.

use std::time::Duration;

use rustix::io::Errno;
use tracing::{error, warn};
use zerocopy::{Immutable, IntoBytes};

use super::abi::{self, fopen, opcode};
use super::decode::Question;
use super::listing;
use crate::{Attr, Entry, Error, Opened, Operation, Reply, Result, Segment, StatFs};

/// The longest that the kernel is told to keep something, in seconds: 136 years, which its
/// conversion to ticks takes without overflow.
const FOR_EVER: u64 = u32::MAX as u64;

/// How long the kernel may keep names and attributes, also of what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    seconds: u64,
    nanoseconds: u32,
}

impl From<Duration> for Validity {
    fn from(timeout: Duration) -> Self {
        let timeout = timeout.min(Duration::from_secs(FOR_EVER));
        Self {
            seconds: timeout.as_secs(),
            nanoseconds: timeout.subsec_nanos(),
        }
    }
}

/// The bytes of an out header.
const HEADER: usize = size_of::<abi::OutHeader>();

/// Encodes the answer to `question` into `head`, and returns the file contents that
/// follow `head`, or `None` where nothing is to be sent.
pub(crate) fn encode<'r>(
    question: &Question<'_>,
    answer: Result<Reply<'r>>,
    validity: Validity,
    head: &mut Vec<u8>,
) -> Option<Vec<Segment<'r>>> {
    start(head);
    let outcome = answer.map_err(|error| errno_of(&error)).and_then(|reply| {
        if matches!(reply, Reply::Silent) {
            return Ok(None);
        }
        body(question, reply, validity, head).map(Some)
    });
    match outcome {
        Ok(None) => None,
        Ok(Some(data)) => {
            let length = data.iter().map(Segment::len).sum();
            finish(question.unique, length, head);
            Some(data)
        }
        Err(errno) => {
            encode_error(question.unique, errno, head);
            Some(Vec::new())
        }
    }
}

/// Encodes a refusal.
pub(crate) fn encode_error(unique: u64, errno: Errno, head: &mut Vec<u8>) {
    head.clear();
    let length = u32::try_from(HEADER).unwrap_or(u32::MAX);
    push(
        head,
        &abi::OutHeader {
            len: length,
            error: -errno.raw_os_error(),
            unique,
        },
    );
}

/// Encodes that all went well, with nothing more to say.
pub(crate) fn encode_done(unique: u64, head: &mut Vec<u8>) {
    start(head);
    finish(unique, 0, head);
}

/// Returns the errno for the caller, and logs what is no ordinary refusal.
fn errno_of(error: &Error) -> Errno {
    let errno = error.errno();
    match error {
        Error::Refused(_) => {}
        Error::System { source, .. } => warn!("{error}: {source}"),
        _ => error!("{error}"),
    }
    errno
}

fn body<'r>(
    question: &Question<'_>,
    reply: Reply<'r>,
    validity: Validity,
    head: &mut Vec<u8>,
) -> std::result::Result<Vec<Segment<'r>>, Errno> {
    match reply {
        Reply::Entry(entry) => push(head, &entry_out(&entry, validity)),
        Reply::Fleeting(entry) => push(head, &fleeting(&entry, validity)),
        Reply::Absent => push(head, &absent(validity)),
        Reply::Attr(attr) => push(head, &attr_and_validity(&attr, validity)),
        Reply::Bytes(bytes) => {
            if bytes.len() > question.room {
                return Err(too_long(question.request.operation));
            }
            head.extend_from_slice(&bytes);
        }
        Reply::Length(size) => push(head, &abi::GetxattrOut { size, padding: 0 }),
        Reply::Data(data) => {
            if data.iter().map(Segment::len).sum::<usize>() > question.room {
                return Err(Errno::IO);
            }
            return Ok(data);
        }
        Reply::Listing(entries) => {
            let with_nodes = matches!(question.request.operation, Operation::ReadDirPlus { .. });
            let with_nodes = with_nodes.then_some(validity);
            listing::pack(entries, with_nodes, question.room, head)
                .map_err(|error| errno_of(&error))?;
        }
        Reply::StatFs(statfs) => push(head, &statfs_out(&statfs)),
        Reply::Offset(offset) => push(head, &abi::LseekOut { offset }),
        Reply::Opened(opened) if question.opcode == opcode::OPENDIR => {
            push(head, &open_directory_out(opened));
        }
        Reply::Opened(opened) => push(head, &open_out(opened)),
        Reply::Created(entry, opened) => {
            push(head, &entry_out(&entry, validity));
            push(head, &open_out(opened));
        }
        Reply::Written(count) => push_count(question.opcode, count, head)?,
        Reply::Ioctl { result, output } => {
            if output.len() > question.room {
                return Err(Errno::IO);
            }
            push(head, &ioctl_out(result));
            head.extend_from_slice(&output);
        }
        Reply::Done | Reply::Silent => {}
    }
    Ok(Vec::new())
}

/// What a caller learns when an answer of bytes does not fit.
fn too_long(operation: Operation<'_>) -> Errno {
    match operation {
        Operation::ReadLink => Errno::NAMETOOLONG,
        _ => Errno::RANGE,
    }
}

/// Pushes a number of bytes written or copied, in as many bits as the kernel reads.
fn push_count(code: u32, count: u64, head: &mut Vec<u8>) -> std::result::Result<(), Errno> {
    if code == opcode::COPY_FILE_RANGE_64 {
        let bytes_copied = count;
        push(head, &abi::CopyFileRangeOut { bytes_copied });
        return Ok(());
    }
    let size = u32::try_from(count).map_err(|_| Errno::IO)?;
    push(head, &abi::WriteOut { size, padding: 0 });
    Ok(())
}

/// The kernel refuses to pass through where pages of its own are to be kept
/// (`FOPEN_PASSTHROUGH_MASK`): what it reads and writes by itself, it does not cache twice.
fn open_out(opened: Opened) -> abi::OpenOut {
    let open_flags = match opened {
        Opened {
            backing: Some(_), ..
        } => fopen::PASSTHROUGH,
        Opened {
            keep_cache: true, ..
        } => fopen::KEEP_CACHE,
        Opened { .. } => 0,
    };
    abi::OpenOut {
        fh: 0,
        open_flags,
        backing_id: opened.backing.unwrap_or(0),
    }
}

/// A listing is only kept where both flags say so.
fn open_directory_out(opened: Opened) -> abi::OpenOut {
    abi::OpenOut {
        fh: 0,
        open_flags: if opened.keep_cache {
            fopen::KEEP_CACHE | fopen::CACHE_DIR
        } else {
            0
        },
        backing_id: 0,
    }
}

fn ioctl_out(result: i32) -> abi::IoctlOut {
    abi::IoctlOut {
        result,
        flags: 0,
        in_iovs: 0,
        out_iovs: 0,
    }
}

/// Returns the kernel's form of an entry.
pub(crate) fn entry_out(entry: &Entry, validity: Validity) -> abi::EntryOut {
    abi::EntryOut {
        nodeid: entry.node.0,
        generation: 0,
        entry_valid: validity.seconds,
        attr_valid: validity.seconds,
        entry_valid_nsec: validity.nanoseconds,
        attr_valid_nsec: validity.nanoseconds,
        attr: attr_out(&entry.attr),
    }
}

/// Returns the form of an entry whose name may stand for something else the next time.
fn fleeting(entry: &Entry, validity: Validity) -> abi::EntryOut {
    abi::EntryOut {
        entry_valid: 0,
        entry_valid_nsec: 0,
        ..entry_out(entry, validity)
    }
}

fn attr_and_validity(attr: &Attr, validity: Validity) -> abi::AttrOut {
    abi::AttrOut {
        attr_valid: validity.seconds,
        attr_valid_nsec: validity.nanoseconds,
        dummy: 0,
        attr: attr_out(attr),
    }
}

/// A node number of 0 tells the kernel to remember that the name is absent.
fn absent(validity: Validity) -> abi::EntryOut {
    abi::EntryOut {
        entry_valid: validity.seconds,
        entry_valid_nsec: validity.nanoseconds,
        ..abi::EntryOut::default()
    }
}

fn attr_out(attr: &Attr) -> abi::Attr {
    abi::Attr {
        ino: attr.ino.0,
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.seconds.cast_unsigned(),
        mtime: attr.mtime.seconds.cast_unsigned(),
        ctime: attr.ctime.seconds.cast_unsigned(),
        atimensec: attr.atime.nanoseconds,
        mtimensec: attr.mtime.nanoseconds,
        ctimensec: attr.ctime.nanoseconds,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: 4096,
        flags: 0,
    }
}

fn statfs_out(statfs: &StatFs) -> abi::Kstatfs {
    abi::Kstatfs {
        blocks: statfs.blocks,
        bfree: statfs.blocks_free,
        bavail: statfs.blocks_available,
        files: statfs.files,
        ffree: statfs.files_free,
        bsize: statfs.block_size,
        namelen: statfs.name_length,
        frsize: statfs.block_size,
        padding: 0,
        spare: [0; 6],
    }
}

/// Leaves room for the header, whose length is known at the end.
fn start(head: &mut Vec<u8>) {
    head.clear();
    head.resize(HEADER, 0);
}

fn finish(unique: u64, data: usize, head: &mut [u8]) {
    let len = u32::try_from(head.len().saturating_add(data)).unwrap_or(u32::MAX);
    let header = abi::OutHeader {
        len,
        error: 0,
        unique,
    };
    if let Some(start) = head.get_mut(..HEADER) {
        start.copy_from_slice(header.as_bytes());
    }
}

fn push(head: &mut Vec<u8>, value: &(impl IntoBytes + Immutable)) {
    head.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests;

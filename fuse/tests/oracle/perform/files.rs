//! Operations on open files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    Advice, FileType, OFlags, SeekFrom, copy_file_range, fadvise, fallocate, fstat, fsync, openat,
    seek,
};
use rustix::io::{Errno, pread, pwrite, read, write};

use super::done;
use crate::operation::{Octal, Operation, Place, Slot};
use crate::side::{Answer, Outcome, Side};
use crate::stack::pattern;
use crate::sys;

pub(super) fn perform(side: &mut Side, operation: &Operation) -> Outcome {
    match operation {
        Operation::Open {
            slot,
            at,
            flags,
            mode,
        } => open(side, *slot, at, *flags, *mode),
        Operation::Close { slot } => match side.table[*slot].take() {
            Some(_) => Ok(Answer::Done),
            None => Err(Errno::BADF),
        },
        Operation::Read { slot, length } => {
            let mut bytes = vec![0; *length];
            let count = read(side.file(*slot)?, &mut bytes)?;
            bytes.truncate(count);
            Ok(Answer::Bytes(bytes))
        }
        Operation::ReadAt {
            slot,
            offset,
            length,
        } => {
            let mut bytes = vec![0; *length];
            let count = pread(side.file(*slot)?, &mut bytes, *offset)?;
            bytes.truncate(count);
            Ok(Answer::Bytes(bytes))
        }
        Operation::Write { slot, byte, length } => {
            let bytes = pattern(*byte, 0, *length);
            write(side.file(*slot)?, &bytes).map(Answer::Count)
        }
        Operation::WriteAt {
            slot,
            byte,
            offset,
            length,
        } => {
            let bytes = pattern(*byte, *offset, *length);
            pwrite(side.file(*slot)?, &bytes, *offset).map(Answer::Count)
        }
        operation => without_buffer(side, operation),
    }
}

fn without_buffer(side: &Side, operation: &Operation) -> Outcome {
    match operation {
        Operation::Allocate {
            slot,
            mode,
            offset,
            length,
        } => done(fallocate(side.file(*slot)?, *mode, *offset, *length)),
        Operation::Copy {
            from,
            offset,
            to,
            to_offset,
            length,
        } => {
            let (mut from_at, mut to_at) = (*offset, *to_offset);
            let (from, to) = (side.file(*from)?, side.file(*to)?);
            let count = copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), *length);
            count.map(Answer::Count)
        }
        Operation::Seek {
            slot,
            is_hole,
            offset,
        } => find(side.file(*slot)?, *is_hole, *offset),
        Operation::MapWrite { slot, page, byte } => map_write(side.file(*slot)?, *page, *byte),
        Operation::Sync { slot, data_only } => {
            let file = side.file(*slot)?;
            done(if *data_only {
                rustix::fs::fdatasync(file)
            } else {
                fsync(file)
            })
        }
        Operation::Evict { slot } => {
            let file = side.file(*slot)?;
            done(fadvise(file, 0, None, Advice::DontNeed))
        }
        operation => unreachable!("{operation:?}"),
    }
}

/// Opens a file, without waiting for the other end of a pipe.
fn open(side: &mut Side, slot: Slot, at: &Place, flags: OFlags, mode: Octal) -> Outcome {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mode = rustix::fs::Mode::from_raw_mode(mode.0);
    let file = openat(side.base(at)?, at.path(), flags, mode)?;
    side.table[slot] = Some(file);
    Ok(Answer::Done)
}

/// Asks for data or a hole. Where they begin depends on how the file was written and
/// copied, so the answer is checked against the contents, not against the other side.
fn find(file: &OwnedFd, is_hole: bool, offset: u64) -> Outcome {
    if FileType::from_raw_mode(fstat(file)?.st_mode) != FileType::RegularFile {
        return Ok(Answer::Done);
    }
    let whence = if is_hole {
        SeekFrom::Hole(offset)
    } else {
        SeekFrom::Data(offset)
    };
    let size = fstat(file)?.st_size.cast_unsigned();
    let found = seek(file, whence);
    seek(file, SeekFrom::Start(offset))?;
    let are_zeros = |end: u64| {
        Ok(range(file.as_fd(), offset, end)?
            .iter()
            .all(|byte| *byte == 0))
    };
    let is_right = match found {
        Err(Errno::NXIO) if offset >= size => return Err(Errno::NXIO),
        Err(Errno::NXIO) => !is_hole && unreadable_or(are_zeros(size))?,
        Err(errno) => return Err(errno),
        Ok(end) if is_hole => end >= offset && end <= size,
        Ok(end) => end >= offset && end < size && unreadable_or(are_zeros(end))?,
    };
    Ok(if is_right {
        Answer::Done
    } else {
        let whence = if is_hole { "hole" } else { "data" };
        Answer::Wrong(format!("{whence} after {offset} of {size} at {found:?}"))
    })
}

/// What cannot be read cannot be checked.
fn unreadable_or(checked: Result<bool, Errno>) -> Result<bool, Errno> {
    match checked {
        Err(Errno::BADF) => Ok(true),
        checked => checked,
    }
}

/// Reads from one offset to another.
fn range(file: BorrowedFd<'_>, start: u64, end: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    let mut filled = 0;
    while filled < bytes.len() {
        match pread(file, &mut bytes[filled..], start + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(bytes)
}

/// Writes the bytes of one page that lie within the file.
fn map_write(file: &OwnedFd, page: u64, byte: u8) -> Outcome {
    let stat = fstat(file)?;
    let (first, size) = (page * 4096, stat.st_size.cast_unsigned());
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || first >= size {
        return Ok(Answer::Count(0));
    }
    let bytes = pattern(byte, first, (size - first).min(4096));
    sys::write_mapped(file.as_fd(), first, &bytes).map(Answer::Count)
}

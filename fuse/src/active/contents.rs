//! Contents of files: where a node reads and writes, and how contents are copied.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::copy_up::Contents;
use super::files::refuse_unless_regular;
use super::node::{Node, Presence};
use super::{ActiveView, asked};
use crate::sys;
use crate::view::{Data, read_fully};
use crate::{Caller, Error, NodeId, Operation, Reply, Request, Result, Segment, Whence};

/// The most bytes that one call copies.
const PIECE: u64 = 1 << 30;
/// Runs of at least so many bytes are copied out of a map, that many at once.
const MAPPED_PIECE: usize = 1 << 20;

impl ActiveView {
    /// Answers a read.
    pub(super) fn read(&self, id: NodeId, offset: u64, size: u32) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        refuse_unless_regular(&node)?;
        if let Some(lower) = contents_below(&node) {
            return self
                .lower
                .answer(&asked(lower, Operation::Read { offset, size }));
        }
        let bytes = read_fully(&self.file(&node)?.0, offset, size as usize)?;
        Ok(Reply::Data(if bytes.is_empty() {
            Vec::new()
        } else {
            vec![Segment::Owned(bytes)]
        }))
    }

    /// Answers a write.
    pub(super) fn write(
        &self,
        request: &Request<'_>,
        offset: u64,
        data: &[u8],
        kill_privileges: bool,
    ) -> Result<Reply<'_>> {
        let node = self.node(request.node)?;
        self.copy_up(&node, Contents::ALL)?;
        let file = self.file(&node)?;
        if kill_privileges {
            self.kill_privileges(&node, request.caller)?;
        }
        let mut written = 0;
        while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pwrite(file.fd(), rest, offset.saturating_add(written as u64)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(count) => written += count,
                // What was written is said; the next write meets the error again.
                Err(_) if written > 0 => break,
                // It got a flag since it was opened.
                Err(Errno::BADF) => return Err(Error::Refused(Errno::PERM)),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Reply::Written(written as u64))
    }

    /// Answers `fallocate`.
    pub(super) fn allocate(
        &self,
        id: NodeId,
        offset: u64,
        length: u64,
        mode: u32,
        caller: Caller,
    ) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        refuse_unless_regular(&node)?;
        self.copy_up(&node, Contents::ALL)?;
        // The kernel does not say so with this request as it does with a write.
        if caller.uid != 0 {
            self.kill_privileges(&node, caller)?;
        }
        let mode = FallocateFlags::from_bits_retain(mode);
        rustix::fs::fallocate(self.file(&node)?.fd(), mode, offset, length)?;
        Ok(Reply::Done)
    }

    /// Answers `copy_file_range`.
    pub(super) fn copy_range(
        &self,
        (from, mut offset): (NodeId, u64),
        (to, mut to_offset): (NodeId, u64),
        length: u64,
        caller: Caller,
    ) -> Result<Reply<'_>> {
        let (from, to) = (self.node(from)?, self.node(to)?);
        refuse_unless_regular(&from)?;
        refuse_unless_regular(&to)?;
        self.copy_up(&to, Contents::ALL)?;
        if caller.uid != 0 {
            self.kill_privileges(&to, caller)?;
        }
        let target = self.file(&to)?;
        let length = usize::try_from(length.min(PIECE)).unwrap_or(usize::MAX);
        let mut copy = |source: &dyn AsFd| {
            rustix::fs::copy_file_range(
                source.as_fd(),
                Some(&mut offset),
                target.fd(),
                Some(&mut to_offset),
                length,
            )
        };
        let copied = match contents_below(&from) {
            None => copy(&self.file(&from)?.0)?,
            Some(lower) => match self.lower.file_of(lower)? {
                Some(file) => copy(&file)?,
                // The kernel then reads and writes by itself.
                None => return Err(Error::Refused(Errno::XDEV)),
            },
        };
        Ok(Reply::Written(copied as u64))
    }

    /// Answers a search for data or a hole.
    pub(super) fn seek(&self, id: NodeId, offset: u64, whence: Whence) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        refuse_unless_regular(&node)?;
        let Some(lower) = contents_below(&node) else {
            let from = match whence {
                Whence::Data => SeekFrom::Data(offset),
                Whence::Hole => SeekFrom::Hole(offset),
            };
            // Reads say where they read, so the file's own position is nobody's.
            return Ok(Reply::Offset(rustix::fs::seek(
                self.file(&node)?.fd(),
                from,
            )?));
        };
        match self
            .lower
            .answer(&asked(lower, Operation::Seek { offset, whence }))
        {
            // Layers without holes say so for all files, which the upper may not be held to.
            Err(Error::Refused(Errno::NOSYS)) => {
                let size = self.lower_attr(lower)?.size;
                match whence {
                    _ if offset >= size => Err(Error::Refused(Errno::NXIO)),
                    Whence::Data => Ok(Reply::Offset(offset)),
                    Whence::Hole => Ok(Reply::Offset(size)),
                }
            }
            answer => answer,
        }
    }

    /// Copies the contents of a file of the layers below up to an offset. Holes stay holes.
    pub(super) fn copy_contents(&self, lower: NodeId, to: &OwnedFd, limit: u64) -> Result<()> {
        match self.lower.open_data(lower)? {
            Data::File(from) => copy_file(&from, to, limit)?,
            Data::Extents { file, extents } => {
                for extent in extents.iter().filter(|extent| extent.logical < limit) {
                    let length = extent.length.min(limit - extent.logical);
                    copy_run(&file, extent.offset, to, extent.logical, length)?;
                }
            }
        }
        // A hole at the end leaves the file short.
        if rustix::fs::fstat(to)?.st_size.cast_unsigned() < limit {
            rustix::fs::ftruncate(to, limit)?;
        }
        Ok(())
    }
}

/// Returns the node below that has the contents of a node.
fn contents_below(node: &Node) -> Option<NodeId> {
    let state = node.state();
    match state.presence {
        Presence::Upper(_) => None,
        Presence::Lower | Presence::Metadata(_) => state.lower(),
    }
}

/// Copies what a file has before `limit`: the whole by sharing its blocks where the file
/// system can, else each run of data.
fn copy_file(from: &OwnedFd, to: &OwnedFd, limit: u64) -> Result<()> {
    let size = rustix::fs::fstat(from)?.st_size.cast_unsigned();
    if limit >= size && rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let end = size.min(limit);
    let mut at = 0;
    while at < end {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Only a hole is left.
            Err(Errno::NXIO) => return Ok(()),
            // The file system finds no holes.
            Err(Errno::INVAL) => return copy_run(from, at, to, at, end - at),
            Err(errno) => return Err(errno.into()),
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(end);
        if data < hole {
            copy_run(from, data, to, data, hole - data)?;
        }
        at = hole.max(data);
    }
    Ok(())
}

/// Copies a run of bytes: a long one out of a map, since from file to file the kernel goes
/// page by page through a pipe (`splice_file_range`), which takes half as long again.
fn copy_run(
    from: impl AsFd,
    from_offset: u64,
    to: &OwnedFd,
    to_offset: u64,
    length: u64,
) -> Result<()> {
    if length >= MAPPED_PIECE as u64 && copy_mapped(&from, from_offset, to, to_offset, length)? {
        return Ok(());
    }
    copy_in_kernel(from, from_offset, to, to_offset, length)
}

/// Copies a run out of a map of the file, of which nothing is touched here; returns `false`
/// where it cannot be mapped or is too short.
fn copy_mapped(
    from: impl AsFd,
    from_offset: u64,
    to: &OwnedFd,
    mut to_offset: u64,
    length: u64,
) -> Result<bool> {
    let Ok(map) = sys::map(from.as_fd()) else {
        return Ok(false);
    };
    let range = usize::try_from(from_offset)
        .ok()
        .zip(usize::try_from(length).ok());
    let run = range.and_then(|(start, length)| map.get(start..start.checked_add(length)?));
    let Some(run) = run else {
        return Ok(false);
    };
    for piece in run.chunks(MAPPED_PIECE) {
        write_fully(to, piece, to_offset)?;
        to_offset += piece.len() as u64;
    }
    Ok(true)
}

fn copy_in_kernel(
    from: impl AsFd,
    mut from_offset: u64,
    to: &OwnedFd,
    mut to_offset: u64,
    mut length: u64,
) -> Result<()> {
    while length > 0 {
        let piece = usize::try_from(length.min(PIECE)).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(
            &from,
            Some(&mut from_offset),
            to,
            Some(&mut to_offset),
            piece,
        );
        match copied {
            // Shorter than its layer says.
            Ok(0) => return Err(Error::Refused(Errno::IO)),
            Ok(copied) => length -= copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(&from, from_offset, to, to_offset, length);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(
    from: impl AsFd,
    mut from_offset: u64,
    to: &OwnedFd,
    mut to_offset: u64,
    mut length: u64,
) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    while length > 0 {
        let room = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(piece) = buffer.get_mut(..room) else {
            break;
        };
        let count = match rustix::io::pread(&from, &mut *piece, from_offset) {
            Ok(0) => return Err(Error::Refused(Errno::IO)),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        write_fully(to, piece.get(..count).unwrap_or_default(), to_offset)?;
        to_offset += count as u64;
        from_offset += count as u64;
        length -= count as u64;
    }
    Ok(())
}

fn write_fully(to: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(to, bytes, offset) {
            // A page of a map that its file no longer has.
            Err(Errno::FAULT) => return Err(Error::Refused(Errno::IO)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
        }
    }
    Ok(())
}

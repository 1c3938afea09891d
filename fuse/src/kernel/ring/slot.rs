//! The buffer of one entry: a request comes in it, and its answer goes out in it.

use std::os::fd::BorrowedFd;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use zerocopy::FromBytes;

use crate::Segment;
use crate::kernel::abi::{InHeader, OutHeader, RingHeader};
use crate::kernel::decode::{Malformed, Message, decode_parts};

/// What the header takes; the payload begins at a page of its own.
const HEADER_PAGE: usize = 4096;

/// The bytes of an out header.
const OUT: usize = size_of::<OutHeader>();

/// One buffer. It lies in a file in memory, so that contents of mapped files are copied by
/// the kernel, with an errno where a page of them cannot be read.
#[derive(Debug)]
pub(crate) struct Slot<'m> {
    header: &'m mut RingHeader,
    payload: &'m mut [u8],
    memory: BorrowedFd<'m>,
    /// Where the payload lies in `memory`.
    place: u64,
    queue: u16,
    number: usize,
}

impl<'m> Slot<'m> {
    /// Returns how far apart slots with such a payload lie.
    pub(crate) fn stride(payload: usize) -> usize {
        HEADER_PAGE + payload
    }

    /// Returns the slot of these bytes, which lie at `place` in the file; `number` tells it
    /// from others of its thread.
    pub(crate) fn new(
        bytes: &'m mut [u8],
        (memory, place): (BorrowedFd<'m>, u64),
        queue: usize,
        number: usize,
    ) -> Option<Self> {
        let (header, payload) = bytes.split_at_mut_checked(HEADER_PAGE)?;
        let (header, _) = RingHeader::mut_from_prefix(header).ok()?;
        Some(Self {
            header,
            payload,
            memory,
            place: place + HEADER_PAGE as u64,
            queue: u16::try_from(queue).ok()?,
            number,
        })
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn queue(&self) -> u16 {
        self.queue
    }

    /// Returns the name under which the kernel takes the answer to this request.
    pub(crate) fn commit_id(&self) -> u64 {
        self.header.ring_ent_in_out.commit_id
    }

    /// Returns address and length of header and payload, for the kernel.
    pub(crate) fn addresses(&mut self) -> [usize; 4] {
        [
            std::ptr::from_mut(self.header).expose_provenance(),
            size_of::<RingHeader>(),
            self.payload.as_mut_ptr().expose_provenance(),
            self.payload.len(),
        ]
    }

    /// Returns the header of the request.
    pub(crate) fn in_header(&self) -> Option<InHeader> {
        let (header, _) = InHeader::read_from_prefix(&self.header.in_out).ok()?;
        Some(header)
    }

    /// Returns how many bytes of the payload the request, or the answer, takes.
    pub(crate) fn used(&self) -> usize {
        self.header.ring_ent_in_out.payload_sz as usize
    }

    /// Decodes the request.
    pub(crate) fn message(&self) -> Result<Message<'_>, Malformed> {
        let header = self.in_header().ok_or(Malformed {
            unique: None,
            opcode: 0,
        })?;
        let parts = || {
            let rest = self.payload.get(..self.used())?;
            let body = (header.len as usize).checked_sub(size_of::<InHeader>())?;
            let first = self.header.op_in.get(..body.checked_sub(rest.len())?)?;
            Some((first, rest))
        };
        let (first, rest) = parts().ok_or(Malformed {
            unique: Some(header.unique),
            opcode: header.opcode,
        })?;
        decode_parts(&header, first, rest)
    }

    /// Puts an answer in the place of the request: `head`, that begins with the out header,
    /// and the contents after it. `EFAULT` if bytes of a mapped file could not be read.
    pub(crate) fn fill(&mut self, head: &[u8], data: &[Segment<'_>]) -> Result<(), Errno> {
        let (out, body) = head.split_at_checked(OUT).ok_or(Errno::INVAL)?;
        if let Some(place) = self.header.in_out.get_mut(..OUT) {
            place.copy_from_slice(out);
        }
        let mut at = 0;
        put(self.payload, &mut at, body.len(), |place| {
            place.copy_from_slice(body);
        })?;
        for segment in data {
            match segment {
                Segment::Owned(bytes) => put(self.payload, &mut at, bytes.len(), |place| {
                    place.copy_from_slice(bytes);
                })?,
                Segment::Zeros(length) => put(self.payload, &mut at, *length, |place| {
                    place.fill(0);
                })?,
                Segment::Mapped(bytes) => self.put_mapped(&mut at, bytes)?,
            }
        }
        let used = u32::try_from(at).map_err(|_| Errno::TOOBIG)?;
        self.header.ring_ent_in_out.payload_sz = used;
        Ok(())
    }

    /// Has the kernel copy the bytes: a page that is not there any more would end this
    /// process if it were read here.
    fn put_mapped(&mut self, at: &mut usize, mut bytes: &[u8]) -> Result<(), Errno> {
        if self.payload.len().saturating_sub(*at) < bytes.len() {
            return Err(Errno::TOOBIG);
        }
        while !bytes.is_empty() {
            let done = rustix::io::pwrite(self.memory, bytes, self.place + *at as u64)?;
            bytes = bytes.get(done..).unwrap_or_default();
            *at += done;
        }
        Ok(())
    }

    /// Returns where the payload lies.
    pub(crate) fn extent(&self) -> Extent<'m> {
        Extent {
            memory: self.memory,
            place: self.place,
            length: self.payload.len(),
        }
    }
}

/// Where the payload of a slot lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent<'m> {
    memory: BorrowedFd<'m>,
    place: u64,
    length: usize,
}

impl Extent<'_> {
    /// Gives the memory beyond the first bytes back.
    pub(crate) fn shrink(self, keep: usize) -> Result<(), Errno> {
        let length = self.length.saturating_sub(keep) as u64;
        if length == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(self.memory, flags, self.place + keep as u64, length)
    }
}

/// Writes to the next so many bytes of the payload.
fn put(
    payload: &mut [u8],
    at: &mut usize,
    length: usize,
    write: impl FnOnce(&mut [u8]),
) -> Result<(), Errno> {
    let end = at.checked_add(length).ok_or(Errno::TOOBIG)?;
    write(payload.get_mut(*at..end).ok_or(Errno::TOOBIG)?);
    *at = end;
    Ok(())
}

#[cfg(test)]
mod tests;

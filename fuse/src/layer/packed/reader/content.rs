//! Contents of files: slices of the mapped data, and holes.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use memmap2::{Advice, Mmap};
use rustix::io::Errno;

use super::{DATA, InodeIndex, InodeRecord, PackedLayer, SectionKind, open, split};
use crate::layer::packed::format::{ExtentRecord, flag};
use crate::{Error, FileType, Result, Segment, Whence, sys};

/// Bytes of a file that [`PackedLayer::will_need`] reads ahead at most.
const AHEAD_LIMIT: u64 = 128 << 10;

/// A run of a file's bytes in the data of its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it starts in the file.
    pub(crate) logical: u64,
    /// Where it starts in the data.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// Where the bytes of a file lie.
enum Place<'a> {
    Piece {
        offset: u64,
        size: u64,
    },
    Parts {
        extents: &'a [ExtentRecord],
        size: u64,
    },
}

impl PackedLayer {
    /// Returns the bytes of a regular file from `offset` on: `size` of them, or fewer at
    /// the end of the file. They are slices of the mapped data, which this does not
    /// touch, and holes. `EISDIR` for a directory, `EINVAL` for other inodes.
    pub fn read(&self, index: InodeIndex, offset: u64, size: usize) -> Result<Vec<Segment<'_>>> {
        let place = self.place(index)?;
        let end = offset.saturating_add(size as u64).min(place.size());
        let mut segments = Vec::new();
        if offset >= end {
            return Ok(segments);
        }
        let extents = match place {
            Place::Piece { offset: start, .. } => {
                let slice = self.slice(index, start.checked_add(offset), end - offset)?;
                segments.push(Segment::Mapped(slice));
                return Ok(segments);
            }
            Place::Parts { extents, .. } => extents,
        };
        let mut at = offset;
        for extent in from(extents, offset) {
            let part = self.part(index, extent)?;
            if part.start >= end {
                break;
            }
            if at < part.start {
                segments.push(zeros(part.start - at)?);
                at = part.start;
            }
            let (skip, until) = (at.checked_sub(part.start), part.end.min(end));
            let (Some(skip), true) = (skip, until > at) else {
                return Err(self.corrupt(index, "extents are not in order"));
            };
            let start = extent.offset.get().checked_add(skip);
            segments.push(Segment::Mapped(self.slice(index, start, until - at)?));
            at = until;
        }
        if at < end {
            segments.push(zeros(end - at)?);
        }
        Ok(segments)
    }

    /// Returns the next offset at or after `offset` that holds data or begins a hole;
    /// the end of the file is one. `ENXIO` at or past the end, and where only a hole
    /// follows that data was asked for.
    pub fn seek(&self, index: InodeIndex, offset: u64, whence: Whence) -> Result<u64> {
        let place = self.place(index)?;
        let size = place.size();
        if offset >= size {
            return Err(Errno::NXIO.into());
        }
        let Place::Parts { extents, .. } = place else {
            return Ok(if whence == Whence::Data { offset } else { size });
        };
        let mut at = offset;
        for extent in from(extents, offset) {
            let part = self.part(index, extent)?;
            match whence {
                Whence::Data => return Ok(part.start.max(offset)),
                Whence::Hole if part.start > at => return Ok(at),
                Whence::Hole => at = at.max(part.end),
            }
        }
        match whence {
            Whence::Data => Err(Errno::NXIO.into()),
            Whence::Hole => Ok(at.min(size)),
        }
    }

    /// Begins to read the first 128 KiB of a regular file into the page cache, without
    /// waiting for them. Does nothing for other inodes.
    pub fn will_need(&self, index: InodeIndex) -> Result<()> {
        let Ok(place) = self.place(index) else {
            return Ok(());
        };
        let (offset, length) = match place {
            Place::Piece { offset, size } => (offset, size),
            Place::Parts { extents, .. } => {
                let Some(first) = extents.first() else {
                    return Ok(());
                };
                (first.offset.get(), first.length.get())
            }
        };
        let length = length.min(AHEAD_LIMIT);
        if length == 0 {
            return Ok(());
        }
        self.slice(index, Some(offset), length)?;
        let range = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok());
        let (offset, length) = range.ok_or(Errno::OVERFLOW)?;
        self.data(index)?
            .advise_range(Advice::WillNeed, offset, length)
            .map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                Error::system("read ahead", Path::new(self.label()).join(DATA))(errno)
            })
    }

    /// Returns the extents of a regular file in their order; what they leave out is
    /// zeros. `EISDIR` for a directory, `EINVAL` for other inodes.
    pub(crate) fn extents(&self, index: InodeIndex) -> Result<Vec<Extent>> {
        let extents = match self.place(index)? {
            Place::Piece { size: 0, .. } => Vec::new(),
            Place::Piece { offset, size } => vec![Extent {
                logical: 0,
                offset,
                length: size,
            }],
            Place::Parts { extents, .. } => extents.iter().map(Extent::of).collect(),
        };
        let size = self.place(index)?.size();
        let mut end = 0;
        for extent in &extents {
            let in_order = extent.logical >= end;
            let logical = extent.logical.checked_add(extent.length);
            let data = extent.offset.checked_add(extent.length);
            match (logical, data) {
                (Some(logical), Some(data))
                    if in_order && logical <= size && data <= self.size() =>
                {
                    end = logical;
                }
                _ => return Err(self.corrupt(index, "extents make no sense")),
            }
        }
        Ok(extents)
    }

    /// Opens the data, for an inode.
    pub(crate) fn open_data(&self, index: InodeIndex) -> Result<OwnedFd> {
        open(self.dir.as_fd(), self.label(), DATA).map_err(|error| match error.errno() {
            // Not that the file that was asked for is absent.
            Errno::NOENT => self.corrupt(index, "data is gone"),
            _ => error,
        })
    }

    /// Returns the mapped data, for an inode.
    fn data(&self, index: InodeIndex) -> Result<&Mmap> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        let file = self.open_data(index)?;
        let failed = |operation| Error::system(operation, Path::new(self.label()).join(DATA));
        let map = sys::map(file.as_fd()).map_err(failed("map"))?;
        if (map.len() as u64) < self.size() {
            let reason = format!("data has {} bytes, not {}", map.len(), self.size());
            return Err(self.corrupt(index, &reason));
        }
        Ok(self.data.get_or_init(|| map))
    }

    fn place(&self, index: InodeIndex) -> Result<Place<'_>> {
        let record: &InodeRecord = self.record(index)?;
        match FileType::of_mode(u32::from(record.mode.get())) {
            Some(FileType::Regular) => {}
            Some(FileType::Directory) => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::INVAL.into()),
        }
        let size = record.size.get();
        if i64::try_from(size).is_err() {
            return Err(self.corrupt(index, "file is too large"));
        }
        if record.flags.get() & flag::SPARSE == 0 {
            return Ok(Place::Piece {
                offset: record.place.get(),
                size,
            });
        }
        let (first, count) = split(record.place);
        let extents = self.map.slice(SectionKind::Extents, first, count);
        let extents =
            extents.ok_or_else(|| self.corrupt(index, "extents lie outside the index"))?;
        Ok(Place::Parts { extents, size })
    }

    /// Returns the range of a file that an extent covers.
    fn part(&self, index: InodeIndex, extent: &ExtentRecord) -> Result<std::ops::Range<u64>> {
        let start = extent.logical.get();
        let end = start
            .checked_add(extent.length.get())
            .filter(|end| *end > start);
        let end = end.ok_or_else(|| self.corrupt(index, "extent makes no sense"))?;
        Ok(start..end)
    }

    fn slice(&self, index: InodeIndex, offset: Option<u64>, length: u64) -> Result<&[u8]> {
        let data = self.data(index)?;
        let end = offset.and_then(|offset| offset.checked_add(length));
        let range = offset.zip(end.filter(|end| *end <= self.size()));
        let range =
            range.and_then(|(start, end)| Some(start.try_into().ok()?..end.try_into().ok()?));
        let slice = range.and_then(|range: std::ops::Range<usize>| data.get(range));
        slice.ok_or_else(|| self.corrupt(index, "contents lie outside the data"))
    }
}

impl Extent {
    fn of(record: &ExtentRecord) -> Self {
        Self {
            logical: record.logical.get(),
            offset: record.offset.get(),
            length: record.length.get(),
        }
    }
}

impl Place<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Piece { size, .. } | Self::Parts { size, .. } => *size,
        }
    }
}

/// Returns the extents that end after an offset.
fn from(extents: &[ExtentRecord], offset: u64) -> &[ExtentRecord] {
    let is_before =
        |extent: &ExtentRecord| extent.logical.get().saturating_add(extent.length.get()) <= offset;
    let first = extents.partition_point(is_before);
    extents.get(first..).unwrap_or_default()
}

fn zeros(length: u64) -> Result<Segment<'static>> {
    Ok(Segment::Zeros(
        usize::try_from(length).map_err(|_| Errno::OVERFLOW)?,
    ))
}

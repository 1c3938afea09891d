//! Reading a file of a view from its first byte to its last, without the kernel between.

use std::io;
use std::os::fd::AsFd;

use super::View;
use super::below::Data;
use crate::layer::packed::Extent;
use crate::{Error, NodeId, Operation, Reply, Request, Result};

use rustix::io::Errno;

/// The contents of a regular file of a view; holes are zeros.
///
/// The bytes are read from files and not from a map, so a file that was cut meanwhile is
/// an error and not a fault.
#[derive(Debug)]
pub struct FileReader {
    data: Data,
    size: u64,
    position: u64,
}

impl View {
    /// Opens a regular file for reading; `EISDIR` for a directory, `EINVAL` for other
    /// nodes.
    pub fn reader(&self, node: NodeId) -> Result<FileReader> {
        let data = self.open_data(node)?;
        let request = Request {
            node,
            caller: crate::Caller::default(),
            operation: Operation::GetAttr,
        };
        match self.answer(&request)? {
            Reply::Attr(attr) => Ok(FileReader {
                data,
                size: attr.size,
                position: 0,
            }),
            _ => Err(Error::Refused(Errno::IO)),
        }
    }
}

impl FileReader {
    /// Returns the number of bytes that there are in all.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl io::Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.size.saturating_sub(self.position);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = match &self.data {
            Data::File(file) => read_at(file, buffer, self.position)?,
            Data::Extents { file, extents } => match run_at(extents, self.position) {
                Run::Data { offset, length } => read_at(file, cut(buffer, length), offset)?,
                Run::Zeros(length) => {
                    let zeros = cut(buffer, length);
                    zeros.fill(0);
                    zeros.len()
                }
            },
        };
        self.position += read as u64;
        Ok(read)
    }
}

/// What comes at a position of a file.
#[derive(Debug, PartialEq, Eq)]
enum Run {
    /// Bytes that lie in the data of a layer.
    Data {
        /// Where they start there.
        offset: u64,
        /// How many there are.
        length: u64,
    },
    /// Zeros, so many.
    Zeros(u64),
}

fn run_at(extents: &[Extent], position: u64) -> Run {
    let next = extents.partition_point(|extent| extent.logical + extent.length <= position);
    match extents.get(next) {
        Some(extent) if extent.logical <= position => Run::Data {
            offset: extent.offset + (position - extent.logical),
            length: extent.logical + extent.length - position,
        },
        Some(extent) => Run::Zeros(extent.logical - position),
        None => Run::Zeros(u64::MAX),
    }
}

/// Reads at least one byte: the end of the file comes before the promised size.
fn read_at(file: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match rustix::io::retry_on_intr(|| rustix::io::pread(&file, &mut *buffer, offset))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(read),
    }
}

fn cut(buffer: &mut [u8], length: u64) -> &mut [u8] {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let length = length.min(buffer.len());
    buffer.get_mut(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_a_piece_or_between_two() {
        let extents = [(0, 512, 10), (100, 1024, 5)].map(|(logical, offset, length)| Extent {
            logical,
            offset,
            length,
        });
        for (position, expected) in [
            (
                0,
                Run::Data {
                    offset: 512,
                    length: 10,
                },
            ),
            (
                9,
                Run::Data {
                    offset: 521,
                    length: 1,
                },
            ),
            (10, Run::Zeros(90)),
            (99, Run::Zeros(1)),
            (
                102,
                Run::Data {
                    offset: 1026,
                    length: 3,
                },
            ),
            (105, Run::Zeros(u64::MAX)),
        ] {
            assert_eq!(run_at(&extents, position), expected, "{position}");
        }
    }
}

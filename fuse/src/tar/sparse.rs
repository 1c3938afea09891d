//! Sparse maps: which parts of a file the archive stores.
//!
//! All formats agree on what follows the map: the stored parts, one after the
//! other, in the order of the map.

use super::header::BLOCK;
use super::number::{decimal, numeric};
use super::{Extent, TarFault};

/// The parts that one file may have at most: it bounds the memory for a map.
pub(crate) const REGION_LIMIT: usize = 1 << 18;
/// The longest number in a map of format 1.0, in digits.
const DIGIT_LIMIT: usize = 20;

/// A part of a file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// The offset in the file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// Adds the regions in the cells of an old GNU header or extension block.
pub(crate) fn add_cells(cells: &[u8], regions: &mut Vec<Region>) -> Result<(), TarFault> {
    for cell in cells.chunks_exact(24) {
        let (offset, length) = cell.split_at(12);
        if offset[0] == 0 {
            break;
        }
        let number = |field| numeric(field).and_then(|value| u64::try_from(value).ok());
        let (Some(offset), Some(length)) = (number(offset), number(length)) else {
            return Err(TarFault::Sparse("bad number"));
        };
        if regions.len() >= REGION_LIMIT {
            return Err(TarFault::Sparse("too many parts"));
        }
        regions.push(Region { offset, length });
    }
    Ok(())
}

/// Splits an extension block of an old GNU header into its cells and whether
/// another one follows.
pub(crate) fn extension(block: &[u8; BLOCK]) -> (&[u8], bool) {
    (&block[..504], block[504] != 0)
}

/// Returns where the parts of a file lie, given where the stored bytes start and
/// how many there are. The parts must be in order, apart, inside the file, and
/// make up exactly what is stored.
pub(crate) fn extents(
    regions: &[Region],
    size: u64,
    start: u64,
    stored: u64,
) -> Result<Vec<Extent>, TarFault> {
    let mut extents = Vec::with_capacity(regions.len().min(REGION_LIMIT));
    let mut end = 0;
    let mut used = 0u64;
    for region in regions {
        if region.offset < end {
            return Err(TarFault::Sparse("parts are not in order"));
        }
        end = region
            .offset
            .checked_add(region.length)
            .filter(|end| *end <= size)
            .ok_or(TarFault::Sparse("part beyond the end of the file"))?;
        let offset = start.checked_add(used);
        used = used
            .checked_add(region.length)
            .filter(|used| *used <= stored)
            .ok_or(TarFault::Sparse("more than is stored"))?;
        if let (Some(offset), 1..) = (offset, region.length) {
            extents.push(Extent {
                logical: region.offset,
                offset,
                length: region.length,
            });
        }
    }
    if used == stored {
        Ok(extents)
    } else {
        Err(TarFault::Sparse("less than is stored"))
    }
}

/// Reads the map of format 1.0, which stands in front of the contents: the number
/// of parts, then offset and length of each, every number on a line of its own,
/// filled up to whole blocks.
#[derive(Debug, Default)]
pub(crate) struct MapReader {
    digits: Vec<u8>,
    count: Option<usize>,
    offset: Option<u64>,
    regions: Vec<Region>,
}

impl MapReader {
    /// Takes the next block; returns whether the map is complete.
    pub(crate) fn push(&mut self, block: &[u8; BLOCK]) -> Result<bool, TarFault> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            if *byte != b'\n' {
                if self.digits.len() >= DIGIT_LIMIT {
                    return Err(TarFault::Sparse("bad number"));
                }
                self.digits.push(*byte);
                continue;
            }
            let number = decimal(&self.digits).and_then(|number| u64::try_from(number).ok());
            self.digits.clear();
            self.take(number.ok_or(TarFault::Sparse("bad number"))?)?;
        }
        Ok(self.is_complete())
    }

    /// Returns the map.
    pub(crate) fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn is_complete(&self) -> bool {
        self.count == Some(self.regions.len())
    }

    fn take(&mut self, number: u64) -> Result<(), TarFault> {
        match (self.count, self.offset.take()) {
            (None, _) => {
                let count = usize::try_from(number)
                    .ok()
                    .filter(|count| *count <= REGION_LIMIT);
                self.count = Some(count.ok_or(TarFault::Sparse("too many parts"))?);
            }
            (Some(_), None) => self.offset = Some(number),
            (Some(_), Some(offset)) => self.regions.push(Region {
                offset,
                length: number,
            }),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, &'a [(u64, u64)], u64, u64, bool);

    fn regions(pairs: &[(u64, u64)]) -> Vec<Region> {
        pairs
            .iter()
            .map(|(offset, length)| Region {
                offset: *offset,
                length: *length,
            })
            .collect()
    }

    #[test]
    fn parts_lie_in_order_inside_the_file_and_the_archive() {
        let huge = i64::MAX as u64;
        let cases: &[Case<'_>] = &[
            ("a hole alone", &[], 100, 0, true),
            ("one part", &[(10, 5)], 100, 5, true),
            ("touching parts", &[(0, 5), (5, 5)], 10, 10, true),
            ("terminator at the end", &[(0, 5), (100, 0)], 100, 5, true),
            ("end of the largest file", &[(huge - 1, 1)], huge, 1, true),
            ("backwards", &[(10, 5), (0, 5)], 100, 10, false),
            ("overlap", &[(0, 5), (4, 5)], 100, 10, false),
            ("beyond the end", &[(98, 5)], 100, 5, false),
            ("overflow", &[(u64::MAX, 2)], u64::MAX, 2, false),
            ("more than stored", &[(0, 5)], 100, 4, false),
            ("less than stored", &[(0, 5)], 100, 6, false),
        ];
        for (why, pairs, size, stored, is_good) in cases {
            let extents = extents(&regions(pairs), *size, 1024, *stored);
            assert_eq!(extents.is_ok(), *is_good, "{why}: {extents:?}");
        }
        let extents = extents(&regions(&[(0, 5), (10, 0), (20, 7)]), 30, 1024, 12).unwrap();
        assert_eq!(
            extents,
            [
                Extent {
                    logical: 0,
                    offset: 1024,
                    length: 5
                },
                Extent {
                    logical: 20,
                    offset: 1029,
                    length: 7
                }
            ]
        );
    }

    #[test]
    fn a_map_in_the_contents_may_span_blocks() {
        let mut text = b"60\n".to_vec();
        for part in 0..60 {
            text.extend(format!("{}\n{}\n", part * 1_000_000, 512).bytes());
        }
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        let mut reader = MapReader::default();
        let blocks: Vec<_> = text.chunks_exact(BLOCK).collect();
        for (index, block) in blocks.iter().enumerate() {
            let is_last = index + 1 == blocks.len();
            assert_eq!(reader.push((*block).try_into().unwrap()), Ok(is_last));
        }
        assert_eq!(reader.regions().len(), 60);
        assert_eq!(
            reader.regions()[59],
            Region {
                offset: 59_000_000,
                length: 512
            }
        );
    }

    #[test]
    fn bad_maps_are_refused() {
        let cases: &[(&str, &[u8])] = &[
            ("letters", b"x\n"),
            ("negative", b"-1\n"),
            ("too many parts", b"99999999\n"),
            ("endless number", b"111111111111111111111111111111\n"),
            ("NULs", b"\0\0\0\0\n"),
        ];
        for (why, text) in cases {
            let mut block = [0; BLOCK];
            block[..text.len()].copy_from_slice(text);
            assert!(MapReader::default().push(&block).is_err(), "{why}");
        }
    }
}

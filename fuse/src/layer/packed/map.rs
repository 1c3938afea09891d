//! The index in memory: its sections, checked once, and records read with their
//! numbers checked.

use std::ops::{Deref, Range};

use memmap2::Mmap;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::format::{
    Header, MAGIC, REQUIRED_SECTION, SECTION_LIMIT, SectionKind, SectionRecord, VERSION,
};
use super::writer::checksum;

/// The bytes of an index, of which nobody else has a copy that can be written to.
#[derive(Debug)]
pub(super) enum IndexBytes {
    /// A small one.
    Heap(Box<[u8]>),
    /// A large one.
    Map(Mmap),
}

/// An index whose checksums are right.
#[derive(Debug)]
pub(super) struct IndexMap {
    map: IndexBytes,
    sections: [Range<usize>; 6],
    data_size: u64,
}

impl Deref for IndexBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Map(map) => map,
        }
    }
}

impl IndexMap {
    /// Checks all of an index: magic, version, table, and the checksum of every
    /// section. Returns what is wrong as a text.
    pub(super) fn check(map: IndexBytes) -> Result<Self, String> {
        let (header, rest) = Header::ref_from_prefix(&map).map_err(|_| "index is cut short")?;
        if header.magic != MAGIC {
            return Err("index has a wrong magic number".into());
        }
        let version = header.version.get();
        if version != VERSION {
            return Err(format!(
                "index has version {version}, this program reads {VERSION}"
            ));
        }
        if header.index_size.get() != map.len() as u64 {
            return Err(format!(
                "index has {} bytes, not {}",
                map.len(),
                header.index_size
            ));
        }
        let count = header.section_count.get();
        if count > SECTION_LIMIT {
            return Err(format!("index has {count} sections"));
        }
        let (table, _) = <[SectionRecord]>::ref_from_prefix_with_elems(rest, count as usize)
            .map_err(|_| "section table is cut short")?;
        if header.checksum.get() != checksum(header, table.as_bytes()) {
            return Err("header has a wrong checksum".into());
        }
        let mut found = [const { None }; 6];
        for row in table {
            let kind = row.kind.get();
            let slot = SectionKind::ALL
                .iter()
                .position(|known| *known as u32 == kind);
            let range = section(&map, row)?;
            match slot.and_then(|slot| Some((found.get_mut(slot)?, SectionKind::ALL.get(slot)?))) {
                Some((Some(_), _)) => return Err(format!("section {kind} comes twice")),
                Some((slot, known)) if range.len() % known.record_size() == 0 => {
                    *slot = Some(range);
                }
                Some(_) => return Err(format!("section {kind} has a broken record")),
                None if kind & REQUIRED_SECTION != 0 => {
                    return Err(format!("section {kind} is of a newer version"));
                }
                None => {}
            }
        }
        let data_size = header.data_size.get();
        if found.contains(&None) {
            return Err("a section is missing".into());
        }
        let sections = found.map(Option::unwrap_or_default);
        Ok(Self {
            map,
            sections,
            data_size,
        })
    }

    /// Returns the bytes of `data` that the index was made from.
    pub(super) fn data_size(&self) -> u64 {
        self.data_size
    }

    /// Returns the whole index.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Returns a section.
    pub(super) fn section(&self, kind: SectionKind) -> &[u8] {
        let range = self.sections.get(kind as usize - 1);
        range
            .and_then(|range| self.map.get(range.clone()))
            .unwrap_or_default()
    }

    /// Returns the records of a section.
    pub(super) fn records<T>(&self, kind: SectionKind) -> &[T]
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        // Whole records were checked for; alignment does not matter to them.
        <[T]>::ref_from_bytes(self.section(kind)).unwrap_or_default()
    }

    /// Returns `count` records from `first` on, if they are there.
    pub(super) fn slice<T>(&self, kind: SectionKind, first: u32, count: u32) -> Option<&[T]>
    where
        T: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        let first = first as usize;
        self.records(kind)
            .get(first..first.checked_add(count as usize)?)
    }

    /// Returns a string.
    pub(super) fn string(&self, offset: u32, length: u32) -> Option<&[u8]> {
        self.slice(SectionKind::Strings, offset, length)
    }
}

/// Returns where a section lies; its checksum is right.
fn section(map: &[u8], row: &SectionRecord) -> Result<Range<usize>, String> {
    let kind = row.kind.get();
    let start = usize::try_from(row.offset.get()).ok();
    let end = row
        .offset
        .get()
        .checked_add(row.length.get())
        .and_then(|end| end.try_into().ok());
    let (Some(start), Some(end)) = (start, end) else {
        return Err(format!("section {kind} lies outside the index"));
    };
    let Some(bytes) = map.get(start..end) else {
        return Err(format!("section {kind} lies outside the index"));
    };
    if crc32fast::hash(bytes) != row.checksum.get() {
        return Err(format!("section {kind} has a wrong checksum"));
    }
    Ok(start..end)
}

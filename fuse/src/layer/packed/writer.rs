//! Makes the index of a finished tree.
//!
//! A walk from the root, breadth first, numbers the inodes, so that those of one
//! directory stand together, and leaves out what was replaced. The bytes depend on
//! the archive alone.

use std::borrow::Cow;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use super::format::{
    ExtentRecord, Header, InodeRecord, MAGIC, SectionKind, SectionRecord, VERSION,
};
use super::tree::{NONE, Tree};
use crate::tar::TarError;

mod walk;

use walk::Writer;

/// Sections begin at multiples of this.
const ALIGNMENT: usize = 8;

/// An index, ready to be written.
#[derive(Debug)]
pub(super) struct Index<'a> {
    /// The header and the section table.
    head: Vec<u8>,
    sections: [Cow<'a, [u8]>; 6],
}

impl<'a> Index<'a> {
    /// Makes the index of a tree whose archive has `data_size` bytes.
    pub(super) fn of(tree: &'a Tree, data_size: u64) -> Result<Self, TarError> {
        let writer = Writer::of(tree)?;
        let (inodes, lower_links) = writer.inodes();
        let sections = [
            inodes.into(),
            writer.dentries.into(),
            tree.strings.bytes().into(),
            extents(tree).into(),
            tree.xattrs.bytes().into(),
            lower_links.into(),
        ];
        let head = head(&sections, data_size);
        Ok(Self { head, sections })
    }

    /// Returns the pieces that make up the file, one after the other.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let sections = self
            .sections
            .iter()
            .flat_map(|section| [section, padding(section.len())]);
        std::iter::once(&self.head[..]).chain(sections)
    }

    /// Returns the number of inodes, the root included.
    pub(super) fn inodes(&self) -> u64 {
        let [inodes, ..] = &self.sections;
        (inodes.len() / size_of::<InodeRecord>()) as u64
    }

    /// Returns the number of hard links into lower layers.
    pub(super) fn lower_links(&self) -> u64 {
        let [.., lower_links] = &self.sections;
        (lower_links.len() / size_of::<U32>()) as u64
    }
}

/// Returns the section of extents.
fn extents(tree: &Tree) -> Vec<u8> {
    let mut section = Vec::with_capacity(tree.extents.len() * size_of::<ExtentRecord>());
    for extent in &tree.extents {
        let record = ExtentRecord {
            logical: U64::new(extent.logical),
            offset: U64::new(extent.offset),
            length: U64::new(extent.length),
        };
        section.extend_from_slice(record.as_bytes());
    }
    section
}

/// Returns the header and the table of sections, which are in the order of
/// [`SectionKind::ALL`].
fn head(sections: &[Cow<'_, [u8]>; 6], data_size: u64) -> Vec<u8> {
    let table_end = size_of::<Header>() + sections.len() * size_of::<SectionRecord>();
    let mut end = table_end as u64;
    let mut table = Vec::new();
    for (kind, bytes) in SectionKind::ALL.into_iter().zip(sections) {
        table.push(SectionRecord {
            kind: U32::new(kind as u32),
            checksum: U32::new(crc32fast::hash(bytes)),
            offset: U64::new(end),
            length: U64::new(bytes.len() as u64),
            reserved: [0; 8],
        });
        end += bytes.len().next_multiple_of(ALIGNMENT) as u64;
    }
    let mut header = Header {
        magic: MAGIC,
        version: U32::new(VERSION),
        checksum: U32::ZERO,
        index_size: U64::new(end),
        data_size: U64::new(data_size),
        section_count: U32::new(count(table.len())),
        reserved: [0; 28],
    };
    header.checksum = U32::new(checksum(&header, table.as_bytes()));
    [header.as_bytes(), table.as_bytes()].concat()
}

/// Returns the zeros that follow a section.
fn padding(length: usize) -> &'static [u8] {
    let zeros = &[0; ALIGNMENT];
    &zeros[..length.next_multiple_of(ALIGNMENT) - length]
}

/// Returns the checksum of a header and its section table.
pub(super) fn checksum(header: &Header, table: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(
        Header {
            checksum: U32::ZERO,
            ..*header
        }
        .as_bytes(),
    );
    hasher.update(table);
    hasher.finalize()
}

/// Counts in an index are below 2^32: the tree bounds them.
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(NONE)
}

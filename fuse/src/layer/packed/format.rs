//! The records of an index, as `format.md` describes them.
//!
//! All numbers are little-endian and no record is aligned, so a record can be read
//! at any offset of the map.

#[doc = include_str!("format.md")]
mod description {}

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of every index.
pub(super) const MAGIC: [u8; 8] = *b"mica\0idx";
/// The version that this crate writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;
/// The sections that an index may have at most.
pub(super) const SECTION_LIMIT: u32 = 64;
/// The inodes that a layer may have at most; it bounds the memory of a builder.
pub(super) const INODE_LIMIT: usize = 1 << 24;

/// The start of an index.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: U32,
    /// CRC-32 of the header, with 0 in this place, and the section table.
    pub(super) checksum: U32,
    /// Bytes of the whole index.
    pub(super) index_size: U64,
    /// Bytes of `data`.
    pub(super) data_size: U64,
    pub(super) section_count: U32,
    pub(super) reserved: [u8; 28],
}

/// One row of the section table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SectionRecord {
    pub(super) kind: U32,
    /// CRC-32 of the section.
    pub(super) checksum: U32,
    pub(super) offset: U64,
    pub(super) length: U64,
    pub(super) reserved: [u8; 8],
}

/// The sections that version 1 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Inodes = 1,
    Dentries = 2,
    Strings = 3,
    Extents = 4,
    Xattrs = 5,
    LowerLinks = 6,
}

impl SectionKind {
    pub(super) const ALL: [Self; 6] = [
        Self::Inodes,
        Self::Dentries,
        Self::Strings,
        Self::Extents,
        Self::Xattrs,
        Self::LowerLinks,
    ];

    /// Returns the bytes of one record.
    pub(super) const fn record_size(self) -> usize {
        match self {
            Self::Inodes => size_of::<InodeRecord>(),
            Self::Dentries => size_of::<DentryRecord>(),
            Self::Strings => 1,
            Self::Extents => size_of::<ExtentRecord>(),
            Self::Xattrs => size_of::<XattrRecord>(),
            Self::LowerLinks => size_of::<U32>(),
        }
    }
}

/// A section of which version 1 knows nothing, and which it may not ignore.
pub(super) const REQUIRED_SECTION: u32 = 1 << 31;

/// The attributes and the place of the contents of one inode.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeRecord {
    pub(super) mode: U16,
    pub(super) flags: U16,
    pub(super) uid: U32,
    pub(super) gid: U32,
    pub(super) nlink: U32,
    /// Bytes of a file or of a link target; of a directory the parent (low half)
    /// and the dentry that names it (high half).
    pub(super) size: U64,
    pub(super) seconds: I64,
    pub(super) nanoseconds: U32,
    /// 0 for none, or 1 + the first attribute record.
    pub(super) xattrs: U32,
    /// Regular: offset in `data`, or with [`flag::SPARSE`] first extent (low half) and
    /// number of extents. Directory: first dentry and number of dentries. Symbolic
    /// link, lower link: offset and length of the target. Device: its number.
    pub(super) place: U64,
}

/// Flags of an [`InodeRecord`].
pub(super) mod flag {
    /// A directory that no entry names.
    pub(in super::super) const IMPLIED: u16 = 1;
    /// A directory that hides what the lower layers have in its place.
    pub(in super::super) const OPAQUE: u16 = 2;
    /// A file whose contents lie in extents.
    pub(in super::super) const SPARSE: u16 = 4;
    /// A hard link to a file of a lower layer.
    pub(in super::super) const LOWER_LINK: u16 = 8;
}

/// A name of a directory.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DentryRecord {
    pub(super) name: U32,
    pub(super) inode: U32,
    pub(super) name_length: u8,
    /// `d_type`, [`DENTRY_WHITEOUT`] or [`DENTRY_LOWER_LINK`].
    pub(super) kind: u8,
    pub(super) reserved: [u8; 2],
}

/// The name is hidden; it has no inode.
pub(super) const DENTRY_WHITEOUT: u8 = 0;
/// A hard link whose target, and so its type, a lower layer knows.
pub(super) const DENTRY_LOWER_LINK: u8 = 255;

/// A part of a sparse file that is stored.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ExtentRecord {
    pub(super) logical: U64,
    pub(super) offset: U64,
    pub(super) length: U64,
}

/// An extended attribute. The attributes of an inode stand together, by name.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrRecord {
    pub(super) name: U32,
    pub(super) value: U32,
    pub(super) value_length: U32,
    pub(super) name_length: u8,
    /// 1 in the last attribute of an inode.
    pub(super) is_last: u8,
    pub(super) reserved: [u8; 2],
}

/// Puts two numbers into the halves of one.
pub(super) fn halves(low: u32, high: u32) -> U64 {
    U64::new(u64::from(low) | u64::from(high) << 32)
}

/// Splits what [`halves`] made.
pub(super) fn split(value: U64) -> (u32, u32) {
    let value = value.get();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what is wanted"
    )]
    let low = value as u32;
    (low, (value >> 32) as u32)
}

const _: () = {
    assert!(size_of::<Header>() == 64);
    assert!(size_of::<SectionRecord>() == 32);
    assert!(size_of::<InodeRecord>() == 48);
    assert!(size_of::<DentryRecord>() == 12);
    assert!(size_of::<ExtentRecord>() == 24);
    assert!(size_of::<XattrRecord>() == 16);
};

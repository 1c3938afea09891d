//! The names of a directory of a packed layer.

use super::format::{DENTRY_LOWER_LINK, DENTRY_WHITEOUT, DentryRecord};
use super::inode::InodeIndex;
use super::name::is_component;
use super::reader::PackedLayer;
use crate::{FileType, Result};

/// The names of a directory, sorted by their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Dentries<'a> {
    layer: &'a PackedLayer,
    directory: InodeIndex,
    records: &'a [DentryRecord],
}

/// A name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dentry<'a> {
    /// The name; neither empty, `.` nor `..`, without slash and NUL.
    pub name: &'a [u8],
    /// What it stands for.
    pub target: Target,
}

/// What a name of a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing, here and in lower layers.
    Whiteout,
    /// An inode of this layer.
    Inode {
        /// Its number.
        index: InodeIndex,
        /// Its type.
        file_type: FileType,
    },
    /// A hard link to a file of a lower layer.
    LowerLink(InodeIndex),
}

impl<'a> Dentries<'a> {
    pub(super) fn new(
        layer: &'a PackedLayer,
        directory: InodeIndex,
        records: &'a [DentryRecord],
    ) -> Self {
        Self {
            layer,
            directory,
            records,
        }
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the name at a place, `None` past the end.
    pub fn get(&self, at: usize) -> Result<Option<Dentry<'a>>> {
        self.records
            .get(at)
            .map(|record| self.dentry(record))
            .transpose()
    }

    /// Returns all names, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Dentry<'a>>> + use<'a> {
        let this = *self;
        self.records.iter().map(move |record| this.dentry(record))
    }

    /// Finds a name.
    pub fn find(&self, name: &[u8]) -> Result<Option<Dentry<'a>>> {
        Ok(self.position(name)?.map(|(_, dentry)| dentry))
    }

    /// Finds a name and its place.
    pub fn position(&self, name: &[u8]) -> Result<Option<(usize, Dentry<'a>)>> {
        let (mut low, mut high) = (0, self.records.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(record) = self.records.get(middle) else {
                break;
            };
            match self.name(record)?.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some((middle, self.dentry(record)?))),
            }
        }
        Ok(None)
    }

    fn name(&self, record: &DentryRecord) -> Result<&'a [u8]> {
        let name = self
            .layer
            .map()
            .string(record.name.get(), u32::from(record.name_length));
        name.filter(|name| is_component(name)).ok_or_else(|| {
            self.layer
                .corrupt(self.directory, "directory holds a bad name")
        })
    }

    fn dentry(&self, record: &DentryRecord) -> Result<Dentry<'a>> {
        let name = self.name(record)?;
        let index = InodeIndex(record.inode.get());
        let target = match record.kind {
            DENTRY_WHITEOUT => Some(Target::Whiteout),
            _ if !self.layer.has_inode(index) => None,
            DENTRY_LOWER_LINK => Some(Target::LowerLink(index)),
            kind => FileType::of_mode(u32::from(kind) << 12)
                .filter(|file_type| file_type.dirent_type() == u32::from(kind))
                .map(|file_type| Target::Inode { index, file_type }),
        };
        let target = target.ok_or_else(|| {
            self.layer
                .corrupt(self.directory, "directory holds a bad entry")
        })?;
        Ok(Dentry { name, target })
    }
}

//! Paths of inodes, for messages.

use super::{DENTRY_LOWER_LINK, DENTRY_WHITEOUT, DentryRecord, InodeIndex, InodeRecord};
use super::{FileType, PackedLayer, SectionKind, split};

/// The directories that a path leads through at most; a damaged index may have loops.
const DEPTH_LIMIT: usize = 4096;

impl PackedLayer {
    /// Returns the path of an inode relative to the root, for messages: of one of its
    /// names, found by a search through all of them unless it is a directory; as much
    /// of it as a damaged index has.
    pub fn path(&self, index: InodeIndex) -> Vec<u8> {
        self.path_to(self.naming(index))
    }

    /// Returns the paths of all names of an inode that is no directory, relative to the
    /// root, by a search through the layer.
    pub(crate) fn paths(&self, index: InodeIndex) -> impl Iterator<Item = Vec<u8>> {
        self.namings(index).map(|dentry| self.path_to(Some(dentry)))
    }

    fn path_to<'a>(&'a self, mut dentry: Option<(u32, &'a DentryRecord)>) -> Vec<u8> {
        let mut names = Vec::new();
        while let Some((at, record)) = dentry {
            let name = self
                .map
                .string(record.name.get(), u32::from(record.name_length));
            names.push(name.unwrap_or(b"?"));
            if names.len() == DEPTH_LIMIT {
                break;
            }
            dentry = self.holder(at).and_then(|directory| self.naming(directory));
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Returns a dentry that names an inode.
    fn naming(&self, index: InodeIndex) -> Option<(u32, &DentryRecord)> {
        let dentries = self.map.records::<DentryRecord>(SectionKind::Dentries);
        if let Some(record) = self.directory_record(index.0) {
            let dentry = split(record.size).1;
            return Some((dentry, dentries.get(dentry as usize)?));
        }
        self.namings(index).next()
    }

    fn namings(&self, index: InodeIndex) -> impl Iterator<Item = (u32, &DentryRecord)> {
        let dentries = self.map.records::<DentryRecord>(SectionKind::Dentries);
        let is_name = move |record: &DentryRecord| {
            record.inode.get() == index.0 && record.kind != DENTRY_WHITEOUT
        };
        (0u32..)
            .zip(dentries)
            .filter(move |(_, record)| is_name(record))
    }

    /// Returns the directory that a dentry lies in.
    fn holder(&self, dentry: u32) -> Option<InodeIndex> {
        let dentries = self.map.records::<DentryRecord>(SectionKind::Dentries);
        let record = dentries.get(dentry as usize)?;
        if let Some(child) = self.directory_record(record.inode.get())
            && record.kind != DENTRY_LOWER_LINK
        {
            return Some(InodeIndex(split(child.size).0));
        }
        (0..self.inodes()).map(InodeIndex).find(|index| {
            self.directory_record(index.0).is_some_and(|record| {
                let (first, count) = split(record.place);
                dentry
                    .checked_sub(first)
                    .is_some_and(|offset| offset < count)
            })
        })
    }

    fn directory_record(&self, index: u32) -> Option<&InodeRecord> {
        let record = self
            .map
            .records::<InodeRecord>(SectionKind::Inodes)
            .get(index as usize)?;
        let file_type = FileType::of_mode(u32::from(record.mode.get()));
        (file_type == Some(FileType::Directory)).then_some(record)
    }
}

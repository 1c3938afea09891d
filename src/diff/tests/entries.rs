//! The entries of an archive, read by the parser that also reads layers of images.

use mica_fuse::Timestamp;
use mica_fuse::tar::{EntryKind, Parser};

/// What a test looks at.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) mtime: Timestamp,
    /// The names of the extended attributes.
    pub(super) xattrs: Vec<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Entry {
    /// Returns the path, and the target of a hard link.
    pub(super) fn line(&self) -> String {
        let path = self.path.escape_ascii();
        match &self.link {
            Some(link) => format!("{path} -> {}", link.escape_ascii()),
            None => path.to_string(),
        }
    }
}

/// Lists the entries of an archive.
pub(super) fn list(archive: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut parser = Parser::default();
    let mut sink = |entry: mica_fuse::tar::Entry| {
        entries.push(Entry {
            path: entry.name.clone(),
            mtime: entry.mtime,
            xattrs: entry
                .xattrs
                .iter()
                .map(|xattr| xattr.name.clone())
                .collect(),
            link: (entry.kind == EntryKind::HardLink).then(|| entry.link.clone()),
        });
        Ok(())
    };
    parser.push(archive, &mut sink).unwrap();
    parser.finish().unwrap();
    entries
}

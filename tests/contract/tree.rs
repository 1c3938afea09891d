//! What a tree looks like, for comparison.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, FileType};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What is compared of one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    /// The first name of the file, where it has several.
    first: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(PathBuf),
    Device(u64),
    Other(FileType),
}

/// Returns all that is in a directory, and the directory itself, by name.
pub(crate) fn tree(top: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut paths = vec![top.to_owned()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    paths.sort();
    let mut names = HashMap::new();
    let mut found = BTreeMap::new();
    for path in paths {
        let name = path.strip_prefix(top).unwrap().to_owned();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let has_names = !metadata.is_dir() && metadata.nlink() > 1;
        let first = names.entry(metadata.ino()).or_insert(name.clone());
        let entry = Entry {
            kind: kind(&path, &metadata),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            first: has_names.then(|| first.clone()),
        };
        found.insert(name, entry);
    }
    found
}

fn kind(path: &Path, metadata: &fs::Metadata) -> Kind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File(fs::read(path).unwrap())
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(path).unwrap())
    } else if kind.is_char_device() || kind.is_block_device() {
        Kind::Device(metadata.rdev())
    } else {
        Kind::Other(kind)
    }
}

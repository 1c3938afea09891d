//! A whole tree as somebody who walks it sees it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, lgetxattr, llistxattr, openat, readlinkat, statat,
};
use rustix::io::{Errno, read};

use crate::perform::sorted_names;
use crate::seen::Seen;
use crate::side::brief;

/// What was seen, by path; the root is the empty one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
    /// What cannot be right in any tree.
    pub(crate) wrongs: Vec<String>,
    first: BTreeMap<u64, Vec<u8>>,
}

/// What was seen of one path.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Found(Found),
    /// A name that is listed, but not found or not to be read.
    Refused(&'static str, Errno),
}

/// An inode that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) ino: u64,
    pub(crate) seen: Seen,
    /// Contents of a file, target of a link.
    pub(crate) bytes: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path with the same inode.
    pub(crate) same_as: Vec<u8>,
}

impl Tree {
    /// Walks a tree.
    pub(crate) fn walk(root: BorrowedFd<'_>) -> Self {
        let mut tree = Self::default();
        match statat(root, ".", AtFlags::empty())
            .and_then(|stat| tree.found(root, b".", b"", &stat))
        {
            Ok(found) => tree.insert(b"", Entry::Found(found)),
            Err(errno) => tree.insert(b"", Entry::Refused("root", errno)),
        }
        match open_directory(root, b".") {
            Ok(directory) => tree.visit(&directory, b""),
            Err(errno) => tree.insert(b"", Entry::Refused("open", errno)),
        }
        tree.count_links();
        tree
    }

    fn insert(&mut self, path: &[u8], entry: Entry) {
        self.entries.insert(path.to_vec(), entry);
    }

    fn visit(&mut self, directory: &OwnedFd, path: &[u8]) {
        let listed = match list(directory) {
            Ok(listed) => listed,
            Err(errno) => return self.insert(path, Entry::Refused("list", errno)),
        };
        for (name, (ino, kind)) in listed {
            let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let below = [path, separator, &name].concat();
            let entry = self.enter(directory, &name, &below);
            if let Entry::Found(found) = &entry {
                if found.ino != ino {
                    self.wrong(&below, &format!("d_ino {ino}, st_ino {}", found.ino));
                }
                if kind != found.seen.kind() {
                    self.wrong(
                        &below,
                        &format!("d_type {kind:?}, mode {:o}", found.seen.mode),
                    );
                }
            }
            let is_directory =
                matches!(&entry, Entry::Found(found) if found.seen.kind() == FileType::Directory);
            self.insert(&below, entry);
            if is_directory {
                match open_directory(directory.as_fd(), &name) {
                    Ok(directory) => self.visit(&directory, &below),
                    Err(errno) => self.insert(&below, Entry::Refused("open", errno)),
                }
            }
        }
    }

    fn enter(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> Entry {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(errno) => return Entry::Refused("stat", errno),
        };
        match self.found(directory.as_fd(), name, path, &stat) {
            Ok(found) => Entry::Found(found),
            Err(errno) => Entry::Refused("read", errno),
        }
    }

    fn found(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &rustix::fs::Stat,
    ) -> Result<Found, Errno> {
        let seen = Seen::of(stat);
        let bytes = match seen.kind() {
            FileType::RegularFile => contents(directory, name, seen.size)?,
            FileType::Symlink => readlinkat(directory, name, Vec::new())?.into_bytes(),
            _ => Vec::new(),
        };
        if bytes.len() as u64 != seen.size && seen.kind() == FileType::RegularFile {
            self.wrong(path, &format!("{} bytes of {}", bytes.len(), seen.size));
        }
        let first = self
            .first
            .entry(stat.st_ino)
            .or_insert_with(|| path.to_vec());
        Ok(Found {
            ino: stat.st_ino,
            seen,
            bytes,
            xattrs: xattrs(directory, name)?,
            same_as: first.clone(),
        })
    }

    fn wrong(&mut self, path: &[u8], what: &str) {
        self.wrongs
            .push(format!("\"{}\": {what}", path.escape_ascii()));
    }

    /// Checks that only what has more than one link has one number under two names.
    fn count_links(&mut self) {
        let found = self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::Found(found) => Some((path, found)),
            Entry::Refused(..) => None,
        });
        let shared = found.filter(|(path, found)| found.same_as != **path && found.seen.nlink < 2);
        let wrongs = shared.map(|(path, found)| {
            let (path, other) = (path.escape_ascii(), found.same_as.escape_ascii());
            format!(
                "\"{path}\": st_ino {} of \"{other}\", but one link",
                found.ino
            )
        });
        let wrongs: Vec<_> = wrongs.collect();
        self.wrongs.extend(wrongs);
    }
}

/// What differs between two entries, and how.
#[derive(Clone, Debug)]
pub(crate) struct Differs {
    pub(crate) field: &'static str,
    pub(crate) how: String,
}

impl Entry {
    /// Returns what differs from another entry, or nothing.
    pub(crate) fn difference(&self, other: &Self) -> Option<Differs> {
        match (self, other) {
            (Self::Found(one), Self::Found(other)) => one.difference(other),
            (Self::Refused(_, one), Self::Refused(_, other)) if one == other => None,
            (one, other) => Some(Differs {
                field: "errors",
                how: format!("{} against {}", one.brief(), other.brief()),
            }),
        }
    }

    fn brief(&self) -> String {
        match self {
            Self::Found(found) => format!("{:?}", found.seen),
            Self::Refused(what, errno) => format!("{what}: {errno}"),
        }
    }
}

impl Found {
    /// Returns what differs from another inode, or nothing.
    pub(crate) fn difference(&self, other: &Self) -> Option<Differs> {
        let differs = |field, one: String, other: String| {
            let how = format!("{one} against {other}");
            Some(Differs { field, how })
        };
        if let Some(field) = self.seen.first_difference(&other.seen) {
            return differs(
                field,
                format!("{:?}", self.seen),
                format!("{:?}", other.seen),
            );
        }
        if self.bytes != other.bytes {
            let mut pairs = self.bytes.iter().zip(&other.bytes);
            let at = pairs.position(|(one, other)| one != other);
            let one = format!("from byte {at:?} on, {}", brief(&self.bytes));
            return differs("contents", one, brief(&other.bytes));
        }
        if self.xattrs != other.xattrs {
            return differs("xattrs", self.xattrs_text(), other.xattrs_text());
        }
        if self.same_as != other.same_as {
            let of = |found: &Self| format!("the inode of \"{}\"", found.same_as.escape_ascii());
            return differs("links", of(self), of(other));
        }
        None
    }

    fn xattrs_text(&self) -> String {
        let xattrs = self.xattrs.iter();
        let xattrs =
            xattrs.map(|(name, value)| format!("{}={}", name.escape_ascii(), brief(value)));
        xattrs.collect::<Vec<_>>().join(", ")
    }
}

fn open_directory(base: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(base, name, flags, Mode::empty())
}

/// Returns numbers and types of the entries by name, without `.` and `..`.
fn list(directory: &OwnedFd) -> Result<BTreeMap<Vec<u8>, (u64, FileType)>, Errno> {
    let mut buffer = Vec::with_capacity(16_384);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut listed = BTreeMap::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            listed.insert(name.to_vec(), (entry.ino(), entry.file_type()));
        }
    }
    Ok(listed)
}

fn contents(directory: BorrowedFd<'_>, name: &[u8], size: u64) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    let file = openat(directory, name, flags, Mode::empty())?;
    let mut bytes = vec![0; usize::try_from(size).unwrap() + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match read(&file, &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn xattrs(directory: BorrowedFd<'_>, name: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend(name);
    let mut list = vec![0; 65_536];
    let length = llistxattr(&*path, &mut list[..])?;
    let value = |name: Vec<u8>| {
        let mut value = vec![0; 65_536];
        let length = lgetxattr(&*path, &*name, &mut value[..])?;
        value.truncate(length);
        Ok((name, value))
    };
    sorted_names(&list[..length])
        .into_iter()
        .map(value)
        .collect()
}

//! A tree as somebody who walks it sees it: through a view, or through the kernel.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use mica_fuse::{
    Attr, Entry, FileType, Ino, NodeId, Operation, Reply, Request, Segment, Timestamp, View, Whence,
};

/// What was seen, by path; the root is the empty one.
pub(crate) type Walked = BTreeMap<Vec<u8>, Seen>;

/// What was seen of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) rdev: u32,
    pub(crate) mtime: Timestamp,
    /// 0 for directories, where the kernel's overlayfs does not count.
    pub(crate) nlink: u32,
    /// Contents of a file, target of a link.
    pub(crate) bytes: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path with the same inode.
    pub(crate) same_as: Vec<u8>,
}

/// Answers a request that must succeed.
pub(crate) fn ask<'v>(view: &'v View, node: NodeId, operation: Operation<'_>) -> Reply<'v> {
    view.answer(&Request {
        node,
        caller: mica_fuse::Caller::default(),
        operation,
    })
    .unwrap_or_else(|error| panic!("{operation:?} of {node:?}: {error:?}"))
}

/// Takes the time of access out of attributes: reading a link sets it.
pub(crate) fn timeless(entry: Entry) -> Entry {
    Entry {
        attr: Attr {
            atime: Timestamp::default(),
            ..entry.attr
        },
        ..entry
    }
}

/// Looks a path up, name by name.
pub(crate) fn find(view: &View, path: &str) -> Option<Entry> {
    let Reply::Attr(attr) = ask(view, NodeId::ROOT, Operation::GetAttr) else {
        panic!("no attr")
    };
    let mut entry = Entry {
        node: NodeId::ROOT,
        attr,
    };
    for name in path.split('/').filter(|name| !name.is_empty()) {
        match ask(
            view,
            entry.node,
            Operation::Lookup {
                name: name.as_bytes(),
            },
        ) {
            Reply::Entry(found) => entry = timeless(found),
            Reply::Absent => return None,
            reply => panic!("{reply:?}"),
        }
    }
    Some(entry)
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: Vec<u8>,
    pub(crate) ino: Ino,
    pub(crate) file_type: FileType,
    pub(crate) next: u64,
    pub(crate) entry: Option<Entry>,
}

/// Lists a directory from a cookie on.
pub(crate) fn list(view: &View, node: NodeId, operation: Operation<'_>) -> Vec<Listed> {
    let Reply::Listing(listing) = ask(view, node, operation) else {
        panic!("no listing")
    };
    let entry = |entry: mica_fuse::Result<mica_fuse::DirEntry<'_>>| {
        let entry = entry.unwrap();
        Listed {
            name: entry.name.into_owned(),
            ino: entry.ino,
            file_type: entry.file_type,
            next: entry.next,
            entry: entry.entry.map(timeless),
        }
    };
    listing.entries.map(entry).collect()
}

/// Reads a whole file by small pieces.
pub(crate) fn contents(view: &View, node: NodeId, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let operation = Operation::Read {
            offset: bytes.len() as u64,
            size: 1000,
        };
        let Reply::Data(segments) = ask(view, node, operation) else {
            panic!("no data")
        };
        let before = bytes.len();
        for segment in segments {
            match segment {
                Segment::Mapped(mapped) => bytes.extend_from_slice(mapped),
                Segment::Owned(owned) => bytes.extend(owned),
                Segment::Zeros(zeros) => bytes.resize(bytes.len() + zeros, 0),
            }
        }
        if bytes.len() < before + 1000 {
            assert_eq!(bytes.len() as u64, size);
            return bytes;
        }
    }
}

/// Walks a view, and checks on the way that all its answers agree with each other.
pub(crate) fn walk_view(view: &View) -> Walked {
    let mut walked = Vec::new();
    let root = find(view, "").unwrap();
    visit(view, b"", root, root.attr.ino, &mut walked);
    group(walked)
}

fn visit(
    view: &View,
    path: &[u8],
    entry: Entry,
    parent: Ino,
    walked: &mut Vec<(Vec<u8>, Ino, Seen)>,
) {
    let Reply::Attr(attr) = ask(view, entry.node, Operation::GetAttr) else {
        panic!("no attr")
    };
    assert_eq!(
        timeless(Entry { attr, ..entry }),
        timeless(entry),
        "look-up and getattr agree: {}",
        path.escape_ascii()
    );
    walked.push((path.to_vec(), attr.ino, seen(view, entry)));
    if FileType::of_mode(attr.mode) != Some(FileType::Directory) {
        return;
    }
    let plain = list(view, entry.node, Operation::ReadDir { offset: 0 });
    let plus = list(view, entry.node, Operation::ReadDirPlus { offset: 0 });
    let without = |listed: &Listed| Listed {
        entry: None,
        ..listed.clone()
    };
    assert_eq!(
        plain,
        plus.iter().map(without).collect::<Vec<_>>(),
        "readdir and readdirplus agree"
    );
    assert_eq!(
        (plain[0].name.as_slice(), plain[0].ino),
        (&b"."[..], attr.ino)
    );
    assert_eq!(
        (plain[1].name.as_slice(), plain[1].ino),
        (&b".."[..], parent)
    );
    let children: Vec<Entry> = plus[2..]
        .iter()
        .map(|listed| listed.entry.unwrap())
        .collect();
    let subdirectories = plus[2..]
        .iter()
        .filter(|listed| listed.file_type == FileType::Directory);
    assert_eq!(
        attr.nlink as usize,
        2 + subdirectories.count(),
        "rule 8: {}",
        path.escape_ascii()
    );
    for (listed, child) in plus[2..].iter().zip(children) {
        assert_eq!(listed.ino, child.attr.ino, "rule 9: d_ino is st_ino");
        assert_eq!(
            Some(listed.file_type),
            FileType::of_mode(child.attr.mode),
            "d_type is the type"
        );
        let Reply::Entry(found) = ask(view, entry.node, Operation::Lookup { name: &listed.name })
        else {
            panic!("listed but not found: {}", listed.name.escape_ascii())
        };
        assert_eq!(timeless(found), child, "look-up and readdirplus agree");
        let path = [path, if path.is_empty() { b"" } else { b"/" }, &listed.name].concat();
        visit(view, &path, child, attr.ino, walked);
    }
}

fn seen(view: &View, Entry { node, attr }: Entry) -> Seen {
    let bytes = match FileType::of_mode(attr.mode).unwrap() {
        FileType::Regular => contents(view, node, attr.size),
        FileType::Symlink => match ask(view, node, Operation::ReadLink) {
            Reply::Bytes(target) => target.into_owned(),
            reply => panic!("{reply:?}"),
        },
        _ => Vec::new(),
    };
    let is_file = FileType::of_mode(attr.mode) == Some(FileType::Regular);
    if is_file && attr.size > 0 && view.has_holes() {
        let end = ask(
            view,
            node,
            Operation::Seek {
                offset: attr.size - 1,
                whence: Whence::Hole,
            },
        );
        assert!(matches!(end, Reply::Offset(offset) if offset >= attr.size - 1));
    }
    Seen {
        mode: attr.mode,
        owner: (attr.uid, attr.gid),
        rdev: attr.rdev,
        mtime: attr.mtime,
        nlink: links(&attr),
        bytes,
        xattrs: if view.has_xattrs() {
            xattrs(view, node)
        } else {
            BTreeMap::new()
        },
        same_as: Vec::new(),
    }
}

fn links(attr: &Attr) -> u32 {
    if FileType::of_mode(attr.mode) == Some(FileType::Directory) {
        0
    } else {
        attr.nlink
    }
}

fn xattrs(view: &View, node: NodeId) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let bytes = |operation| match ask(view, node, operation) {
        Reply::Bytes(bytes) => bytes.into_owned(),
        reply => panic!("{reply:?}"),
    };
    let names = bytes(Operation::ListXattr { size: 65536 });
    let names = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            (
                name.to_vec(),
                bytes(Operation::GetXattr { name, size: 65536 }),
            )
        })
        .collect()
}

/// Walks a directory of the kernel.
pub(crate) fn walk_kernel(root: &Path) -> Walked {
    let mut walked = Vec::new();
    visit_kernel(root, b"", &mut walked);
    group(walked)
}

fn visit_kernel(root: &Path, path: &[u8], walked: &mut Vec<(Vec<u8>, Ino, Seen)>) {
    // The root may be a link in /proc; a trailing slash goes through it.
    let full = if path.is_empty() {
        root.join("")
    } else {
        root.join(OsStr::from_bytes(path))
    };
    let metadata = match fs::symlink_metadata(&full) {
        // The kernel lists whiteouts of a directory that merges with no other.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        metadata => metadata.unwrap(),
    };
    let file_type = metadata.file_type();
    let bytes = if file_type.is_file() {
        fs::read(&full).unwrap()
    } else if file_type.is_symlink() {
        fs::read_link(&full)
            .unwrap()
            .into_os_string()
            .into_encoded_bytes()
    } else {
        Vec::new()
    };
    let is_device = file_type.is_char_device() || file_type.is_block_device();
    let seen = Seen {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        rdev: if is_device {
            u32::try_from(metadata.rdev()).unwrap()
        } else {
            0
        },
        mtime: Timestamp {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap(),
        },
        nlink: if file_type.is_dir() {
            0
        } else {
            u32::try_from(metadata.nlink()).unwrap()
        },
        bytes,
        xattrs: kernel_xattrs(&full),
        same_as: Vec::new(),
    };
    walked.push((path.to_vec(), Ino(metadata.ino()), seen));
    if file_type.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&full)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort_unstable();
        for name in names {
            let child = [
                path,
                if path.is_empty() { b"" } else { b"/" },
                name.as_bytes(),
            ]
            .concat();
            visit_kernel(root, &child, walked);
        }
    }
}

fn kernel_xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

fn group(walked: Vec<(Vec<u8>, Ino, Seen)>) -> Walked {
    let mut first = BTreeMap::new();
    let mut tree = Walked::new();
    for (path, ino, seen) in walked {
        let same_as = first.entry(ino).or_insert_with(|| path.clone()).clone();
        tree.insert(path, Seen { same_as, ..seen });
    }
    tree
}

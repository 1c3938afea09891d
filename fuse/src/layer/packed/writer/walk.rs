//! The walk over a finished tree that numbers its inodes.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U16, U32, U64};

use super::count;
use crate::FileType;
use crate::layer::packed::format::{
    DENTRY_LOWER_LINK, DENTRY_WHITEOUT, DentryRecord, InodeRecord, flag, halves,
};
use crate::layer::packed::tree::{Binding, Content, NONE, Node, ROOT, Tree};
use crate::tar::{TarError, TarFault};

/// The hard links to hard links that are followed; more than that is a loop.
const CHAIN_LIMIT: usize = 4096;

/// The index of a tree in the course of being made.
pub(super) struct Writer<'a> {
    tree: &'a Tree,
    /// For each inode of the tree its number in the index.
    numbers: Vec<u32>,
    /// The inodes of the tree in the order of the index.
    order: Vec<u32>,
    links: Vec<u32>,
    /// For each inode of the index: of a directory, the first dentry, the number of
    /// them, and the dentry that names it.
    listings: Vec<[u32; 3]>,
    /// The section of dentries.
    pub(super) dentries: Vec<u8>,
    dentry_count: u32,
    /// For each link without a target the inode that it turned out to be.
    aliases: Vec<(u32, u32)>,
}

impl<'a> Writer<'a> {
    /// Walks a tree.
    pub(super) fn of(tree: &'a Tree) -> Result<Self, TarError> {
        let mut writer = Self {
            tree,
            numbers: vec![NONE; tree.inodes.len()],
            order: Vec::with_capacity(tree.inodes.len()),
            links: Vec::with_capacity(tree.inodes.len()),
            listings: Vec::with_capacity(tree.inodes.len()),
            dentries: Vec::with_capacity(tree.dentries.len() * size_of::<DentryRecord>()),
            dentry_count: 0,
            aliases: Vec::new(),
        };
        writer.resolve_links()?;
        writer.walk();
        Ok(writer)
    }

    /// Returns the sections of inodes and of lower links.
    pub(super) fn inodes(&self) -> (Vec<u8>, Vec<u8>) {
        let mut inodes = Vec::with_capacity(self.order.len() * size_of::<InodeRecord>());
        let mut lower_links = Vec::new();
        for at in 0..self.order.len() {
            let record = self.inode(at);
            if record.flags.get() & flag::LOWER_LINK != 0 {
                lower_links.extend_from_slice(U32::new(count(at)).as_bytes());
            }
            inodes.extend_from_slice(record.as_bytes());
        }
        (inodes, lower_links)
    }
}

impl Writer<'_> {
    /// Looks once more for the targets of hard links that were not there when the
    /// links came.
    fn resolve_links(&mut self) -> Result<(), TarError> {
        for link in &self.tree.unresolved {
            let target = self.resolve(link.inode);
            let target =
                target.map_err(|fault| fault.of(&self.tree.name_path(link.dentry), link.offset))?;
            if target != link.inode {
                self.aliases.push((link.inode, target));
            }
        }
        Ok(())
    }

    /// Follows a link to its target, and on if that is a link too.
    fn resolve(&self, link: u32) -> Result<u32, TarFault> {
        let mut inode = link;
        for _ in 0..CHAIN_LIMIT {
            let next = self.target(inode)?;
            if next == NONE {
                return Ok(inode);
            }
            inode = next;
            if inode == link {
                break;
            }
            if self.tree.inodes[inode as usize].content.is_directory() {
                return Err(TarFault::LinkToDirectory);
            }
        }
        Err(TarFault::LinkToItself)
    }

    /// Returns what a link without a target points at now, or `NONE`.
    fn target(&self, inode: u32) -> Result<u32, TarFault> {
        let Content::Link { path } = self.tree.inodes[inode as usize].content else {
            return Ok(NONE);
        };
        let (known, _) = self.tree.link_target(self.tree.strings.bytes_of(path))?;
        Ok(known.map_or(NONE, |(directory, name)| self.tree.child(directory, &name)))
    }

    /// Numbers the inodes and makes the dentries.
    fn walk(&mut self) {
        let tree = self.tree;
        let (names, starts) = sorted_names(tree);
        self.number(ROOT, NONE);
        let mut at = 0;
        while let Some(&inode) = self.order.get(at) {
            if tree.inodes[inode as usize].content.is_directory() {
                let range = starts[inode as usize] as usize..starts[inode as usize + 1] as usize;
                let first = self.dentry_count;
                for name in &names[range] {
                    self.dentry(at, &tree.dentries[*name as usize]);
                }
                self.listings[at][0] = first;
                self.listings[at][1] = self.dentry_count - first;
            }
            at += 1;
        }
    }

    fn dentry(&mut self, parent: usize, name: &Binding) {
        let own = self.dentry_count;
        let mut record = DentryRecord {
            name: U32::new(name.name.offset),
            inode: U32::new(NONE),
            // Components have at most 255 bytes.
            name_length: u8::try_from(name.name.length).unwrap_or(u8::MAX),
            kind: DENTRY_WHITEOUT,
            reserved: [0; 2],
        };
        if name.inode != NONE {
            let inode = self.resolved(name.inode);
            let number = self.number(inode, own);
            let file_type = self.tree.inodes[inode as usize].content.file_type();
            record.inode = U32::new(number);
            record.kind = file_type.map_or(DENTRY_LOWER_LINK, |file_type| {
                u8::try_from(file_type.dirent_type()).unwrap_or_default()
            });
            self.links[number as usize] += 1;
            if file_type == Some(FileType::Directory) {
                self.links[parent] += 1;
            }
        }
        if name.inode != NONE || name.is_whiteout {
            self.dentries.extend_from_slice(record.as_bytes());
            self.dentry_count += 1;
        }
    }

    fn resolved(&self, inode: u32) -> u32 {
        let alias = self.aliases.binary_search_by_key(&inode, |alias| alias.0);
        alias.map_or(inode, |alias| self.aliases[alias].1)
    }

    fn number(&mut self, inode: u32, dentry: u32) -> u32 {
        let number = self.numbers[inode as usize];
        if number != NONE {
            return number;
        }
        let number = count(self.order.len());
        self.numbers[inode as usize] = number;
        self.order.push(inode);
        // A directory has its own `.`, and the name in its parent, which the root
        // lacks but for its `..`.
        let is_root = inode == ROOT;
        let is_directory = self.tree.inodes[inode as usize].content.is_directory();
        self.links
            .push(u32::from(is_directory) + u32::from(is_root));
        self.listings.push([0, 0, dentry]);
        number
    }

    fn inode(&self, at: usize) -> InodeRecord {
        let inode = self.order[at];
        let node = &self.tree.inodes[inode as usize];
        let [first, dentries, dentry] = self.listings[at];
        let (size, place) = match node.content {
            Content::File { offset, size } => (U64::new(size), U64::new(offset)),
            Content::Sparse { size, first, count } => (U64::new(size), halves(first, count)),
            Content::Directory { parent, .. } => {
                let parent = self.numbers.get(parent as usize).copied().unwrap_or(ROOT);
                (halves(parent, dentry), halves(first, dentries))
            }
            Content::Symlink(target) => (
                U64::new(u64::from(target.length)),
                halves(target.offset, target.length),
            ),
            Content::Device { number, .. } => (U64::ZERO, U64::new(u64::from(number))),
            Content::Fifo => (U64::ZERO, U64::ZERO),
            Content::Link { path } => (U64::ZERO, halves(path.offset, path.length)),
        };
        let kind = node.content.file_type().map_or(0, FileType::mode_bits);
        InodeRecord {
            mode: U16::new(node.mode | u16::try_from(kind).unwrap_or_default()),
            flags: U16::new(self.flags(inode, node)),
            uid: U32::new(node.uid),
            gid: U32::new(node.gid),
            nlink: U32::new(self.links[at]),
            size,
            seconds: I64::new(node.seconds),
            nanoseconds: U32::new(node.nanoseconds),
            xattrs: U32::new(node.xattrs),
            place,
        }
    }

    /// Returns the flags of an inode. A whiteout beside a directory of the same name
    /// makes the directory opaque.
    fn flags(&self, inode: u32, node: &Node) -> u16 {
        let Content::Directory { dentry, .. } = node.content else {
            return match node.content {
                Content::Sparse { .. } => flag::SPARSE,
                Content::Link { .. } => flag::LOWER_LINK,
                _ => 0,
            };
        };
        let name = self.tree.dentries.get(dentry as usize);
        let is_hiding = name.is_some_and(|name| name.is_whiteout && name.inode == inode);
        let implied = if node.is_implied { flag::IMPLIED } else { 0 };
        let opaque = if node.is_opaque || is_hiding {
            flag::OPAQUE
        } else {
            0
        };
        implied | opaque
    }
}

impl Content {
    /// Returns the type, or `None` for a hard link that has no target here.
    fn file_type(self) -> Option<FileType> {
        Some(match self {
            Self::File { .. } | Self::Sparse { .. } => FileType::Regular,
            Self::Directory { .. } => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Device { file_type, .. } => file_type,
            Self::Fifo => FileType::Fifo,
            Self::Link { .. } => return None,
        })
    }
}

/// Returns the dentries of a tree by directory, then by name, and for each inode
/// where its own begin.
fn sorted_names(tree: &Tree) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; tree.inodes.len() + 1];
    for name in &tree.dentries {
        starts[name.directory as usize + 1] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut names = vec![0; tree.dentries.len()];
    let mut next = starts.clone();
    for (dentry, name) in (0u32..).zip(&tree.dentries) {
        let next = &mut next[name.directory as usize];
        names[*next as usize] = dentry;
        *next += 1;
    }
    for range in starts.windows(2) {
        let bytes = |dentry: &u32| tree.strings.bytes_of(tree.dentries[*dentry as usize].name);
        names[range[0] as usize..range[1] as usize].sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
    }
    (names, starts)
}

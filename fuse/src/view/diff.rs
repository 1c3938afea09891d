//! What the uppermost layer of a chain says by itself: its own names, and its marks as
//! names.
//!
//! A whiteout of `NAME` shows as the empty file `.wh.NAME`, and an opaque directory has
//! the empty file `.wh..wh..opq`, both as in the archive of a layer. They cannot be
//! mistaken: no layer has a file of such a name (rule 38). What has a name of the layer is
//! shown as the whole chain shows it, so that contents which lie further down are found.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rustix::io::Errno;

use super::View;
use super::directory::Directory;
use super::stack::Beyond;
use super::{missing, sized};
use crate::layer::{Dentries, Kind};
use crate::{
    Attr, DirEntry, Entry, Error, FileType, Ino, Layer, Listing, NodeId, Operation, Reply, Request,
    Result, Timestamp, ViewOptions,
};

/// What the names of marks begin with.
const PREFIX: &[u8] = b".wh.";
/// The name of the mark of an opaque directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The bit that tells marks from other nodes: those of directory layers have one of the
/// eight bits above it, those of packed layers the highest.
const MARK: u64 = 1 << 54;
/// The cookie before the first mark, which comes after all names.
const MARKS: u64 = 1 << 40;

/// The uppermost layer of a chain, read-only.
#[derive(Debug)]
pub struct DiffView {
    view: View,
}

impl DiffView {
    /// Makes the view of the first of the layers, which go uppermost first; as
    /// [`View::open`].
    pub fn open(layers: Vec<Layer>, options: ViewOptions) -> Result<Self> {
        let view = View::open(layers, options)?;
        Ok(Self { view })
    }

    /// Returns the view of the whole chain, which knows all nodes but the marks.
    pub(crate) fn whole(&self) -> &View {
        &self.view
    }

    /// Answers a request, as [`View::answer`].
    pub fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        if is_mark(request.node) {
            return answer_mark(request);
        }
        match request.operation {
            Operation::Lookup { name } => self.look_up(request, name),
            Operation::ReadDir { offset } | Operation::ReadDirPlus { offset } => {
                self.list(request, offset)
            }
            _ => self.view.answer(request),
        }
    }

    fn look_up(&self, request: &Request<'_>, name: &[u8]) -> Result<Reply<'_>> {
        let directory = self.view.directory(request.node)?;
        let Some(own) = self.own(&directory)? else {
            return Ok(Reply::Absent);
        };
        if let Some(hidden) = name.strip_prefix(PREFIX) {
            let is_there = if name == OPAQUE {
                own.is_opaque
            } else {
                own.kind(hidden)? == Some(Kind::Whiteout)
            };
            let mark = || Reply::Entry(mark(request.node, name));
            return Ok(if is_there { mark() } else { Reply::Absent });
        }
        match own.kind(name)? {
            None | Some(Kind::Whiteout) => Ok(Reply::Absent),
            Some(_) => self.view.answer(request),
        }
    }

    fn list(&self, request: &Request<'_>, offset: u64) -> Result<Reply<'_>> {
        let directory = self.view.directory(request.node)?;
        let names = if offset < MARKS {
            match self.view.answer(request)? {
                Reply::Listing(listing) => Some(listing),
                _ => return Err(Error::Refused(Errno::IO)),
            }
        } else {
            None
        };
        let above = directory.clone();
        let is_own = move |entry: &DirEntry<'_>| self.is_own(&above, entry);
        let names = names.into_iter().flat_map(|listing| listing.entries);
        let names = names.filter_map(move |entry| match entry {
            Ok(entry) => match is_own(&entry) {
                Ok(true) => Some(Ok(entry)),
                other => {
                    if let Some(entry) = &entry.entry {
                        self.view.forget(entry.node, 1);
                    }
                    other.err().map(Err)
                }
            },
            Err(error) => Some(Err(error)),
        });
        let marks = Marks {
            diff: self,
            node: request.node,
            directory,
            cookie: offset.max(MARKS),
        };
        Ok(Reply::Listing(Listing {
            entries: Box::new(names.chain(marks.fuse())),
            give_back: Box::new(|entry| self.view.forget(entry.node, 1)),
        }))
    }

    fn is_own(&self, directory: &Directory, entry: &DirEntry<'_>) -> Result<bool> {
        if matches!(entry.name.as_ref(), b"." | b"..") {
            return Ok(true);
        }
        let own = self.own(directory)?;
        let kind = own.map(|own| own.kind(&entry.name)).transpose()?.flatten();
        Ok(kind.is_some_and(|kind| kind != Kind::Whiteout))
    }

    /// Returns what the uppermost layer has of a directory.
    fn own<'a>(&'a self, directory: &'a Directory) -> Result<Option<Own<'a>>> {
        let stack = &self.view.stack;
        Ok(match directory {
            Directory::Packed {
                layer: 0, index, ..
            } => {
                let layer = stack.packed(0)?;
                Some(Own {
                    dentries: Dentries::Packed(layer, layer.directory(*index)?),
                    is_opaque: layer.inode(*index)?.opaque,
                })
            }
            _ => match directory.contributors().first() {
                Some(first) if first.layer == 0 => Some(Own {
                    dentries: first.dentries(stack)?,
                    is_opaque: matches!(first.beyond(stack)?, Beyond::Nothing),
                }),
                _ => None,
            },
        })
    }
}

/// What the uppermost layer has of a directory.
#[derive(Clone, Copy, Debug)]
struct Own<'a> {
    dentries: Dentries<'a>,
    is_opaque: bool,
}

impl Own<'_> {
    fn kind(&self, name: &[u8]) -> Result<Option<Kind>> {
        let position = self.dentries.position(name)?;
        let at = position.map(|position| self.dentries.at(position));
        Ok(at.transpose()?.map(|(_, kind)| kind))
    }
}

/// The marks of a directory, from a cookie on: that it is opaque, then those of names by
/// their positions among the names of the layer.
#[derive(Debug)]
struct Marks<'v> {
    diff: &'v DiffView,
    node: NodeId,
    directory: Directory,
    cookie: u64,
}

impl<'v> Marks<'v> {
    fn step(&mut self) -> Result<Option<DirEntry<'v>>> {
        let Some(own) = self.diff.own(&self.directory)? else {
            return Ok(None);
        };
        if self.cookie == MARKS && own.is_opaque {
            return Ok(Some(self.entry(OPAQUE.to_vec(), MARKS + 1)));
        }
        let start = self.cookie.saturating_sub(MARKS + 1);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        for (position, next) in (start..own.dentries.len()).zip(self.cookie.max(MARKS + 1) + 1..) {
            if let (name, Kind::Whiteout) = own.dentries.at(position)? {
                return Ok(Some(self.entry([PREFIX, name].concat(), next)));
            }
        }
        Ok(None)
    }

    fn entry(&self, name: Vec<u8>, next: u64) -> DirEntry<'v> {
        DirEntry {
            ino: mark(self.node, &name).attr.ino,
            next,
            file_type: FileType::Regular,
            name: Cow::Owned(name),
            entry: None,
        }
    }
}

impl<'v> Iterator for Marks<'v> {
    type Item = Result<DirEntry<'v>>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        self.cookie = match &step {
            Ok(Some(entry)) => entry.next,
            Ok(None) | Err(_) => u64::MAX - 1,
        };
        step.transpose()
    }
}

pub(crate) fn is_mark(node: NodeId) -> bool {
    node.0 >> 54 == 1
}

/// Returns the node of a mark, which is derived from where it is.
fn mark(directory: NodeId, name: &[u8]) -> Entry {
    let mut hasher = DefaultHasher::new();
    (directory, name).hash(&mut hasher);
    let number = MARK | hasher.finish() & (MARK - 1);
    Entry {
        node: NodeId(number),
        attr: mark_attr(number),
    }
}

fn mark_attr(number: u64) -> Attr {
    let never = Timestamp::default();
    Attr {
        ino: Ino(number),
        size: 0,
        blocks: 0,
        atime: never,
        mtime: never,
        ctime: never,
        mode: FileType::Regular.mode_bits() | 0o444,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
    }
}

fn answer_mark<'a>(request: &Request<'_>) -> Result<Reply<'a>> {
    match request.operation {
        change if change.is_change() => Err(Error::Refused(Errno::ROFS)),
        Operation::Forget { .. } => Ok(Reply::Silent),
        Operation::GetAttr => Ok(Reply::Attr(mark_attr(request.node.0))),
        Operation::Read { .. } => Ok(Reply::Data(Vec::new())),
        Operation::Access { .. } => Ok(Reply::Done),
        Operation::GetXattr { name, .. } => Err(missing(name)),
        Operation::ListXattr { size } => sized(Cow::Borrowed(b""), size),
        Operation::Lookup { .. } | Operation::ReadDir { .. } | Operation::ReadDirPlus { .. } => {
            Err(Error::Refused(Errno::NOTDIR))
        }
        Operation::ReadLink | Operation::Seek { .. } => Err(Error::Refused(Errno::INVAL)),
        _ => Err(Error::Refused(Errno::NOSYS)),
    }
}

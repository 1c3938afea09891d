//! The read-only view of a chain of layers: requests in, replies out.
//!
//! A view answers from many threads at once and nothing it shows ever changes. For
//! packed layers everything but the contents is answered from their indexes, which are in memory.
//!
//! Locks, in the order in which a thread may take them: a shard of `directories`,
//! released while a directory is made; `aliases` of `nodes`; a shard of `nodes`;
//! `files`; `devices` of the identity; the appetites; the bare listings. None is held during a
//! system call on a layer, and none but `aliases` while another is taken. A thread that makes a directory may
//! wait for no other directory.
//!
//! The way to the kernel (encoding, time-outs, open and opendir) is left to
//! [`session`](crate::session).

mod appetite;
mod attributes;
mod bare;
mod below;
mod compare;
mod contents;
mod diff;
mod directories;
mod directory;
mod files;
mod identity;
mod links;
mod names;
mod nodes;
mod reader;
mod source;
mod stack;
mod trail;
mod usage;
mod walk;
mod xattrs;

use std::sync::Arc;

use rustix::io::Errno;

pub(crate) use below::Data;
pub(crate) use contents::read_fully;
pub use diff::DiffView;
pub(crate) use files::OpenFiles;
use names::Detail;
pub(crate) use names::LONGEST_NAME;
pub use reader::FileReader;
pub(crate) use xattrs::{listed, missing, sized};

use crate::kernel::notify::Notifier;
use crate::{Error, FileType, Layer, NodeId, Operation, Reply, Request, Result};
use appetite::Appetites;
use bare::BareListings;
use directories::Directories;
use directory::Directory;
use identity::{Decoded, Identity};
use links::LowerLinks;
use nodes::Nodes;
use source::Source;
use stack::{Place, Stack};
use walk::Walker;

/// Who decides what a caller may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The one user who can reach the mount may do everything that a read-only file
    /// system allows, whatever owners and modes say.
    #[default]
    Owner,
    /// The kernel, by owners and modes.
    Enforce,
}

/// How a view is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewOptions {
    /// Who decides what a caller may do.
    pub access: Access,
}

/// The merged tree of a chain of layers, read-only.
#[derive(Debug)]
pub struct View {
    stack: Stack,
    links: LowerLinks,
    directories: Directories,
    nodes: Nodes,
    files: OpenFiles<Source>,
    appetites: Appetites,
    bare: BareListings,
    has_xattrs: bool,
    has_holes: bool,
    access: Access,
}

impl View {
    /// Makes the view of a chain of layers, uppermost first.
    ///
    /// Fails without layers (`EINVAL`), and where a hard link has no target in the
    /// layers below its own.
    pub fn open(layers: Vec<Layer>, options: ViewOptions) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::Refused(Errno::INVAL));
        }
        let identity = Identity::of(&layers)?;
        for layer in &layers {
            if let Layer::Directory(directory) = layer {
                directory.is_one_of(layers.len());
            }
        }
        let has_xattrs = layers.iter().any(Layer::has_xattrs);
        let has_holes = layers.iter().any(Layer::has_holes);
        let stack = Stack {
            layers: layers.into(),
            identity,
        };
        Ok(Self {
            links: LowerLinks::resolve(&stack)?,
            directories: Directories::new(),
            nodes: Nodes::new(),
            files: OpenFiles::default(),
            appetites: Appetites::default(),
            bare: BareListings::default(),
            has_xattrs,
            has_holes,
            access: options.access,
            stack,
        })
    }

    /// Lets the kernel be told to ask anew for listings that turn out to lack nodes.
    pub(crate) fn set_notifier(&self, notifier: Notifier) {
        self.bare.set_kernel(notifier);
    }

    /// Returns whether a node of the view may have extended attributes. Without, the
    /// answer to every question for one is `ENOSYS`.
    pub fn has_xattrs(&self) -> bool {
        self.has_xattrs
    }

    /// Returns whether no node depends on what was looked up before: directory layers have
    /// a table of those.
    pub(crate) fn is_derived(&self) -> bool {
        let mut layers = self.stack.layers.iter();
        layers.all(|layer| matches!(layer, Layer::Packed(_)))
    }

    /// Returns the layer and the path of a node, for messages. Of a file with several
    /// names it is one of them, found by a search through the layer.
    pub fn describe(&self, node: NodeId) -> String {
        let (layer, path) = match self.place(node) {
            Ok(Place::Packed(layer, index)) => {
                let packed = self.stack.packed(layer);
                (
                    layer,
                    packed.map_or_else(|_| Vec::new(), |packed| packed.path(index)),
                )
            }
            Ok(Place::Real(layer, path)) => (layer, path.to_vec()),
            Err(_) => return format!("node {}", node.0),
        };
        let layer = self.stack.layers.get(layer as usize);
        let label = layer.map_or("", Layer::label);
        format!("layer {label}: /{}", path.escape_ascii())
    }

    /// Returns whether a file of the view may have holes. Without, the answer to every
    /// search for one is `ENOSYS`: the kernel then knows by itself that all is data.
    pub fn has_holes(&self) -> bool {
        self.has_holes
    }

    /// Returns whether the answer has to read a file of a directory layer, and may so
    /// wait for another file system.
    pub(crate) fn reads_a_file(&self, request: &Request<'_>) -> bool {
        matches!(request.operation, Operation::Read { .. })
            && self.stack.identity.decode(request.node) == Decoded::Real
    }

    /// Answers a request.
    ///
    /// Each [`Entry`](crate::Entry) in an answer is a reference to its node, to be given
    /// back with [`Operation::Forget`], or with [`Listing::give_back`](crate::Listing)
    /// where an entry of a listing was taken but not sent.
    pub fn answer(&self, request: &Request<'_>) -> Result<Reply<'_>> {
        let node = request.node;
        match request.operation {
            change if change.is_change() => Err(Error::Refused(Errno::ROFS)),
            Operation::Lookup { name } => {
                let reply = self.lookup(node, name)?;
                self.was_looked_up(node, request.caller, &reply);
                Ok(reply)
            }
            Operation::Forget { lookups } => {
                self.forget(node, lookups);
                Ok(Reply::Silent)
            }
            Operation::GetAttr => self.get_attr(node),
            Operation::ReadLink => self.read_link(node),
            Operation::Read { offset, size } => self.read(node, offset, size),
            Operation::ReadDir { offset } => self.list(node, offset, Detail::Names),
            Operation::ReadDirPlus { offset } => {
                let detail = self.detail(node, offset, request.caller)?;
                self.list(node, offset, detail)
            }
            Operation::StatFs => self.stat_fs(),
            Operation::GetXattr { name, size } => self.get_xattr(node, name, size),
            Operation::ListXattr { size } => self.list_xattr(request, size),
            Operation::Access { mask } if self.access == Access::Owner => {
                self.check_access(node, mask)
            }
            Operation::Seek { offset, whence } if self.has_holes => self.seek(node, offset, whence),
            // The kernel opens, checks access and finds no holes by itself from then on.
            _ => Err(Error::Refused(Errno::NOSYS)),
        }
    }

    fn forget(&self, node: NodeId, lookups: u64) {
        if self.stack.identity.decode(node) == Decoded::Real && self.nodes.forget(node, lookups) {
            self.directories.remove(node);
            self.files.remove(node);
        }
    }

    /// Returns where the inode of a node lies; for a directory, in its uppermost layer.
    fn place(&self, node: NodeId) -> Result<Place> {
        let stale = Error::Refused(Errno::STALE);
        match self.stack.identity.decode(node) {
            Decoded::Root => match self.stack.layers.first() {
                Some(Layer::Packed(_)) => Ok(Place::Packed(0, crate::PackedLayer::ROOT)),
                Some(Layer::Directory(_)) => Ok(Place::Real(0, [].into())),
                None => Err(stale),
            },
            Decoded::Packed(layer, index) if index.0 < self.stack.packed(layer)?.inodes() => {
                Ok(Place::Packed(layer, index))
            }
            Decoded::Real => self.nodes.get(node).ok_or(stale)?.place(),
            Decoded::Packed(..) | Decoded::Unknown => Err(stale),
        }
    }

    fn file_type(&self, place: &Place) -> Result<FileType> {
        match place {
            Place::Packed(layer, index) => {
                let inode = self.stack.packed(*layer)?.inode(*index)?;
                inode.file_type().ok_or(Error::Refused(Errno::STALE))
            }
            Place::Real(layer, path) => Ok(self.stack.directory(*layer)?.attr(path)?.file_type()),
        }
    }

    /// Returns the directory of a node, or `ENOTDIR`.
    fn directory(&self, node: NodeId) -> Result<Directory> {
        self.directory_if_any(node)?
            .ok_or(Error::Refused(Errno::NOTDIR))
    }

    /// Returns the directory of a node, or `None` where the node is something else.
    fn directory_if_any(&self, node: NodeId) -> Result<Option<Directory>> {
        if let Some(directory) = self.directories.made(node) {
            return Ok(Some(directory));
        }
        let place = self.place(node)?;
        let is_directory = match &place {
            Place::Packed(..) => self.file_type(&place)? == FileType::Directory,
            Place::Real(..) => {
                node == NodeId::ROOT || self.nodes.get(node).is_some_and(|node| node.is_directory())
            }
        };
        if !is_directory {
            return Ok(None);
        }
        self.directories
            .made_by(node, || self.make_directory(node, &place))
            .map(Some)
    }

    /// Makes a directory that was not come to by its name: by that in the directory above,
    /// where that is at hand, else by a walk from the root.
    fn make_directory(&self, node: NodeId, place: &Place) -> Result<Directory> {
        let path = self.path(node)?;
        if let Some(above) = self.directory_above(node, &path)
            && let Some(position) = above.position(&self.stack, stack::split(&path).1)?
            && let Some(named) = above.at(&self.stack, position)?
            && Place::Real(named.found.layer, named.path()) == *place
        {
            return above.child(&self.stack, &named);
        }
        let mut walker = Walker::new(&self.stack, 0);
        let contributors = walker
            .directory(&path)?
            .filter(|found| found.first().is_some_and(|first| first.place() == *place));
        let contributors = contributors.ok_or(Error::Refused(Errno::STALE))?;
        let parents = walker.directory(stack::split(&path).0)?;
        let parent = parents.as_deref().and_then(<[_]>::first);
        let parent = parent.ok_or(Error::Refused(Errno::STALE))?;
        let parent = self.stack.ino(&parent.place())?;
        Directory::open(&self.stack, &path, parent, contributors)
    }

    /// Returns the directory above one of a directory layer, if it is made.
    fn directory_above(&self, node: NodeId, path: &[u8]) -> Option<Directory> {
        let above = stack::split(path).0;
        let parent = match above {
            [] => NodeId::ROOT,
            _ => NodeId(self.nodes.get(node)?.parent()?.0),
        };
        let directory = self.directories.made(parent)?;
        (directory.path() == above).then_some(directory)
    }

    /// Returns the path of a directory in the view, or one that a file may have.
    fn path(&self, node: NodeId) -> Result<Arc<[u8]>> {
        let stale = Error::Refused(Errno::STALE);
        match self.stack.identity.decode(node) {
            Decoded::Root => Ok([].into()),
            Decoded::Packed(layer, index) => Ok(self.stack.packed(layer)?.path(index).into()),
            Decoded::Real => self.nodes.get(node).ok_or(stale)?.path(),
            Decoded::Unknown => Err(stale),
        }
    }
}

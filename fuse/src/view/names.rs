//! Look-up and listing: from a directory and a name to a node. Both go through one
//! function, so that they cannot disagree.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::View;
use super::directory::{Directory, Named};
use super::nodes::Node;
use super::stack::{Place, join};
use crate::layer::Kind;
use crate::layer::directory::RealAttr;
use crate::layer::packed::InodeIndex;
use crate::{Attr, Caller, DirEntry, Entry, Error, FileType, Ino, Listing, NodeId, Reply, Result};

/// The longest name of any Linux file system, in bytes (`NAME_MAX`).
pub(crate) const LONGEST_NAME: usize = 255;

/// The cookie before the first name, which `.` and `..` come before.
const FIRST: u64 = 2;

/// The directory of a directory layer that was opened last: all entries of one
/// listing mostly come from the same.
#[derive(Debug, Default)]
struct Opened(Option<(u32, Arc<OwnedFd>)>);

impl Opened {
    fn attr(&mut self, view: &View, named: &Named<'_>) -> Result<RealAttr> {
        let position = named.found.layer;
        let layer = view.stack.directory(position)?;
        let opened = match self.0.take() {
            Some((opened, fd)) if opened == position => fd,
            _ => layer.open_directory(named.above())?,
        };
        let (_, opened) = self.0.insert((position, opened));
        layer.attr_in(opened, &named.name)
    }
}

/// Of what the entries of a listing have nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Of nothing.
    Names,
    /// Of directories alone, which callers mostly enter.
    Directories,
    /// Of all.
    Nodes,
}

impl View {
    /// Returns what a caller gets that asks for nodes.
    pub(super) fn detail(&self, node: NodeId, cookie: u64, caller: Caller) -> Result<Detail> {
        let wants_all = match cookie {
            _ if caller.pid == 0 => true,
            0..=FIRST => {
                let names = self.directory(node)?.len(&self.stack)?;
                let wants_all = self.appetites.begins(caller.pid, node, names);
                self.bare.begins(node, !wants_all);
                wants_all
            }
            _ => self.appetites.goes_on(caller.pid),
        };
        Ok(if wants_all {
            Detail::Nodes
        } else {
            Detail::Directories
        })
    }

    /// Takes note of what a caller looks up in a directory.
    pub(crate) fn was_looked_up(&self, node: NodeId, caller: Caller, reply: &Reply<'_>) {
        if let Reply::Entry(entry) = reply
            && caller.pid != 0
            && entry.attr.mode & libc::S_IFMT != libc::S_IFDIR
        {
            self.appetites.looked_up(caller.pid, node);
            self.bare.looked_up(caller.pid, node);
        }
    }

    /// Answers a look-up, which counts as a reference to the node.
    pub(super) fn lookup(&self, node: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        if name.len() > LONGEST_NAME {
            return Err(Error::Refused(Errno::NAMETOOLONG));
        }
        let directory = self.directory(node)?;
        let position = directory.position(&self.stack, name)?;
        let named = position
            .map(|position| directory.at(&self.stack, position))
            .transpose()?
            .flatten();
        let Some(named) = named.filter(|named| named.found.kind != Kind::Whiteout) else {
            return Ok(Reply::Absent);
        };
        if let Kind::Packed(index, FileType::Regular) = named.found.kind {
            self.stack.packed(named.found.layer)?.will_need(index)?;
        }
        Ok(Reply::Entry(self.entry(
            &directory,
            &named,
            &mut Opened::default(),
        )?))
    }

    /// Answers a listing from a cookie on. A cookie is one more than the position of
    /// the entry it was given with; `.` and `..` come first.
    pub(super) fn list(&self, node: NodeId, cookie: u64, detail: Detail) -> Result<Reply<'_>> {
        let directory = self.directory(node)?;
        let walk = Walk {
            view: self,
            directory,
            cookie,
            detail,
            opened: Opened::default(),
        };
        Ok(Reply::Listing(Listing {
            entries: Box::new(walk.fuse()),
            give_back: Box::new(|entry| self.forget(entry.node, 1)),
        }))
    }

    /// Returns the node of a name, with one more reference to it.
    fn entry(
        &self,
        directory: &Directory,
        named: &Named<'_>,
        opened: &mut Opened,
    ) -> Result<Entry> {
        let layer = named.found.layer;
        match named.found.kind {
            Kind::Packed(index, _) => self.packed_entry(layer, index),
            Kind::LowerLink(link) => {
                let target = self
                    .links
                    .target(layer, link)
                    .ok_or(Error::Refused(Errno::STALE))?;
                match &target.place {
                    Place::Packed(layer, index) => self.packed_entry(*layer, *index),
                    place @ Place::Real(layer, path) => {
                        let real = self.stack.directory(*layer)?.attr(path)?;
                        let parent = directory.ino(&self.stack);
                        let node = Node::new(place.clone(), Arc::clone(path), parent, &real);
                        self.real_entry(&node, &real)
                    }
                }
            }
            Kind::PackedDirectory { index, .. } => self.packed_directory(directory, named, index),
            Kind::Real(_) => {
                let real = opened.attr(self, named)?;
                self.real_entry(&self.real_node(directory, named, &real), &real)
            }
            Kind::RealDirectory { .. } => {
                let real = opened.attr(self, named)?;
                let entry = self.real_entry(&self.real_node(directory, named, &real), &real)?;
                let attr = self.real_directory_attr(entry, directory, named);
                self.or_forget(entry.node, attr.map(|attr| Entry { attr, ..entry }))
            }
            Kind::Whiteout => Err(Error::Refused(Errno::NOENT)),
        }
    }

    fn packed_entry(&self, layer: u32, index: InodeIndex) -> Result<Entry> {
        let attr = self.packed_attr(layer, index)?;
        Ok(Entry {
            node: NodeId(attr.ino.0),
            attr,
        })
    }

    fn packed_directory(
        &self,
        directory: &Directory,
        named: &Named<'_>,
        index: InodeIndex,
    ) -> Result<Entry> {
        let layer = named.found.layer;
        let node = if named.is_moved {
            let path = join(directory.path(), &named.name).into();
            let parent = directory.ino(&self.stack);
            self.nodes
                .refer_alias(&Node::moved(layer, index, path, parent))
        } else {
            NodeId(self.stack.identity.packed(layer, index).0)
        };
        let attr = self
            .child(node, directory, named)
            .and_then(|child| self.directory_attr(&child));
        self.or_forget(node, attr.map(|attr| Entry { node, attr }))
    }

    fn real_entry(&self, node: &Node, real: &RealAttr) -> Result<Entry> {
        let attr = self.real_attr(real)?;
        let node = self.nodes.refer(NodeId(attr.ino.0), node);
        Ok(Entry { node, attr })
    }

    /// Takes a reference back where what it is for has failed.
    fn or_forget(&self, node: NodeId, entry: Result<Entry>) -> Result<Entry> {
        if entry.is_err() {
            self.forget(node, 1);
        }
        entry
    }

    /// Returns the attributes of a directory with the right number of links. Where one
    /// layer alone has the directory, the file system's own is right, and the directory
    /// needs not be read; some file systems always say 1.
    fn real_directory_attr(
        &self,
        entry: Entry,
        directory: &Directory,
        named: &Named<'_>,
    ) -> Result<Attr> {
        let is_lowest = named.found.layer as usize + 1 == self.stack.layers.len();
        let is_alone = directory.has_one_part(named)
            && (is_lowest || {
                let layer = self.stack.directory(named.found.layer)?;
                !layer.has_redirect(&named.path())?
            });
        if is_alone && entry.attr.nlink >= 2 {
            return Ok(entry.attr);
        }
        let nlink = self
            .child(entry.node, directory, named)?
            .nlink(&self.stack)?;
        Ok(Attr {
            nlink,
            ..entry.attr
        })
    }

    /// Returns a subdirectory, which is made where it was not.
    fn child(&self, node: NodeId, directory: &Directory, named: &Named<'_>) -> Result<Directory> {
        self.directories
            .made_by(node, || directory.child(&self.stack, named))
    }

    /// Returns the node of a name of a directory layer, with one reference.
    fn real_node(&self, directory: &Directory, named: &Named<'_>, real: &RealAttr) -> Node {
        if let Some(slot) = named.slot
            && let Some(parts) = directory.shared_contributors()
            && !named.is_moved
            && named.listed == Some((real.device, real.attr.ino))
        {
            return Node::named(parts, slot);
        }
        let path = named.path();
        let place = Place::Real(named.found.layer, Arc::clone(&path));
        let path = if named.is_moved {
            join(directory.path(), &named.name).into()
        } else {
            path
        };
        Node::new(place, path, directory.ino(&self.stack), real)
    }

    /// Returns the number and type of a name, without a reference.
    fn ino(&self, named: &Named<'_>, opened: &mut Opened) -> Result<(Ino, FileType)> {
        let layer = named.found.layer;
        Ok(match named.found.kind {
            Kind::Packed(index, file_type) => (self.stack.identity.packed(layer, index), file_type),
            Kind::PackedDirectory { index, .. } => (
                self.stack.identity.packed(layer, index),
                FileType::Directory,
            ),
            Kind::LowerLink(link) => {
                let target = self
                    .links
                    .target(layer, link)
                    .ok_or(Error::Refused(Errno::STALE))?;
                (target.ino, self.file_type(&target.place)?)
            }
            Kind::Real(_) | Kind::RealDirectory { .. } => {
                if let (Kind::Real(file_type), Some(listed)) = (named.found.kind, named.listed) {
                    return Ok((self.stack.identity.inode(listed), file_type));
                }
                let real = opened.attr(self, named)?;
                (self.stack.identity.real(&real), real.file_type())
            }
            Kind::Whiteout => return Err(Error::Refused(Errno::NOENT)),
        })
    }
}

/// One listing under way.
#[derive(Debug)]
struct Walk<'v> {
    view: &'v View,
    directory: Directory,
    cookie: u64,
    detail: Detail,
    opened: Opened,
}

impl<'v> Walk<'v> {
    fn step(&mut self) -> Result<Option<DirEntry<'v>>> {
        let view = self.view;
        let dot = |ino, next, name: &'static [u8]| {
            let name = name.into();
            DirEntry {
                ino,
                next,
                file_type: FileType::Directory,
                name,
                entry: None,
            }
        };
        let position = match self.cookie {
            0 => return Ok(Some(dot(self.directory.ino(&view.stack), 1, b"."))),
            1 => return Ok(Some(dot(self.directory.parent(), 2, b".."))),
            cookie => cookie - FIRST,
        };
        let Some(named) = self.directory.next(&view.stack, position)? else {
            return Ok(None);
        };
        let has_node = match self.detail {
            Detail::Names => false,
            Detail::Directories => !matches!(
                named.found.kind,
                Kind::Packed(..) | Kind::LowerLink(_) | Kind::Real(_)
            ),
            Detail::Nodes => true,
        };
        let (ino, file_type, entry) = if has_node {
            let entry = view.entry(&self.directory, &named, &mut self.opened)?;
            let file_type = FileType::of_mode(entry.attr.mode).unwrap_or(FileType::Regular);
            (entry.attr.ino, file_type, Some(entry))
        } else {
            let (ino, file_type) = view.ino(&named, &mut self.opened)?;
            (ino, file_type, None)
        };
        let next = named.position + 3;
        Ok(Some(DirEntry {
            ino,
            next,
            file_type,
            name: named.name,
            entry,
        }))
    }
}

impl<'v> Iterator for Walk<'v> {
    type Item = Result<DirEntry<'v>>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        // After an error the listing is over: it lists fully or fails.
        self.cookie = match &step {
            Ok(Some(entry)) => entry.next,
            Ok(None) | Err(_) => u64::MAX,
        };
        step.transpose()
    }
}

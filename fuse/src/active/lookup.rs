//! From a directory and a name to a node.

use std::sync::{Arc, RwLockReadGuard};

use rustix::io::Errno;

use super::names::{Kind, Names};
use super::node::{Directory, Found, Node, Presence};
use super::upper::{UpperMarks, entry};
use super::{ActiveView, asked};
use crate::layer::Kind as LayerKind;
use crate::layer::directory::RealAttr;
use crate::layer::marks::{NameMark, name_mark};
use crate::view::LONGEST_NAME;
use crate::{Attr, Entry, Error, FileType, NodeId, Operation, Reply, Request, Result};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    pub(super) file_type: FileType,
    pub(super) found: Found,
}

impl Resolved {
    /// Returns what an entry of the layers below stands for where the upper has nothing of it.
    pub(super) fn below(entry: &Entry) -> Self {
        Self {
            file_type: file_type(entry),
            found: Found {
                ino: entry.attr.ino,
                presence: Presence::Lower,
                lower: Some(entry.node),
            },
        }
    }
}

impl ActiveView {
    /// Answers a look-up, which counts as a reference to the node.
    pub(super) fn look_up(&self, request: &Request<'_>, name: &[u8]) -> Result<Reply<'_>> {
        let lower = self.node(request.node)?.directory().lower;
        let reply = self.named(request.node, name)?;
        if let Some(lower) = lower {
            self.lower.was_looked_up(lower, request.caller, &reply);
        }
        Ok(reply)
    }

    fn named(&self, directory: NodeId, name: &[u8]) -> Result<Reply<'_>> {
        if name.len() > LONGEST_NAME {
            return Err(Error::Refused(Errno::NAMETOOLONG));
        }
        let directory = self.directory(directory)?;
        if let Some(node) = self.nodes.refer_child(directory.id, name) {
            return Ok(Reply::Entry(self.entry(&node)?));
        }
        let inside = self.loaded(&directory)?;
        if name_mark(name) == NameMark::None && inside.name(name).is_none() {
            let below = self.below(inside.lower, name)?;
            let entry = below.map(|below| self.adopt_below(directory.id, name, &below));
            return Ok(entry.map_or(Reply::Absent, Reply::Entry));
        }
        drop(inside);
        match self.child(&directory, name)? {
            Some(node) => Ok(Reply::Entry(self.entry(&node)?)),
            None => Ok(Reply::Absent),
        }
    }

    /// Makes an entry of the layers below, of which the upper has nothing, a node, and
    /// returns its entry here. The names of the directory are locked: what is copied up gets
    /// its name there.
    pub(super) fn adopt_below(&self, directory: NodeId, name: &[u8], below: &Entry) -> Entry {
        let node = self.adopt(directory, name, Resolved::below(below));
        let ino = node.state().ino;
        Entry {
            node: node.id,
            attr: Attr { ino, ..below.attr },
        }
    }

    /// Returns the entry of a node that has been referred to; on failure the reference
    /// is given back.
    pub(super) fn entry(&self, node: &Node) -> Result<Entry> {
        match self.attr(node) {
            Ok(attr) => Ok(Entry {
                node: node.id,
                attr,
            }),
            Err(error) => {
                self.forget(node.id, 1);
                Err(error)
            }
        }
    }

    /// Returns the node of a name, with one more reference to it.
    pub(super) fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Arc<Node>>> {
        if let Some(node) = self.nodes.refer_child(directory.id, name) {
            return Ok(Some(node));
        }
        let inside = self.loaded(directory)?;
        let Some(resolved) = self.resolve(directory, &inside, name)? else {
            return Ok(None);
        };
        Ok(Some(self.adopt(directory.id, name, resolved)))
    }

    /// Makes what was found a node.
    pub(super) fn adopt(&self, directory: NodeId, name: &[u8], resolved: Resolved) -> Arc<Node> {
        let Resolved { file_type, found } = resolved;
        let (node, is_new) = self.nodes.adopt(Some((directory, name)), file_type, found);
        if !is_new && let Some(lower) = found.lower {
            self.give_back(lower);
        }
        node
    }

    /// Returns what a name stands for; a node of the layers below is referred to.
    pub(super) fn resolve(
        &self,
        node: &Node,
        directory: &Directory,
        name: &[u8],
    ) -> Result<Option<Resolved>> {
        if name_mark(name) != NameMark::None {
            return Ok(None);
        }
        match directory.name(name).map(|name| name.kind) {
            Some(Kind::Whiteout) => Ok(None),
            Some(Kind::Entry(_)) => self.resolve_upper(node, directory, name).map(Some),
            None => Ok(self
                .below(directory.lower, name)?
                .map(|entry| Resolved::below(&entry))),
        }
    }

    fn resolve_upper(&self, node: &Node, directory: &Directory, name: &[u8]) -> Result<Resolved> {
        let (real, marks) = self.upper.look_at(&*self.directory_fd(node)?, name)?;
        let lower = self.merged_with(directory.lower, name, &real, &marks)?;
        let upper = real.attr.ino;
        let file_type = real.file_type();
        Ok(Resolved {
            file_type,
            found: Found {
                ino: match (file_type, &lower) {
                    // What it goes on with is hidden by it, and its number is free.
                    (_, Some(entry))
                        if file_type == FileType::Directory || entry.attr.nlink == 1 =>
                    {
                        entry.attr.ino
                    }
                    _ => marks.number.unwrap_or_else(|| self.derived_ino(&real)),
                },
                presence: if marks.metacopy && file_type == FileType::Regular {
                    Presence::Metadata(upper)
                } else {
                    Presence::Upper(upper)
                },
                lower: lower.map(|entry| entry.node),
            },
        })
    }

    /// Returns what of the layers below an inode of the upper goes on with: a directory
    /// that is not opaque, and a file without contents of its own.
    fn merged_with(
        &self,
        lower: Option<NodeId>,
        name: &[u8],
        real: &RealAttr,
        marks: &UpperMarks,
    ) -> Result<Option<Entry>> {
        let wanted = match real.file_type() {
            FileType::Directory if !marks.opaque => FileType::Directory,
            FileType::Regular if marks.metacopy => FileType::Regular,
            _ => return Ok(None),
        };
        let entry = match marks.redirect.as_deref() {
            Some(path) if path.starts_with(b"/") => self.lower.node_at(path)?,
            beside => self.below(lower, beside.unwrap_or(name))?,
        };
        match entry {
            Some(entry) if file_type(&entry) == wanted => Ok(Some(entry)),
            other => {
                if let Some(entry) = other {
                    self.give_back(entry.node);
                }
                if wanted == FileType::Directory {
                    return Ok(None);
                }
                Err(Error::Corrupt {
                    layer: self.upper.label().display().to_string(),
                    reason: format!(
                        "no layer below has the contents of: {}",
                        name.escape_ascii()
                    ),
                })
            }
        }
    }

    /// Looks a name up in a directory of the layers below.
    pub(super) fn below(&self, lower: Option<NodeId>, name: &[u8]) -> Result<Option<Entry>> {
        let Some(lower) = lower else {
            return Ok(None);
        };
        match self
            .lower
            .answer(&asked(lower, Operation::Lookup { name }))?
        {
            Reply::Entry(entry) => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// Returns what is in a directory, its names in the upper read.
    pub(super) fn loaded<'n>(&self, node: &'n Node) -> Result<RwLockReadGuard<'n, Directory>> {
        loop {
            let directory = node.directory();
            if directory.names.is_some() {
                return Ok(directory);
            }
            drop(directory);
            self.load(node, &mut node.directory_mut())?;
        }
    }

    /// Reads the names that the upper has in a directory, where that was not done.
    pub(super) fn load(&self, node: &Node, directory: &mut Directory) -> Result<()> {
        if directory.names.is_some() {
            return Ok(());
        }
        let listing = entry::list(self.directory_fd(node)?)?;
        let mut names = Names::default();
        if listing.opaque {
            directory.lower = None;
        }
        for position in 0..listing.len() {
            let (name, kind) = listing.at(position)?;
            let kind = match kind {
                LayerKind::Whiteout => Kind::Whiteout,
                LayerKind::Real(file_type) => Kind::Entry(file_type),
                _ => Kind::Entry(FileType::Directory),
            };
            let is_over_lower = match directory.lower {
                Some(lower) => self.lower.has_name(lower, name)?,
                None => false,
            };
            names.set(name, kind, is_over_lower);
        }
        names.has_whiteout_files = listing.has_whiteout_files;
        directory.names = Some(Box::new(names));
        Ok(())
    }
}

/// Returns the type of an entry of the layers below.
fn file_type(entry: &Entry) -> FileType {
    FileType::of_mode(entry.attr.mode).unwrap_or(FileType::Regular)
}

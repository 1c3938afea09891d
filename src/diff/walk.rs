//! The walk of two trees at once: what became of each name.
//!
//! A directory comes before what is in it, and its names come sorted. A tree that was
//! removed is one name, and so is one that gave way to something else; all that is in
//! an added tree is visited.

use std::cmp::Ordering;
use std::vec::IntoIter;

use mica_fuse::{Attr, Entry, FileType, NodeId, View};

use super::DiffError;
use super::tree::{
    Child, children, file_type, forget, has_same_contents, is_of_new_upper, root, xattrs,
};

/// How one tree stands to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// The later tree has one layer more, a directory: what has the same inode is the
    /// same, with all that is below it, and all else has changed.
    Upper,
    /// The later tree has one packed layer more: as `Upper`, but a hard link of the layer
    /// may have changed a file of the layers below, anywhere.
    Packed,
    /// Nothing is known: attributes count, and contents where these are equal.
    None,
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It is new.
    Added,
    /// It is something else now, or has other contents or attributes.
    Modified,
    /// It is a directory with another time of modification only.
    Touched,
    /// It is a directory in which something may have changed.
    Unchanged,
    /// It is the same directory as in the visit before, and nothing of what was in it
    /// shows in it any more.
    Opaque,
    /// It is gone.
    Deleted,
}

/// One step of the walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    /// From the root, without a leading `/`; empty for the root.
    pub(super) path: &'a [u8],
    pub(super) status: Status,
    /// What the later tree has; `None` for what is gone.
    pub(super) entry: Option<Entry>,
}

/// Two trees that are being walked.
struct Walk<'v> {
    before: Option<&'v View>,
    after: &'v View,
    relation: Relation,
    path: Vec<u8>,
    open: Vec<Frame>,
}

/// A directory that is being walked.
struct Frame {
    pair: Pair,
    /// The length of the path of the directory.
    path: usize,
    rest: IntoIter<Pair>,
}

/// What the trees have for one name.
#[derive(Debug)]
struct Pair {
    name: Vec<u8>,
    before: Option<Entry>,
    after: Option<Entry>,
}

/// Visits what differs between two trees, and the directories that lead there. Without
/// `before`, all is new.
pub(super) fn walk(
    before: Option<&View>,
    after: &View,
    relation: Relation,
    mut visit: impl FnMut(Visit<'_>) -> Result<(), DiffError>,
) -> Result<(), DiffError> {
    let mut walk = Walk {
        before,
        after,
        relation,
        path: Vec::new(),
        open: Vec::new(),
    };
    let pair = Pair {
        name: Vec::new(),
        before: before.map(root).transpose()?,
        after: Some(root(after)?),
    };
    walk.enter(pair, &mut visit)?;
    while let Some(frame) = walk.open.last_mut() {
        walk.path.truncate(frame.path);
        match frame.rest.next() {
            Some(pair) => walk.enter(pair, &mut visit)?,
            None => walk.leave(),
        }
    }
    Ok(())
}

impl Walk<'_> {
    /// Visits a name of the directory that is open.
    fn enter(
        &mut self,
        pair: Pair,
        visit: &mut impl FnMut(Visit<'_>) -> Result<(), DiffError>,
    ) -> Result<(), DiffError> {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&pair.name);
        let Some(after) = pair.after else {
            self.visit(visit, Status::Deleted, None)?;
            self.forget(&pair);
            return Ok(());
        };
        let Some(status) = self.status(pair.before, after)? else {
            self.forget(&pair);
            return Ok(());
        };
        self.visit(visit, status, Some(after))?;
        if file_type(&after.attr) != FileType::Directory {
            self.forget(&pair);
            return Ok(());
        }
        let frame = self.list(pair)?;
        if self.is_opaque(&frame)? {
            self.visit(visit, Status::Opaque, Some(after))?;
        }
        self.open.push(frame);
        Ok(())
    }

    fn visit(
        &self,
        visit: &mut impl FnMut(Visit<'_>) -> Result<(), DiffError>,
        status: Status,
        entry: Option<Entry>,
    ) -> Result<(), DiffError> {
        visit(Visit {
            path: &self.path,
            status,
            entry,
        })
    }

    /// Returns what became of a name that is still there; `None` for what needs no visit.
    fn status(&self, before: Option<Entry>, after: Entry) -> Result<Option<Status>, DiffError> {
        // Without a tree before, the root is no more new than that of an empty layer.
        let Some(before) = before else {
            let is_root = self.open.is_empty();
            return Ok(Some(if is_root {
                Status::Touched
            } else {
                Status::Added
            }));
        };
        let is_directory = file_type(&after.attr) == FileType::Directory;
        let has_same_inode = before.attr.ino == after.attr.ino && !self.open.is_empty();
        if self.relation == Relation::Upper && has_same_inode {
            return Ok(None);
        }
        let is_untouched = self.open.is_empty()
            && self.relation == Relation::Upper
            && is_of_new_upper(&after.attr);
        if !is_untouched && !has_same_attributes(&before.attr, &after.attr) {
            return Ok(Some(Status::Modified));
        }
        if is_directory {
            return Ok(Some(if !self.has_same_xattrs(before, after)? {
                Status::Modified
            } else if before.attr.mtime == after.attr.mtime {
                Status::Unchanged
            } else {
                Status::Touched
            }));
        }
        let is_same = before.attr.mtime == after.attr.mtime
            && match self.relation {
                Relation::Upper => false,
                Relation::Packed => has_same_inode && self.has_same_xattrs(before, after)?,
                Relation::None => {
                    self.has_same_xattrs(before, after)? && self.has_same_contents(before, after)?
                }
            };
        Ok((!is_same).then_some(Status::Modified))
    }

    /// Lists a directory of the later tree beside what the earlier one has in its place.
    fn list(&self, pair: Pair) -> Result<Frame, DiffError> {
        let of = |view: Option<&View>, entry: Option<Entry>| match (view, entry) {
            (Some(view), Some(entry)) if file_type(&entry.attr) == FileType::Directory => {
                children(view, entry.node).map_err(DiffError::read(&self.path))
            }
            _ => Ok(Vec::new()),
        };
        let before = of(self.before, pair.before)?;
        let after = of(Some(self.after), pair.after)?;
        Ok(Frame {
            pair,
            path: self.path.len(),
            rest: join(before, after).into_iter(),
        })
    }

    /// Returns whether nothing that was in a directory shows in it any more.
    fn is_opaque(&self, frame: &Frame) -> Result<bool, DiffError> {
        let was_filled = frame
            .rest
            .as_slice()
            .iter()
            .any(|pair| pair.before.is_some());
        let Some(after) = frame.pair.after else {
            return Ok(false);
        };
        if !was_filled || self.relation == Relation::None {
            return Ok(false);
        }
        self.after
            .is_of_uppermost(after.node)
            .map_err(DiffError::read(&self.path))
    }

    fn has_same_xattrs(&self, before: Entry, after: Entry) -> Result<bool, DiffError> {
        let of =
            |view: &View, node: NodeId| xattrs(view, node).map_err(DiffError::read(&self.path));
        let Some(view) = self.before else {
            return Ok(false);
        };
        Ok(of(view, before.node)? == of(self.after, after.node)?)
    }

    fn has_same_contents(&self, before: Entry, after: Entry) -> Result<bool, DiffError> {
        let Some(view) = self.before else {
            return Ok(false);
        };
        has_same_contents((view, before), (self.after, after), &self.path)
    }

    /// Closes the directory that is open.
    fn leave(&mut self) {
        if let Some(frame) = self.open.pop() {
            self.forget(&frame.pair);
        }
    }

    fn forget(&self, pair: &Pair) {
        for (view, entry) in [(self.before, pair.before), (Some(self.after), pair.after)] {
            if let (Some(view), Some(entry)) = (view, entry) {
                forget(view, entry.node);
            }
        }
    }
}

/// Returns whether attributes are equal, the time of modification apart. Sizes of
/// directories mean nothing.
fn has_same_attributes(before: &Attr, after: &Attr) -> bool {
    let of = |attr: &Attr| (attr.mode, attr.uid, attr.gid, attr.rdev);
    let is_directory = file_type(after) == FileType::Directory;
    of(before) == of(after) && (is_directory || before.size == after.size)
}

/// Joins two sorted lists by their names.
fn join(before: Vec<Child>, after: Vec<Child>) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(after.len());
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.name.cmp(&after.name),
        };
        let old = before.next_if(|_| order.is_le());
        let new = after.next_if(|_| order.is_ge());
        pairs.push(Pair {
            before: old.as_ref().map(|child| child.entry),
            after: new.as_ref().map(|child| child.entry),
            name: new.or(old).map(|child| child.name).unwrap_or_default(),
        });
    }
}

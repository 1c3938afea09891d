//! What a walk asks of a view.

use std::io::Read;

use mica_fuse::{
    Attr, Caller, Entry, Error, FileType, NodeId, Operation, Reply, Request, Result, View,
};
use rustix::io::Errno;

use super::DiffError;

/// Bytes of two files that are compared at once.
const PIECE: usize = 64 * 1024;

/// Extended attributes: names and values.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A name of a directory. It counts as a reference to its node.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: Vec<u8>,
    pub(super) entry: Entry,
}

pub(super) fn root(view: &View) -> std::result::Result<Entry, DiffError> {
    match ask(view, NodeId::ROOT, Operation::GetAttr) {
        Ok(Reply::Attr(attr)) => Ok(Entry {
            node: NodeId::ROOT,
            attr,
        }),
        Ok(_) => Err(DiffError::read(b"")(unexpected())),
        Err(error) => Err(DiffError::read(b"")(error)),
    }
}

/// Returns whether a root looks as that of an ordinary user's new upper, who could not give
/// it the looks of the one below: nobody has changed it.
pub(super) fn is_of_new_upper(root: &Attr) -> bool {
    let user = rustix::process::geteuid();
    !user.is_root() && (root.mode & 0o7777, root.uid) == (0o755, user.as_raw())
}

/// Returns what is in a directory, sorted by name.
pub(super) fn children(view: &View, node: NodeId) -> Result<Vec<Child>> {
    let Reply::Listing(listing) = ask(view, node, Operation::ReadDirPlus { offset: 0 })? else {
        return Err(unexpected());
    };
    let mut children = Vec::new();
    for listed in listing.entries {
        let listed = listed?;
        // `.` and `..` come without a node.
        if let Some(entry) = listed.entry {
            let name = listed.name.into_owned();
            children.push(Child { name, entry });
        }
    }
    children.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(children)
}

/// Gives the reference to a node back.
pub(super) fn forget(view: &View, node: NodeId) {
    if node != NodeId::ROOT {
        // Nothing is answered, and nothing can fail.
        drop(ask(view, node, Operation::Forget { lookups: 1 }));
    }
}

/// Returns the extended attributes of a node, sorted by name.
pub(super) fn xattrs(view: &View, node: NodeId) -> Result<Xattrs> {
    let mut xattrs = view.xattrs(node)?;
    xattrs.sort_unstable();
    Ok(xattrs)
}

pub(super) fn link_target(view: &View, node: NodeId) -> Result<Vec<u8>> {
    match ask(view, node, Operation::ReadLink)? {
        Reply::Bytes(target) => Ok(target.into_owned()),
        _ => Err(unexpected()),
    }
}

pub(super) fn file_type(attr: &Attr) -> FileType {
    FileType::of_mode(attr.mode).unwrap_or(FileType::Regular)
}

/// Returns whether two nodes of the same type and size have the same contents, or as
/// symbolic links the same target. They are read only where they may differ.
pub(super) fn has_same_contents(
    one: (&View, Entry),
    other: (&View, Entry),
    path: &[u8],
) -> std::result::Result<bool, DiffError> {
    let failed = DiffError::read(path);
    let ((view, entry), (their_view, theirs)) = (one, other);
    match file_type(&entry.attr) {
        FileType::Symlink => {
            let target = link_target(view, entry.node).map_err(&failed)?;
            Ok(target == link_target(their_view, theirs.node).map_err(&failed)?)
        }
        FileType::Regular => {
            let is_shared = view.shares_contents(entry.node, their_view, theirs.node);
            if is_shared.map_err(&failed)? {
                return Ok(true);
            }
            let reader = view.reader(entry.node).map_err(&failed)?;
            let their_reader = their_view.reader(theirs.node).map_err(&failed)?;
            has_same_bytes(reader, their_reader, entry.attr.size).map_err(DiffError::contents(path))
        }
        _ => Ok(true),
    }
}

fn has_same_bytes(mut one: impl Read, mut other: impl Read, size: u64) -> std::io::Result<bool> {
    let (mut piece, mut their_piece) = (vec![0; PIECE], vec![0; PIECE]);
    let mut rest = size;
    while rest > 0 {
        let wanted = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        let their_piece = their_piece.get_mut(..wanted).unwrap_or_default();
        one.read_exact(piece)?;
        other.read_exact(their_piece)?;
        if piece != their_piece {
            return Ok(false);
        }
        rest -= wanted as u64;
    }
    Ok(true)
}

fn ask<'v>(view: &'v View, node: NodeId, operation: Operation<'_>) -> Result<Reply<'v>> {
    view.answer(&Request {
        node,
        caller: Caller::default(),
        operation,
    })
}

fn unexpected() -> Error {
    Error::Refused(Errno::IO)
}

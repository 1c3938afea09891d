//! How a tree is made to look: the owners in requests and replies, and what else of them is
//! not as on disk.

use std::sync::Arc;
use std::time::Duration;

use super::Owners;
use crate::{
    Attr, Caller, DirEntry, Entry, FileType, IdMaps, Ino, Listing, Operation, Reply, Request,
    Result, SetAttr,
};

/// How a tree is made to look.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct Appearance {
    /// Whose the files are shown as.
    pub ids: IdMaps,
    /// Whether there are extended attributes.
    pub xattrs: bool,
    /// Whether every directory is shown with one link.
    pub static_nlink: bool,
    /// Whether inode numbers are cut to 32 bits.
    pub ino32: bool,
    /// Whether owners can be set, and devices be made, by attributes: those that the
    /// kernel itself takes from nobody.
    pub by_xattr: bool,
    /// Where owners are noted that are shown as others.
    pub owners: Option<Arc<Owners>>,
    /// How long the kernel may keep names and attributes, also of what is not there.
    pub timeout: Duration,
}

impl Default for Appearance {
    fn default() -> Self {
        Self {
            ids: IdMaps::default(),
            xattrs: true,
            static_nlink: false,
            ino32: false,
            by_xattr: false,
            owners: None,
            timeout: Duration::MAX,
        }
    }
}

impl Appearance {
    /// Returns whether all that is answered is as on disk.
    pub(super) fn is_plain(&self) -> bool {
        self.ids.is_identity() && !self.static_nlink && !self.ino32
    }

    fn ino(&self, ino: Ino) -> Ino {
        if self.ino32 {
            Ino(ino.0 & u64::from(u32::MAX))
        } else {
            ino
        }
    }

    fn attr(&self, attr: Attr) -> Attr {
        let is_directory = FileType::of_mode(attr.mode) == Some(FileType::Directory);
        let ino = self.ino(attr.ino);
        let owner = (
            self.ids.users.shown(attr.uid),
            self.ids.groups.shown(attr.gid),
        );
        if let Some(owners) = &self.owners {
            owners.note(ino, (attr.uid, attr.gid), owner);
        }
        Attr {
            ino,
            nlink: if self.static_nlink && is_directory {
                1
            } else {
                attr.nlink
            },
            uid: owner.0,
            gid: owner.1,
            ..attr
        }
    }

    fn entry(&self, entry: Entry) -> Entry {
        Entry {
            attr: self.attr(entry.attr),
            ..entry
        }
    }

    /// The entries are made one by one as before.
    fn listing<'a>(&'a self, listing: Listing<'a>) -> Listing<'a> {
        let shown = |entry: DirEntry<'a>| DirEntry {
            ino: self.ino(entry.ino),
            entry: entry.entry.map(|node| self.entry(node)),
            ..entry
        };
        let entries = listing
            .entries
            .map(move |entry: Result<DirEntry<'a>>| entry.map(shown));
        Listing {
            entries: Box::new(entries),
            give_back: listing.give_back,
        }
    }
}

/// Returns a request with the ids that its callers have on disk.
pub(super) fn on_disk<'a>(ids: &IdMaps, request: &Request<'a>) -> Request<'a> {
    let Request {
        node,
        caller,
        operation,
    } = *request;
    let operation = match operation {
        // Which names are listed depends on what the caller may do, and nothing is made.
        Operation::ListXattr { .. } => return *request,
        Operation::SetAttr(set) => Operation::SetAttr(SetAttr {
            uid: set.uid.map(|uid| ids.users.disk(uid)),
            gid: set.gid.map(|gid| ids.groups.disk(gid)),
            ..set
        }),
        other => other,
    };
    Request {
        node,
        caller: Caller {
            uid: ids.users.disk(caller.uid),
            gid: ids.groups.disk(caller.gid),
            ..caller
        },
        operation,
    }
}

/// Returns a reply as it is shown.
pub(super) fn shown<'a>(appearance: &'a Appearance, reply: Reply<'a>) -> Reply<'a> {
    match reply {
        Reply::Attr(attr) => Reply::Attr(appearance.attr(attr)),
        Reply::Entry(entry) => Reply::Entry(appearance.entry(entry)),
        Reply::Fleeting(entry) => Reply::Fleeting(appearance.entry(entry)),
        Reply::Created(entry, opened) => Reply::Created(appearance.entry(entry), opened),
        Reply::Listing(listing) => Reply::Listing(appearance.listing(listing)),
        Reply::Absent
        | Reply::Bytes(_)
        | Reply::Length(_)
        | Reply::Data(_)
        | Reply::StatFs(_)
        | Reply::Offset(_)
        | Reply::Opened(_)
        | Reply::Written(_)
        | Reply::Ioctl { .. }
        | Reply::Done
        | Reply::Silent => reply,
    }
}

#[cfg(test)]
mod tests;

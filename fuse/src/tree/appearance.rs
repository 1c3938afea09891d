//! The owners in requests and replies: those that are shown, and those on disk.

use crate::{
    Attr, Caller, DirEntry, Entry, IdMaps, Listing, Operation, Reply, Request, Result, SetAttr,
};

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
        },
        operation,
    }
}

/// Returns a reply with the owners that are shown.
pub(super) fn shown<'a>(ids: &'a IdMaps, reply: Reply<'a>) -> Reply<'a> {
    match reply {
        Reply::Attr(attr) => Reply::Attr(shown_attr(ids, attr)),
        Reply::Entry(entry) => Reply::Entry(shown_entry(ids, entry)),
        Reply::Created(entry, opened) => Reply::Created(shown_entry(ids, entry), opened),
        Reply::Listing(listing) => Reply::Listing(shown_listing(ids, listing)),
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

/// The entries are made one by one as before.
fn shown_listing<'a>(ids: &'a IdMaps, listing: Listing<'a>) -> Listing<'a> {
    let shown = |entry: DirEntry<'a>| DirEntry {
        entry: entry.entry.map(|node| shown_entry(ids, node)),
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

fn shown_entry(ids: &IdMaps, entry: Entry) -> Entry {
    Entry {
        attr: shown_attr(ids, entry.attr),
        ..entry
    }
}

fn shown_attr(ids: &IdMaps, attr: Attr) -> Attr {
    Attr {
        uid: ids.users.shown(attr.uid),
        gid: ids.groups.shown(attr.gid),
        ..attr
    }
}

#[cfg(test)]
mod tests;

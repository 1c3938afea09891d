use super::*;
use crate::{IdMap, IdRange, NodeId, Opened, Timestamp};

/// Users from 100000 on disk are shown from 0 on, and groups from 200000.
fn ids() -> IdMaps {
    let map = |disk| {
        let (shown, count) = (0, 1000);
        IdMap::new(vec![IdRange { disk, shown, count }]).unwrap()
    };
    IdMaps {
        users: map(100_000),
        groups: map(200_000),
    }
}

fn with_ids(ids: IdMaps) -> Appearance {
    Appearance {
        ids,
        ..Appearance::default()
    }
}

fn attr(uid: u32, gid: u32) -> Attr {
    let time = Timestamp::default();
    Attr {
        ino: Ino(1),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        mode: libc::S_IFREG,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
    }
}

fn entry(uid: u32, gid: u32) -> Entry {
    Entry {
        node: NodeId(7),
        attr: attr(uid, gid),
    }
}

fn request(operation: Operation<'_>) -> Request<'_> {
    Request {
        node: NodeId(7),
        caller: Caller {
            uid: 5,
            gid: 6,
            pid: 0,
        },
        operation,
    }
}

#[test]
fn every_reply_with_owners_shows_them() {
    let appearance = with_ids(ids());
    let disk = entry(100_005, 200_006);
    let listed = [Some(disk), None].map(|entry| {
        Ok(DirEntry {
            ino: Ino(1),
            next: 1,
            file_type: FileType::Regular,
            name: b"n"[..].into(),
            entry,
        })
    });
    let listing = Listing {
        entries: Box::new(listed.into_iter()),
        give_back: Box::new(|_| {}),
    };
    let replies = [
        Reply::Attr(disk.attr),
        Reply::Entry(disk),
        Reply::Created(disk, Opened::default()),
        Reply::Listing(listing),
    ];
    for reply in replies {
        let name = format!("{reply:?}");
        let attr = match shown(&appearance, reply) {
            Reply::Attr(attr) => attr,
            Reply::Entry(entry) | Reply::Created(entry, _) => entry.attr,
            Reply::Listing(listing) => {
                let entries: Vec<_> = listing.entries.map(|entry| entry.unwrap().entry).collect();
                assert_eq!((entries.len(), entries[1]), (2, None), "lists all");
                entries[0].unwrap().attr
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((attr.uid, attr.gid), (5, 6), "{name}");
    }
}

#[test]
fn owners_without_one_to_show_are_the_overflow_ones() {
    let shown = with_ids(ids()).attr(attr(5, 6));
    assert_eq!((shown.uid, shown.gid), (IdMap::OVERFLOW, IdMap::OVERFLOW));
}

#[test]
fn what_is_set_and_made_goes_to_disk() {
    let set = SetAttr {
        uid: Some(1),
        mode: Some(0o600),
        ..SetAttr::default()
    };
    let request = on_disk(&ids(), &request(Operation::SetAttr(set)));
    let (uid, gid) = (100_005, 200_006);
    assert_eq!(request.caller, Caller { uid, gid, pid: 0 });
    let expected = SetAttr {
        uid: Some(100_001),
        ..set
    };
    assert_eq!(request.operation, Operation::SetAttr(expected));
}

#[test]
fn what_only_root_may_list_is_a_matter_of_the_caller() {
    let asked = request(Operation::ListXattr { size: 0 });
    assert_eq!(on_disk(&ids(), &asked).caller, asked.caller);
}

#[test]
fn a_squashed_map_shows_one_owner_and_keeps_the_others() {
    let ids = IdMaps {
        users: IdMap::default().squashed_to(0),
        groups: IdMap::default(),
    };
    let asked = request(Operation::GetAttr);
    assert_eq!(on_disk(&ids, &asked).caller, asked.caller);
    let shown = with_ids(ids).attr(attr(5, 6));
    assert_eq!((shown.uid, shown.gid), (0, 6));
}

#[test]
fn numbers_are_cut_and_directories_have_one_link_where_it_is_so_wanted() {
    let large = Ino(7 << 32 | 5);
    let directory = Attr {
        ino: large,
        mode: libc::S_IFDIR,
        nlink: 9,
        ..attr(0, 0)
    };
    let file = Attr {
        mode: libc::S_IFREG,
        ..directory
    };
    let cases = [
        ("as it is", (false, false), (large, 9), (large, 9)),
        ("ino32", (true, false), (Ino(5), 9), (Ino(5), 9)),
        ("static_nlink", (false, true), (large, 1), (large, 9)),
    ];
    for (why, (ino32, static_nlink), of_directory, of_file) in cases {
        let appearance = Appearance {
            static_nlink,
            ino32,
            ..Appearance::default()
        };
        assert_eq!(appearance.is_plain(), !ino32 && !static_nlink, "{why}");
        let listed = DirEntry {
            ino: large,
            next: 1,
            file_type: FileType::Regular,
            name: b"n"[..].into(),
            entry: None,
        };
        let mut listing = appearance.listing(Listing {
            entries: Box::new([Ok(listed)].into_iter()),
            give_back: Box::new(|_| {}),
        });
        let listed = listing.entries.next().unwrap().unwrap();
        assert_eq!(listed.ino, of_file.0, "{why}");
        for (attr, expected) in [(directory, of_directory), (file, of_file)] {
            let shown = appearance.attr(attr);
            assert_eq!((shown.ino, shown.nlink), expected, "{why}");
        }
    }
}

//! The bytes of each answer.

use std::borrow::Cow;

use zerocopy::FromBytes;

use super::*;
use crate::{DirEntry, FileType, Ino, Listing, NodeId, Request, Timestamp};

fn question(operation: Operation<'static>, room: usize) -> Question<'static> {
    Question {
        unique: 9,
        opcode: 0,
        room,
        request: Request {
            node: NodeId(5),
            caller: crate::Caller::default(),
            operation,
        },
    }
}

fn attr() -> Attr {
    let time = Timestamp {
        seconds: -1,
        nanoseconds: 5,
    };
    Attr {
        ino: Ino(77),
        size: 10,
        blocks: 1,
        atime: time,
        mtime: time,
        ctime: time,
        mode: 0o100_644,
        nlink: 2,
        uid: 3,
        gid: 4,
        rdev: 0,
    }
}

/// Returns error, body and data length of an answer whose header was checked.
fn encoded(question: &Question<'_>, answer: Result<Reply<'_>>) -> (i32, Vec<u8>, usize) {
    let mut head = Vec::new();
    let data = encode(question, answer, Duration::MAX.into(), &mut head).unwrap();
    let data = data.iter().map(Segment::len).sum::<usize>();
    let (header, body) = abi::OutHeader::read_from_prefix(&head).unwrap();
    assert_eq!((header.len as usize, header.unique), (head.len() + data, 9));
    (header.error, body.to_vec(), data)
}

#[test]
fn an_entry_is_valid_for_ever_and_keeps_times_before_1970() {
    let entry = Entry {
        node: NodeId(1 << 63),
        attr: attr(),
    };
    let (error, body, _) = encoded(&question(Operation::GetAttr, 0), Ok(Reply::Entry(entry)));
    let out = abi::EntryOut::read_from_bytes(&body).unwrap();
    assert_eq!(
        (error, out.nodeid, out.entry_valid, out.attr_valid),
        (0, 1 << 63, FOR_EVER, FOR_EVER)
    );
    assert_eq!((out.attr.mtime.cast_signed(), out.attr.mtimensec), (-1, 5));
    assert_eq!(
        (out.attr.ino, out.attr.size, out.attr.mode, out.attr.nlink),
        (77, 10, 0o100_644, 2)
    );
}

#[test]
fn an_absent_name_is_remembered() {
    let (error, body, _) = encoded(&question(Operation::GetAttr, 0), Ok(Reply::Absent));
    let out = abi::EntryOut::read_from_bytes(&body).unwrap();
    assert_eq!((error, out.nodeid, out.entry_valid), (0, 0, FOR_EVER));
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let bytes = || Ok(Reply::Bytes(Cow::Borrowed(b"four".as_slice())));
    let xattr = Operation::GetXattr {
        name: b"user.a",
        size: 3,
    };
    let cases = [
        ("an xattr that fits", question(xattr, 4), bytes(), 0),
        (
            "an xattr that does not",
            question(xattr, 3),
            bytes(),
            -libc::ERANGE,
        ),
        (
            "a link target",
            question(Operation::ReadLink, 3),
            bytes(),
            -libc::ENAMETOOLONG,
        ),
        (
            "more contents than asked for",
            question(Operation::Read { offset: 0, size: 8 }, 8),
            Ok(Reply::Data(vec![Segment::Zeros(9)])),
            -libc::EIO,
        ),
        (
            "a refusal",
            question(Operation::Unlink { name: b"a" }, 0),
            Err(Errno::ROFS.into()),
            -libc::EROFS,
        ),
        (
            "a damaged layer",
            question(Operation::GetAttr, 0),
            Err(Error::Corrupt {
                layer: "a".into(),
                reason: "b".into(),
            }),
            -libc::EIO,
        ),
    ];
    for (why, question, answer, expected) in cases {
        let (error, body, data) = encoded(&question, answer);
        assert_eq!(error, expected, "{why}");
        assert_eq!(body.is_empty(), error != 0, "{why}");
        assert_eq!(data, 0, "{why}");
    }
}

#[test]
fn a_forget_is_not_answered() {
    let forget = question(Operation::Forget { lookups: 1 }, 0);
    assert!(
        encode(
            &forget,
            Ok(Reply::Silent),
            Duration::MAX.into(),
            &mut Vec::new()
        )
        .is_none()
    );
}

fn listing(names: &'static [&'static str], fails_at: Option<usize>) -> Listing<'static> {
    let entry = move |(index, name): (usize, &&'static str)| {
        if fails_at == Some(index) {
            return Err(Errno::IO.into());
        }
        Ok(DirEntry {
            ino: Ino(index as u64 + 10),
            next: index as u64 + 1,
            file_type: FileType::Regular,
            name: Cow::Borrowed(name.as_bytes()),
            entry: (*name != ".").then(|| Entry {
                node: NodeId(index as u64 + 20),
                attr: attr(),
            }),
        })
    };
    Listing {
        entries: Box::new(names.iter().enumerate().map(entry)),
        give_back: Box::new(|_| {}),
    }
}

#[test]
fn an_entry_that_does_not_fit_is_given_back() {
    let question = question(Operation::ReadDirPlus { offset: 0 }, 160 + 159);
    let (sender, given_back) = std::sync::mpsc::channel();
    let mut listing = listing(&[".", "first", "second", "third"], None);
    listing.give_back = Box::new(move |entry| sender.send(entry.node).unwrap());
    encode(
        &question,
        Ok(Reply::Listing(listing)),
        Duration::MAX.into(),
        &mut Vec::new(),
    );
    let given_back: Vec<_> = given_back.iter().collect();
    assert_eq!(given_back, [NodeId(21)], "only what was taken");
}

#[test]
fn listings_fill_the_room_and_no_more() {
    let names = &[".", "eight888", "nine99999"];
    let plain = Operation::ReadDir { offset: 0 };
    let plus = Operation::ReadDirPlus { offset: 0 };
    let cases = [
        (
            "all fit to the byte",
            plain,
            32 + 32 + 40,
            None,
            Ok(32 + 32 + 40),
        ),
        (
            "one byte less leaves the last out",
            plain,
            103,
            None,
            Ok(64),
        ),
        ("not even one", plain, 31, None, Ok(0)),
        (
            "with nodes each is 128 bytes longer",
            plus,
            488,
            None,
            Ok(488),
        ),
        (
            "an error at the first is the answer",
            plain,
            200,
            Some(0),
            Err(-libc::EIO),
        ),
        ("a later one cuts the listing", plain, 200, Some(1), Ok(32)),
    ];
    for (why, operation, room, fails_at, expected) in cases {
        let answer = Ok(Reply::Listing(listing(names, fails_at)));
        let (error, body, _) = encoded(&question(operation, room), answer);
        let outcome = if error == 0 {
            Ok(body.len())
        } else {
            Err(error)
        };
        assert_eq!(outcome, expected, "{why}");
    }
}

#[test]
fn records_of_a_listing() {
    let plus = question(Operation::ReadDirPlus { offset: 0 }, 4096);
    let (_, body, _) = encoded(&plus, Ok(Reply::Listing(listing(&[".", "name"], None))));
    let record = |at: usize| {
        let (entry, rest) = abi::EntryOut::read_from_prefix(&body[at..]).unwrap();
        let (dirent, name) = abi::Dirent::read_from_prefix(rest).unwrap();
        (
            entry.nodeid,
            dirent.ino,
            dirent.off,
            dirent.file_type,
            name[..dirent.namelen as usize].to_vec(),
        )
    };
    assert_eq!(record(0), (0, 10, 1, 8, b".".to_vec()));
    assert_eq!(record(160), (21, 11, 2, 8, b"name".to_vec()));
}

#[test]
fn an_open_file_is_passed_through_or_cached_but_not_both() {
    let opened = |keep_cache, backing| Opened {
        keep_cache,
        backing,
    };
    let cases = [
        ("neither", opened(false, None), (0, 0)),
        ("cached", opened(true, None), (fopen::KEEP_CACHE, 0)),
        ("passed", opened(false, Some(3)), (fopen::PASSTHROUGH, 3)),
        ("both asked", opened(true, Some(3)), (fopen::PASSTHROUGH, 3)),
    ];
    let entry = Entry {
        node: NodeId(8),
        attr: attr(),
    };
    for (why, opened, expected) in cases {
        let asked = question(Operation::GetAttr, 0);
        let (_, body, _) = encoded(&asked, Ok(Reply::Opened(opened)));
        let out = abi::OpenOut::read_from_bytes(&body).unwrap();
        assert_eq!((out.open_flags, out.backing_id), expected, "{why}");

        let (_, created, _) = encoded(&asked, Ok(Reply::Created(entry, opened)));
        let (head, rest) = abi::EntryOut::read_from_prefix(&created).unwrap();
        assert_eq!((head.nodeid, head.entry_valid), (8, FOR_EVER), "{why}");
        assert_eq!(rest, body, "{why}");
    }
}

#[test]
fn counts_have_the_width_that_the_kernel_reads() {
    let most = u64::from(u32::MAX);
    let short = |count: u32| [count.to_ne_bytes(), [0; 4]].concat();
    let cases = [
        ("a write", opcode::WRITE, 5, Ok(short(5))),
        ("a copy", opcode::COPY_FILE_RANGE, most, Ok(short(u32::MAX))),
        (
            "too many",
            opcode::COPY_FILE_RANGE,
            most + 1,
            Err(-libc::EIO),
        ),
        (
            "64 bits",
            opcode::COPY_FILE_RANGE_64,
            most + 1,
            Ok((most + 1).to_ne_bytes().to_vec()),
        ),
    ];
    for (why, opcode, count, expected) in cases {
        let asked = Question {
            opcode,
            ..question(Operation::GetAttr, 0)
        };
        let (error, body, _) = encoded(&asked, Ok(Reply::Written(count)));
        let outcome = if error == 0 { Ok(body) } else { Err(error) };
        assert_eq!(outcome, expected, "{why}");
    }
}

#[test]
fn an_ioctl_gives_what_there_is_room_for() {
    let ioctl = Operation::Ioctl {
        command: 0,
        input: b"",
        room: 4,
    };
    let answer = |output: &[u8]| {
        let reply = Reply::Ioctl {
            result: -3,
            output: output.to_vec(),
        };
        encoded(&question(ioctl, 4), Ok(reply))
    };
    let (error, body, _) = answer(b"four");
    let (out, rest) = abi::IoctlOut::read_from_prefix(&body).unwrap();
    assert_eq!((error, out.result, out.flags), (0, -3, 0));
    assert_eq!(
        (out.in_iovs, out.out_iovs, rest),
        (0, 0, b"four".as_slice())
    );
    assert_eq!(answer(b"fives").0, -libc::EIO);
}

#[test]
fn what_is_told_is_valid_as_long_as_it_is_said() {
    let cases = [
        (Duration::ZERO, (0, 0)),
        (Duration::from_millis(1500), (1, 500_000_000)),
        (Duration::from_secs(u64::MAX), (FOR_EVER, 0)),
    ];
    for (timeout, expected) in cases {
        let entry = Entry {
            node: NodeId(7),
            attr: attr(),
        };
        let replies = [
            (Reply::Entry(entry), expected),
            // There is no node whose attributes could be kept.
            (Reply::Absent, (0, 0)),
        ];
        for (reply, of_attr) in replies {
            let mut head = Vec::new();
            let question = question(Operation::GetAttr, 0);
            encode(&question, Ok(reply), timeout.into(), &mut head).unwrap();
            let body = head.get(HEADER..).unwrap();
            let out = abi::EntryOut::read_from_bytes(body).unwrap();
            assert_eq!((out.entry_valid, out.entry_valid_nsec), expected);
            assert_eq!((out.attr_valid, out.attr_valid_nsec), of_attr);
        }
        let mut head = Vec::new();
        let question = question(Operation::GetAttr, 0);
        encode(
            &question,
            Ok(Reply::Attr(attr())),
            timeout.into(),
            &mut head,
        )
        .unwrap();
        let out = abi::AttrOut::read_from_bytes(head.get(HEADER..).unwrap()).unwrap();
        assert_eq!((out.attr_valid, out.attr_valid_nsec), expected);
    }
}

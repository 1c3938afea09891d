//! What each message of the kernel decodes to, and that no bytes make it panic.

mod changes;

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::Whence;

/// Builds a message as the kernel does: the header with the whole length, then the body.
fn message(code: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(size_of::<abi::InHeader>() + body.len()).unwrap();
    let header = abi::InHeader {
        len,
        opcode: code,
        unique: 7,
        nodeid: 5,
        uid: 0,
        gid: 0,
        pid: 0,
        total_extlen: 0,
        padding: 0,
    };
    [header.as_bytes(), body].concat()
}

fn read_in(offset: u64, size: u32) -> Vec<u8> {
    let body = abi::ReadIn {
        fh: 0,
        offset,
        size,
        read_flags: 0,
        lock_owner: 0,
        flags: 0,
        padding: 0,
    };
    body.as_bytes().to_vec()
}

fn getxattr_in(size: u32, name: &[u8]) -> Vec<u8> {
    [abi::GetxattrIn { size, padding: 0 }.as_bytes(), name].concat()
}

fn lseek_in(offset: u64, whence: i32) -> Vec<u8> {
    let whence = u32::try_from(whence).unwrap();
    abi::LseekIn {
        fh: 0,
        offset,
        whence,
        padding: 0,
    }
    .as_bytes()
    .to_vec()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn requests() {
    let read = read_in(4096, 131_072);
    let cases: &[(&str, u32, &[u8], Operation<'_>, usize)] = &[
        (
            "a name ends at NUL",
            opcode::LOOKUP,
            b"bin\0",
            Operation::Lookup { name: b"bin" },
            0,
        ),
        (
            "a name of any bytes",
            opcode::LOOKUP,
            b"\xff\n\0",
            Operation::Lookup { name: b"\xff\n" },
            0,
        ),
        (
            "getattr ignores its body",
            opcode::GETATTR,
            &[0; 16],
            Operation::GetAttr,
            0,
        ),
        (
            "readlink",
            opcode::READLINK,
            b"",
            Operation::ReadLink,
            LINK_ROOM,
        ),
        (
            "read",
            opcode::READ,
            &read,
            Operation::Read {
                offset: 4096,
                size: 131_072,
            },
            131_072,
        ),
        (
            "readdir",
            opcode::READDIR,
            &read,
            Operation::ReadDir { offset: 4096 },
            131_072,
        ),
        (
            "readdirplus",
            opcode::READDIRPLUS,
            &read,
            Operation::ReadDirPlus { offset: 4096 },
            131_072,
        ),
        ("statfs", opcode::STATFS, b"", Operation::StatFs, 0),
        (
            "getxattr",
            opcode::GETXATTR,
            &getxattr_in(64, b"user.a\0"),
            Operation::GetXattr {
                name: b"user.a",
                size: 64,
            },
            64,
        ),
        (
            "listxattr",
            opcode::LISTXATTR,
            &getxattr_in(0, b""),
            Operation::ListXattr { size: 0 },
            0,
        ),
        (
            "access",
            opcode::ACCESS,
            &[4, 0, 0, 0, 0, 0, 0, 0],
            Operation::Access { mask: 4 },
            0,
        ),
        (
            "seek to data",
            opcode::LSEEK,
            &lseek_in(9, libc::SEEK_DATA),
            Operation::Seek {
                offset: 9,
                whence: Whence::Data,
            },
            0,
        ),
        (
            "seek to a hole",
            opcode::LSEEK,
            &lseek_in(9, libc::SEEK_HOLE),
            Operation::Seek {
                offset: 9,
                whence: Whence::Hole,
            },
            0,
        ),
        (
            "any other seek is the kernel's own",
            opcode::LSEEK,
            &lseek_in(9, libc::SEEK_END),
            Operation::Unknown {
                opcode: opcode::LSEEK,
            },
            0,
        ),
        ("opendir", opcode::OPENDIR, &[0; 8], Operation::OpenDir, 0),
        ("flush", opcode::FLUSH, &[0; 24], Operation::Nothing, 0),
        (
            "releasedir",
            opcode::RELEASEDIR,
            &[0; 24],
            Operation::Nothing,
            0,
        ),
        ("statx", 52, &[0; 24], Operation::Unknown { opcode: 52 }, 0),
        ("a lock", 31, &[0; 48], Operation::Unknown { opcode: 31 }, 0),
        ("poll", 40, &[0; 24], Operation::Unknown { opcode: 40 }, 0),
        (
            "an opcode of the future",
            4711,
            b"",
            Operation::Unknown { opcode: 4711 },
            0,
        ),
    ];
    for (why, code, body, operation, room) in cases {
        let bytes = message(*code, body);
        let Ok(Message::Ask(question)) = decode(&bytes) else {
            panic!("{why}")
        };
        assert_eq!(
            (question.unique, question.opcode, question.request.node),
            (7, *code, NodeId(5)),
            "{why}"
        );
        assert_eq!(
            (question.request.operation, question.room),
            (*operation, *room),
            "{why}"
        );
    }
}

#[test]
fn messages_that_are_too_short_or_too_long_are_malformed() {
    let mut long = message(opcode::LOOKUP, b"a\0");
    long.push(0);
    let many = abi::BatchForgetIn { count: 2, dummy: 0 };
    let cases: [(&str, Vec<u8>, Option<u64>); 7] = [
        ("nothing", Vec::new(), None),
        ("less than a header", vec![0; 39], None),
        ("more than the header says", long, Some(7)),
        (
            "a name without NUL",
            message(opcode::LOOKUP, b"bin"),
            Some(7),
        ),
        (
            "a read without its size",
            message(opcode::READ, &[0; 16]),
            Some(7),
        ),
        (
            "an xattr without its name",
            message(opcode::GETXATTR, &[0; 8]),
            Some(7),
        ),
        (
            "fewer forgets than counted",
            message(opcode::BATCH_FORGET, &[many.as_bytes(), &[0; 16]].concat()),
            Some(7),
        ),
    ];
    for (why, bytes, unique) in cases {
        assert_eq!(decode(&bytes).unwrap_err().unique, unique, "{why}");
    }
}

#[test]
fn forgets() {
    let forget = |node, lookups| (NodeId(node), Operation::Forget { lookups });
    let one = message(opcode::FORGET, &3_u64.to_ne_bytes());
    let batch = [
        abi::BatchForgetIn { count: 2, dummy: 0 }.as_bytes(),
        abi::ForgetOne {
            nodeid: 8,
            nlookup: 1,
        }
        .as_bytes(),
        abi::ForgetOne {
            nodeid: 9,
            nlookup: 4,
        }
        .as_bytes(),
    ]
    .concat();
    let batch = message(opcode::BATCH_FORGET, &batch);
    for (bytes, expected) in [
        (one, vec![forget(5, 3)]),
        (batch, vec![forget(8, 1), forget(9, 4)]),
    ] {
        let Ok(Message::Forget(nodes)) = decode(&bytes) else {
            panic!("{expected:?}")
        };
        let nodes: Vec<_> = nodes
            .map(|request| (request.node, request.operation))
            .collect();
        assert_eq!(nodes, expected);
    }
}

#[test]
fn a_body_in_two_places_is_decoded_as_in_one() {
    let setxattr = abi::SetxattrIn {
        size: 3,
        flags: 1,
        setxattr_flags: 0,
        padding: 0,
    };
    let cases: [(&str, u32, &[u8], &[u8]); 5] = [
        ("no structure", opcode::LOOKUP, b"", b"name\0"),
        ("two names", opcode::SYMLINK, b"", b"name\0target\0"),
        ("a structure alone", opcode::READ, &read_in(7, 9), b""),
        (
            "one and names",
            opcode::RENAME,
            &[5, 0, 0, 0, 0, 0, 0, 0],
            b"old\0new\0",
        ),
        (
            "one, a name and bytes",
            opcode::SETXATTR,
            setxattr.as_bytes(),
            b"user.x\0abc",
        ),
    ];
    for (why, code, first, rest) in cases {
        let whole = message(code, &[first, rest].concat());
        let (header, _) = abi::InHeader::read_from_prefix(&whole).unwrap();
        let (Ok(Message::Ask(one)), Ok(Message::Ask(two))) =
            (decode(&whole), decode_parts(&header, first, rest))
        else {
            panic!("{why}");
        };
        assert_eq!(
            (one.request.operation, one.room),
            (two.request.operation, two.room),
            "{why}"
        );
    }
}

proptest! {
    #[test]
    fn no_place_of_a_body_changes_what_it_says(
        code in 0_u32..64,
        body in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..120),
        split in 0_usize..120,
    ) {
        let whole = message(code, &body);
        let (header, _) = abi::InHeader::read_from_prefix(&whole).unwrap();
        let (first, rest) = body.split_at(split.min(body.len()));
        if let (Ok(Message::Ask(one)), Ok(Message::Ask(two))) =
            (decode(&whole), decode_parts(&header, first, rest))
        {
            prop_assert_eq!(one.request.operation, two.request.operation);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Message::Forget(nodes)) = decode(&bytes) {
            prop_assert!(nodes.count() <= bytes.len());
        }
    }

    #[test]
    fn no_body_makes_the_decoder_panic(
        code in 0_u32..64,
        body in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..200),
    ) {
        let bytes = message(code, &body);
        match decode(&bytes) {
            Ok(Message::Forget(nodes)) => prop_assert!(nodes.count() <= bytes.len()),
            Ok(_) => {}
            Err(malformed) => prop_assert_eq!(malformed.unique, Some(7)),
        }
    }
}

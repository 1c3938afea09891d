//! The operations of a writable view.

use super::*;
use crate::{SetAttr, SetTime, Timestamp};

/// The bytes of numbers of 32 bits, as the kernel lays them out.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The bytes of numbers of 64 bits.
fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

/// `fuse_write_in` for so many bytes at offset 9.
fn write_in(size: u32, flags: u32) -> Vec<u8> {
    [
        longs(&[1, 9]),
        words(&[size, flags]),
        longs(&[2]),
        words(&[libc::O_RDWR.cast_unsigned(), 0]),
    ]
    .concat()
}

/// `fuse_setattr_in` with another value in each field.
fn setattr_in(valid: u32, nanoseconds: u32) -> Vec<u8> {
    [
        words(&[valid, 0]),
        longs(&[1, 4096, 2, u64::MAX, 1000, 3]),
        words(&[nanoseconds, nanoseconds, 4, 0o644, 0, 10, 20, 0]),
    ]
    .concat()
}

/// `fuse_copy_file_range_in`.
fn copy_in(length: u64, flags: u64) -> Vec<u8> {
    longs(&[1, 100, 6, 2, 200, length, flags])
}

fn ioctl_in(in_size: u32, out_size: u32) -> Vec<u8> {
    [
        longs(&[1]),
        words(&[0, 0x8004_6601]),
        longs(&[7]),
        words(&[in_size, out_size]),
    ]
    .concat()
}

fn setxattr_in(size: u32, flags: u32) -> Vec<u8> {
    words(&[size, libc::XATTR_CREATE.cast_unsigned(), flags, 0])
}

/// A message of the table: what it is, its opcode, its body in parts, what it decodes to.
type Case<'a> = (&'a str, u32, Vec<&'a [u8]>, Operation<'a>);

fn check(cases: &[Case<'_>]) {
    for (why, code, parts, expected) in cases {
        let body = parts.concat();
        let bytes = message(*code, &body);
        let Ok(Message::Ask(question)) = decode(&bytes) else {
            panic!("{why}")
        };
        assert_eq!(question.request.operation, *expected, "{why}");
    }
}

/// Every cut of the body must be refused, not guessed at.
fn check_cuts(cases: &[Case<'_>]) {
    for (why, code, parts, _) in cases {
        let body = parts.concat();
        for length in 0..body.len() {
            let bytes = message(*code, body.get(..length).unwrap());
            assert_eq!(
                decode(&bytes).unwrap_err(),
                Malformed {
                    unique: Some(7),
                    opcode: *code
                },
                "{why}, {length} bytes"
            );
        }
    }
}

#[test]
fn operations_on_names() {
    let (mknod, mkdir) = (words(&[0o100_644, 0x103, 0o22, 0]), words(&[0o755, 0o22]));
    let (node, node_and_flags) = (longs(&[6]), [longs(&[6]), words(&[1, 0])].concat());
    let create = words(&[libc::O_RDWR.cast_unsigned(), 0o100_600, 0o77, 0]);
    let moved = |flags| Operation::Rename {
        name: b"a",
        to: NodeId(6),
        new_name: b"b",
        flags,
    };
    let cases: Vec<Case<'_>> = vec![
        (
            "symlink",
            opcode::SYMLINK,
            vec![b"a\0", b"../t\0"],
            Operation::Symlink {
                name: b"a",
                target: b"../t",
            },
        ),
        (
            "mknod",
            opcode::MKNOD,
            vec![&mknod, b"a\0"],
            Operation::MkNod {
                name: b"a",
                mode: 0o100_644,
                rdev: 0x103,
                umask: 0o22,
            },
        ),
        (
            "mkdir",
            opcode::MKDIR,
            vec![&mkdir, b"a\0"],
            Operation::MkDir {
                name: b"a",
                mode: 0o755,
                umask: 0o22,
            },
        ),
        (
            "unlink",
            opcode::UNLINK,
            vec![b"a\0"],
            Operation::Unlink { name: b"a" },
        ),
        (
            "rmdir",
            opcode::RMDIR,
            vec![b"a\0"],
            Operation::RmDir { name: b"a" },
        ),
        ("rename", opcode::RENAME, vec![&node, b"a\0b\0"], moved(0)),
        (
            "rename with flags",
            opcode::RENAME2,
            vec![&node_and_flags, b"a\0b\0"],
            moved(1),
        ),
        (
            "link",
            opcode::LINK,
            vec![&node, b"a\0"],
            Operation::Link {
                file: NodeId(6),
                name: b"a",
            },
        ),
        (
            "create",
            opcode::CREATE,
            vec![&create, b"a\0"],
            Operation::Create {
                name: b"a",
                flags: libc::O_RDWR.cast_unsigned(),
                mode: 0o100_600,
                umask: 0o77,
            },
        ),
    ];
    check(&cases);
    check_cuts(&cases);
}

#[test]
fn a_name_too_long_is_for_the_view_to_refuse() {
    let body = [&[b'n'; 300][..], b"\0"].concat();
    check(&[(
        "300 bytes",
        opcode::UNLINK,
        vec![&body],
        Operation::Unlink { name: &[b'n'; 300] },
    )]);
}

#[test]
fn operations_on_files() {
    let (plain, killing) = (write_in(3, 0), write_in(3, abi::WRITE_KILL_SUIDGID));
    let empty = write_in(0, 0);
    let written = |data, kill_privileges| Operation::Write {
        offset: 9,
        data,
        kill_privileges,
    };
    let flags = libc::O_WRONLY.cast_unsigned();
    let (open, open_killing) = (words(&[flags, 0]), words(&[flags, abi::OPEN_KILL_SUIDGID]));
    let opened = |kill_privileges| Operation::Open {
        flags,
        kill_privileges,
    };
    let (sync, data_sync) = (
        [longs(&[1]), words(&[0, 0])].concat(),
        [longs(&[1]), words(&[abi::FSYNC_FDATASYNC, 0])].concat(),
    );
    let allocate = [longs(&[1, 10, 20]), words(&[3, 0])].concat();
    let input = ioctl_in(3, 4);
    let cases: Vec<Case<'_>> = vec![
        ("open", opcode::OPEN, vec![&open], opened(false)),
        (
            "open, killing",
            opcode::OPEN,
            vec![&open_killing],
            opened(true),
        ),
        (
            "write",
            opcode::WRITE,
            vec![&plain, b"abc"],
            written(b"abc", false),
        ),
        (
            "write, killing",
            opcode::WRITE,
            vec![&killing, b"abc"],
            written(b"abc", true),
        ),
        (
            "write nothing",
            opcode::WRITE,
            vec![&empty],
            written(b"", false),
        ),
        (
            "fsync",
            opcode::FSYNC,
            vec![&sync],
            Operation::Fsync { data_only: false },
        ),
        (
            "fdatasync",
            opcode::FSYNC,
            vec![&data_sync],
            Operation::Fsync { data_only: true },
        ),
        (
            "fallocate",
            opcode::FALLOCATE,
            vec![&allocate],
            Operation::Allocate {
                offset: 10,
                length: 20,
                mode: 3,
            },
        ),
        (
            "ioctl",
            opcode::IOCTL,
            vec![&input, b"\x01\x00\x02"],
            Operation::Ioctl {
                command: 0x8004_6601,
                input: b"\x01\x00\x02",
                room: 4,
            },
        ),
    ];
    check(&cases);
    check_cuts(&cases);
}

#[test]
fn what_a_body_has_too_much_is_left() {
    let write = write_in(2, 0);
    let create = words(&[0, 0o100_600, 0o77, 0]);
    check(&[
        (
            "only as many bytes as a write names",
            opcode::WRITE,
            vec![&write, b"abc"],
            Operation::Write {
                offset: 9,
                data: b"ab",
                kill_privileges: false,
            },
        ),
        (
            "a file without a name has one all the same",
            opcode::TMPFILE,
            vec![&create, b"/\0"],
            Operation::TmpFile {
                flags: 0,
                mode: 0o100_600,
                umask: 0o77,
            },
        ),
        (
            "a release has nothing that matters",
            opcode::RELEASE,
            vec![&[0; 24]],
            Operation::Release,
        ),
        (
            "fsync of a directory",
            opcode::FSYNCDIR,
            vec![&[0; 16]],
            Operation::FsyncDir,
        ),
        ("syncfs", opcode::SYNCFS, vec![&[0; 8]], Operation::SyncFs),
    ]);
}

#[test]
fn copies_are_as_long_as_their_answer_can_say() {
    let copied = |length| Operation::CopyFileRange {
        offset: 100,
        to: NodeId(6),
        to_offset: 200,
        length,
    };
    let (short, long, flagged) = (copy_in(9, 0), copy_in(u64::MAX, 0), copy_in(9, 1));
    let (old, new) = (opcode::COPY_FILE_RANGE, opcode::COPY_FILE_RANGE_64);
    let cases = [
        ("32 bits", old, vec![&short[..]], copied(9)),
        ("more than 32 bits", old, vec![&long], copied(0xffff_f000)),
        ("64 bits", new, vec![&long], copied(u64::MAX)),
        (
            "flags that nobody knows",
            new,
            vec![&flagged],
            Operation::Unknown { opcode: new },
        ),
    ];
    check(&cases);
    check_cuts(&cases);
}

#[test]
fn attributes_that_are_set() {
    let at = |seconds, nanoseconds| {
        Some(SetTime::At(Timestamp {
            seconds,
            nanoseconds,
        }))
    };
    let none = SetAttr::default();
    // In the order of the header's bits, 0 to 11; the last case has them all.
    let expected = [
        (
            "mode",
            SetAttr {
                mode: Some(0o644),
                ..none
            },
        ),
        (
            "uid",
            SetAttr {
                uid: Some(10),
                ..none
            },
        ),
        (
            "gid",
            SetAttr {
                gid: Some(20),
                ..none
            },
        ),
        (
            "size",
            SetAttr {
                size: Some(4096),
                ..none
            },
        ),
        (
            "atime before 1970",
            SetAttr {
                atime: at(-1, 5),
                ..none
            },
        ),
        (
            "mtime",
            SetAttr {
                mtime: at(1000, 5),
                ..none
            },
        ),
        ("a handle", none),
        ("atime now, but no atime", none),
        ("mtime now, but no mtime", none),
        ("a lock owner", none),
        ("ctime", none),
        (
            "kill",
            SetAttr {
                kill_privileges: true,
                ..none
            },
        ),
    ];
    for (bit, (why, attributes)) in expected.into_iter().enumerate() {
        let body = setattr_in(1 << bit, 5);
        let cases = [(
            why,
            opcode::SETATTR,
            vec![&body[..]],
            Operation::SetAttr(attributes),
        )];
        check(&cases);
        check_cuts(&cases);
    }
    let all = setattr_in(0xfff, 5);
    let attributes = SetAttr {
        size: Some(4096),
        mode: Some(0o644),
        uid: Some(10),
        gid: Some(20),
        atime: Some(SetTime::Now),
        mtime: Some(SetTime::Now),
        kill_privileges: true,
    };
    check(&[(
        "all",
        opcode::SETATTR,
        vec![&all],
        Operation::SetAttr(attributes),
    )]);
}

#[test]
fn nanoseconds_beyond_a_second_are_malformed() {
    let omit = u32::try_from(libc::UTIME_OMIT).unwrap();
    for nanoseconds in [1_000_000_000, omit] {
        let bytes = message(opcode::SETATTR, &setattr_in(1 << 5, nanoseconds));
        assert!(decode(&bytes).is_err(), "{nanoseconds}");
    }
    let unused = message(opcode::SETATTR, &setattr_in(1, omit));
    assert!(decode(&unused).is_ok(), "no time is set");
}

#[test]
fn extended_attributes() {
    let (plain, list) = (
        setxattr_in(2, 0),
        setxattr_in(2, abi::SETXATTR_ACL_KILL_SGID),
    );
    let set = |kill_sgid| Operation::SetXattr {
        name: b"user.a",
        value: b"\0v",
        flags: libc::XATTR_CREATE.cast_unsigned(),
        kill_sgid,
    };
    let cases = [
        (
            "set",
            opcode::SETXATTR,
            vec![&plain[..], b"user.a\0", b"\0v"],
            set(false),
        ),
        (
            "set a list",
            opcode::SETXATTR,
            vec![&list, b"user.a\0", b"\0v"],
            set(true),
        ),
        (
            "remove",
            opcode::REMOVEXATTR,
            vec![b"user.a\0"],
            Operation::RemoveXattr { name: b"user.a" },
        ),
    ];
    check(&cases);
    check_cuts(&cases);
}

#[test]
fn lengths_beyond_the_body_are_malformed() {
    let cases = [
        ("write", opcode::WRITE, write_in(u32::MAX, 0)),
        ("ioctl", opcode::IOCTL, ioctl_in(u32::MAX, 0)),
        (
            "setxattr",
            opcode::SETXATTR,
            [setxattr_in(u32::MAX, 0), b"user.a\0".to_vec()].concat(),
        ),
    ];
    for (why, code, body) in cases {
        assert!(decode(&message(code, &body)).is_err(), "{why}");
    }
}

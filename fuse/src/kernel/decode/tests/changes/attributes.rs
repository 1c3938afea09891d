//! Attributes, and extended ones.

use super::*;

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

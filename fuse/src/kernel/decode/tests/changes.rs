//! The operations of a writable view.

use super::*;
use crate::{SetAttr, SetTime, Timestamp};

mod attributes;
mod files;

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
